"""PIT values against dense normals; checks that see what is wrong, and little where nothing is."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr, ndtri

import mien
from mien.models import check_notes, checks, pit
from mien.models.comparison import ALL_SHAPES
from mien.models.refit import natural_of, outcome_of
from mien.models.uniformity import counts_below, simultaneous_band, uniformity
from mien.priors import Fixed, Normal
from mien.study.errors import FitError

_place = importlib.util.spec_from_file_location("dense_model", Path(__file__).with_name("dense_model.py"))
dense = importlib.util.module_from_spec(_place)
_place.loader.exec_module(dense)


def study(persons=16, stimuli=12, seed=0, residual=None):
    rng = np.random.default_rng(seed)
    p, s = (column.ravel() for column in np.meshgrid(np.arange(persons), np.arange(stimuli), indexing="ij"))
    v = np.where(s % 2 == 0, -0.5, 0.5)
    noise = rng.normal(0, 1, len(p)) if residual is None else residual(rng, p)
    y = 0.4 * v + rng.normal(0, 0.6, persons)[p] + rng.normal(0, 0.3, stimuli)[s] + noise
    return pd.DataFrame(
        {"participant": [f"p{i:02d}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v, "y": y,
         "session": "1", "task": "t", "run": "1", "trial": s + 1, "medium": np.where(s < 5, "picture", "film"),
         "w": rng.uniform(0.4, 2.0, len(p))}
    )  # fmt: skip


FORMULA = "y ~ valence + (1 | participant) + (1 | stimulus)"
PRIORS = {"Intercept": Normal(0, 1), "beta": Normal(0, 1), "sd:1|participant": Fixed(0.6)}
CASES = {
    "independent": (FORMULA, {}, {"sd:1|stimulus": Fixed(0.3), "sigma": Fixed(1.0)}),
    "weights and strata": (
        FORMULA,
        {"weights": "w", "sigma_by": ("medium",)},
        {"sd:1|stimulus": Fixed(0.3), "sigma:picture": Fixed(1.4), "sigma:film": Fixed(0.8)},
    ),
    "series with holes": (
        "y ~ valence + (1 | participant)",
        {"residual": "ar1", "series": ("participant",)},
        {"rho": Fixed(0.5), "sigma": Fixed(1.0)},
    ),
}


def exact_pit(fit):
    """Of every row given the others, from one dense covariance: sds are known."""
    outcome = outcome_of(fit)
    mean, covariance = dense.mean_and_covariance(outcome, natural_of(fit, None, outcome), 0)
    inverse = np.linalg.inv(covariance)
    variance = 1 / np.diag(inverse)
    return ndtr((inverse @ (outcome.response - mean)) * variance / np.sqrt(variance))


@pytest.fixture(scope="module", params=CASES)
def replications(request):
    formula, fields, priors = CASES[request.param]
    data = study(persons=6, stimuli=10)
    data["bin"] = data["trial"]
    data = data[np.random.default_rng(4).random(len(data)) > 0.25].reset_index(drop=True)
    fits = [
        mien.fit(formula, data, engine="collapsed", draws=250, seed=seed, priors=PRIORS | priors, **fields)
        for seed in range(8)
    ]
    return exact_pit(fits[0]), np.stack([pit(fit)["pit"].to_numpy() for fit in fits])


def far(found, exact):
    """(row,) whether the replications' mean is more than 5 of its standard errors off, of t with 7 degrees."""
    return np.abs(found.mean(axis=0) - exact) > 5.4 * found.std(axis=0, ddof=1) / np.sqrt(8) + 2e-3


def test_pit_is_that_of_dense_normals_without_the_row(replications):
    exact, found = replications
    assert not far(found, exact).any()


def test_saboteur_rows_that_the_model_has_seen_are_seen(replications):
    exact, found = replications
    drawn_in = ndtr(0.85 * ndtri(found))  # residuals of rows that helped to fit them
    assert far(drawn_in, exact).sum() > len(exact) / 4


@pytest.mark.parametrize(
    ("residual", "right"),
    [
        (None, True),
        (lambda rng, p: rng.exponential(1, len(p)) - 1, False),
        (lambda rng, p: rng.normal(0, np.where(rng.random(len(p)) < 0.1, 5.0, 0.6)), False),
    ],
)
def test_pit_is_uniform_when_the_model_is_right_and_else_not(residual, right):
    fit = mien.fit(FORMULA, study(persons=30, seed=1, residual=residual), draws=200)
    found = pit(fit, draws=400)
    p = uniformity(found["pit"].to_numpy()).p
    assert (p > 0.2) if right else (p < 0.01)
    assert found.attrs["above"] <= (
        5 if right else found["pit"].size // 20
    )  # rows far out are hard to leave out


def test_p_of_uniformity_goes_with_the_simultaneous_band():
    rng = np.random.default_rng(0)
    band = simultaneous_band(150, 0.05)
    below = []
    for _ in range(400):
        values = rng.uniform(size=150)
        counts = counts_below(values, band.at)
        outside = bool(((counts < band.fewest) | (counts > band.most)).any())
        p = uniformity(values).p
        below.append(p < 0.05)
        assert outside == (p < 0.05) or abs(p - 0.05) < 0.005  # counts are whole: the band moves in steps
    assert np.mean(below) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
    assert uniformity(np.linspace(0.3, 0.7, 150)).p < 1e-6
    assert uniformity(np.linspace(0.3, 0.7, 150)).distance == pytest.approx(0.3, abs=0.02)


# Posterior predictive checks


def checked(data, formula=FORMULA, **fields):
    return checks(mien.fit(formula, data, draws=200, **fields))


def only(table, name):
    return table[table["check"] == name]


def test_a_right_model_is_left_alone():
    table = checked(study())
    assert set(table["check"]) == {
        "residual sd", "skewness", "autocorrelation of trials", "share of zeros", "PIT"
    }  # fmt: skip
    assert only(table, "residual sd")["outside"].sum() <= 2  # of 16
    assert not table[table["check"] != "residual sd"]["outside"].any()
    assert ((table["p"] >= 0) & (table["p"] <= 1)).all()


def test_a_person_who_scatters_more_is_named():
    table = only(
        checked(study(residual=lambda rng, p: rng.normal(0, np.where(p == 3, 3.0, 1.0)))), "residual sd"
    )
    row = table.set_index("participant").loc["p03"]
    assert row["p"] < 0.01
    assert row["outside"]
    assert row["observed"] == pytest.approx(3.0, rel=0.4)
    assert table["p"].idxmin() == table.index[table["participant"] == "p03"][0]


def test_persons_are_known_without_a_term_for_them():
    data = study(residual=lambda rng, p: rng.normal(0, 0.5, len(p)))
    data["y"] += np.where(data["participant"] == "p05", 4.0, 0.0)
    left_out = only(checked(data, "y ~ valence + (1 | stimulus)"), "residual sd").set_index("participant")
    assert left_out.loc["p05", "p"] < 0.01
    assert not only(checked(data), "residual sd").set_index("participant").loc["p05", "outside"]


def test_skewness_and_trials_that_follow_each_other_are_seen():
    def skewed(rng, p):
        return rng.exponential(1, len(p)) - 1

    def in_series(rng, p):
        e = rng.normal(0, 1, len(p))
        for row in range(1, len(e)):
            e[row] += 0.7 * e[row - 1] * (p[row] == p[row - 1])
        return e

    assert only(checked(study(residual=skewed)), "skewness")["p"].iloc[0] < 0.01
    data = study(residual=in_series)
    row = only(checked(data), "autocorrelation of trials").iloc[0]
    assert row["p"] < 0.01
    assert row["observed"] > row["replicated_upper"]
    data["bin"] = data["trial"]
    modelled = checked(data, "y ~ valence + (1 | participant)", residual="ar1", series=("participant",))
    told = only(modelled, "autocorrelation of bins").iloc[0]
    assert told["replicated_lower"] < told["observed"] < told["replicated_upper"]


def test_zeros_that_the_model_cannot_give_are_seen():
    data = study()
    data["y"] = np.maximum(data["y"], 0.0)
    table = checked(data)
    zeros, below = only(table, "share of zeros").iloc[0], only(table, "share below 0").iloc[0]
    assert zeros["observed"] == pytest.approx((data["y"] == 0).mean())
    assert zeros["replicated"] == 0.0
    assert zeros["p"] == 0.0
    assert below["observed"] == 0.0
    assert below["p"] == 1.0


def shapes(shared, seed=0):
    """Four shapes whose trials share a part of their residuals; variance of the average 1 + 3·shared."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 1, 16 * 12)
    tables = []
    for place, name in enumerate(("mouthSmile", "mouthFrown", "browInnerUp", "jawOpen")):
        own = study(seed=seed + 10 * place, residual=lambda rng, p: np.zeros(len(p)))
        noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(0, 1, len(own))
        tables.append(own.assign(blend_shape=name, y=own["y"] + noise))
    return pd.concat(tables, ignore_index=True)


def test_shapes_that_move_together_vary_more_than_their_fits_know():
    together = only(checked(shapes(0.5)), "shape averages").iloc[0]
    assert together["blend_shape"] == ALL_SHAPES
    ratio = together["observed"] / together["replicated"]
    assert ratio == pytest.approx(1 + 3 * 0.5, rel=0.25)
    assert together["p"] == 0.0
    apart = only(checked(shapes(0.0)), "shape averages").iloc[0]
    assert apart["observed"] / apart["replicated"] == pytest.approx(1.0, rel=0.2)
    assert not apart["outside"]


def test_notes_count_what_lies_outside():
    table = checked(shapes(0.5))
    notes = check_notes(table)
    assert any(note.startswith("residual sd: ") and "of 64 participants and shapes" in note for note in notes)
    assert any(note.startswith("Averages over shapes vary 2.") for note in notes)
    assert len(notes) == table["check"].nunique()


def test_what_cannot_be_checked_is_refused(small_fit):
    with pytest.raises(FitError, match="draws: expected at least 25"):
        checks(small_fit, draws=10)
    with pytest.raises(FitError, match="ci_prob"):
        checks(small_fit, ci_prob=95)
    bare = mien.fit(FORMULA, study(), draws=50, group_effects=False)
    with pytest.raises(FitError, match="expected stored group effects"):
        pit(bare)
