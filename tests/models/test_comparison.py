"""Units left out by refits and by PSIS against quadrature; weights against closed forms; what may be compared."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import halfnorm

import mien
from mien.models import k_fold
from mien.models.comparison import ALL_SHAPES, _Pointwise, _table, preferences, stacking_weights
from mien.models.cross_validation import folds_of
from mien.models.predictive_density import leave_one_out
from mien.priors import Flat, HalfNormal, Normal
from mien.study.errors import FitError

PRIORS = {"Intercept": Normal(0, 2), "beta": Normal(0, 1), "sd": HalfNormal(1), "sigma": HalfNormal(1)}
NODES = (np.arange(90) + 0.5) / 90 * 4.0


def few_persons(persons=6, rows=4):
    rng = np.random.default_rng(5)
    who = np.repeat(np.arange(persons), rows)
    y = 0.5 + rng.normal(0, 0.8, persons)[who] + rng.normal(0, 0.6, len(who))
    return pd.DataFrame({"participant": [f"p{i}" for i in who], "y": y})


def log_evidence(y, who):
    """Of y ~ 1 + (1 | participant) by a grid over both standard deviations."""
    same = (who[:, None] == who[None]).astype(float)
    sd, sigma = (grid.ravel()[:, None, None] for grid in np.meshgrid(NODES, NODES))
    lower = np.linalg.cholesky(4.0 + sd**2 * same + sigma**2 * np.eye(len(y)))
    white = np.linalg.solve(lower, np.broadcast_to(y[:, None], (len(lower), len(y), 1)))
    log_density = -0.5 * (white**2).sum(axis=(1, 2)) - np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(
        axis=1
    )
    prior = halfnorm.logpdf(sd.ravel()) + halfnorm.logpdf(sigma.ravel())
    return logsumexp(log_density + prior) - 0.5 * len(y) * np.log(2 * np.pi)


@pytest.fixture(scope="module")
def tiny():
    data = few_persons()
    fit = mien.fit("y ~ 1 + (1 | participant)", data, engine="collapsed", draws=1000, priors=PRIORS)
    who = data["participant"].str[1:].astype(int).to_numpy()
    return fit, data["y"].to_numpy(), who


@pytest.fixture(scope="module")
def exact(tiny):
    _, y, who = tiny
    whole = log_evidence(y, who)
    return np.array([whole - log_evidence(y[who != person], who[who != person]) for person in range(6)])


def far(found, error, wanted):
    return np.abs(found - wanted) > 4 * error + 1e-3  # the grid's own error is below 1e-3


def test_refits_without_a_person_give_the_density_of_quadrature(tiny, exact):
    found = k_fold(tiny[0], None, draws=4000)
    assert not far(found["elpd"].to_numpy(), found["mcse"].to_numpy(), exact).any()
    assert found.attrs["elpd"] == pytest.approx(found["elpd"].sum().item())
    assert found.attrs["failed"] == 0


def test_psis_gives_the_density_of_quadrature(tiny, exact):
    found = mien.log_likelihood(tiny[0], draws=None)
    good = found["khat_loo"].to_numpy() <= found.attrs["khat_limit"]
    assert good.sum() >= 4
    assert not far(found["elpd"].to_numpy(), found["mcse"].to_numpy(), exact)[good].any()


def test_saboteur_weights_of_the_wrong_sign_are_seen(tiny, exact):
    density = mien.log_likelihood(tiny[0], draws=None)["log_density"].to_numpy()
    _, _, error = leave_one_out(density, np.arange(len(density)))
    wrong = logsumexp(2 * density, axis=0) - logsumexp(density, axis=0)  # weighted by p in place of 1 / p
    assert far(wrong, error, exact).any()


def test_k_fold_predicts_from_the_training_rows_alone(tiny):
    fit, y, who = tiny
    found = k_fold(fit, 3, draws=4000, seed=2)
    fold = found["fold"].to_numpy()
    assert sorted(np.bincount(fold)) == [2, 2, 2]
    train = {one: fold[who] != one for one in range(3)}
    base = {one: log_evidence(y[rows], who[rows]) for one, rows in train.items()}
    for person in (0, 3):
        rows = train[fold[person]] | (who == person)
        wanted = log_evidence(y[rows], who[rows]) - base[fold[person]]
        assert not far(found["elpd"].to_numpy()[person], found["mcse"].to_numpy()[person], wanted)


def test_folds_are_even_and_the_same_for_the_same_seed():
    fold = folds_of(10, 4, "participant", 3)
    assert sorted(np.bincount(fold)) == [2, 2, 3, 3]
    assert (fold == folds_of(10, 4, "participant", 3)).all()
    assert (fold != folds_of(10, 4, "participant", 4)).any()


# Weights and preferences


def test_weights_have_their_closed_form():
    """n₁ units with densities (1, r) and n₂ with (r, 1): w = (n₁ − n₂ r) / ((1 − r)(n₁ + n₂))."""
    r = 0.2
    elpd = np.log(np.array([[1.0] * 6 + [r] * 4, [r] * 6 + [1.0] * 4]))
    assert stacking_weights(elpd)[0] == pytest.approx((6 - 4 * r) / (0.8 * 10), abs=1e-6)
    shifted = elpd + np.linspace(-3000, 3000, 10)  # of a unit: elpd of many rows; nothing overflows
    assert stacking_weights(shifted) == pytest.approx(stacking_weights(elpd), abs=1e-9)


def test_weights_differences_and_errors_are_those_of_arviz():
    import xarray as xr
    from arviz_stats import compare
    from arviz_stats.utils import ELPDData

    elpd = np.random.default_rng(0).normal(-2, 1, (3, 40)) + np.array([[0.0], [-0.3], [0.2]])
    data = {
        name: ELPDData(
            elpd=float(one.sum()), se=float(np.sqrt(40) * one.std()), p=1.0, n_samples=100, n_data_points=40,
            scale="log", warning=False, good_k=0.7, elpd_i=xr.DataArray(one, dims="unit"),
            pareto_k=xr.DataArray(np.zeros(40), dims="unit"),
        )
        for name, one in zip("abc", elpd, strict=True)
    }  # fmt: skip
    wanted = compare(data, round_to="none").loc[list("abc")]
    found = _table(
        "", {name: _Pointwise(one, np.nan, 0, 0) for name, one in zip("abc", elpd, strict=True)}, ""
    )
    found = found.set_index("model").loc[list("abc")]
    assert found["weight"].to_numpy() == pytest.approx(wanted["weight"].to_numpy(), abs=1e-3)
    assert found["elpd_diff"].to_numpy() == pytest.approx(wanted["elpd_diff"].to_numpy())
    ratio = np.sqrt(40 / 39)  # sd over units with n − 1 here
    assert found["se_diff"].to_numpy() == pytest.approx(ratio * wanted["dse"].to_numpy())


def test_a_model_that_is_worse_everywhere_has_no_weight():
    elpd = np.stack([np.zeros(30), np.full(30, -1.0)])
    assert stacking_weights(elpd) == pytest.approx([1.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("diff", "se", "words"),
    [
        ([0, -10.0], [0, 3.0], ["preferred", "worse"]),
        ([0, -3.9], [0, 0.1], ["no preference", "no preference"]),
        ([0, -10.0], [0, 5.1], ["no preference", "no preference"]),
        ([0, -1.0, -50.0], [0, 1.0, 5.0], ["no preference", "no preference", "worse"]),
    ],
)
def test_small_or_uncertain_differences_are_no_preference(diff, se, words):
    assert preferences(np.array(diff), np.array(se)) == words


# Comparisons


def study(effect=0.5, seed=0):
    rng = np.random.default_rng(seed)
    p, s = (column.ravel() for column in np.meshgrid(np.arange(24), np.arange(10), indexing="ij"))
    v = np.where(s % 2 == 0, -0.5, 0.5)
    y = effect * v + rng.normal(0, 0.3, 24)[p] + rng.normal(0, 0.5, len(p))
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v, "y": y}
    )


@pytest.fixture(scope="module")
def two():
    data = study()
    return {
        "with": mien.fit("y ~ valence + (1 | participant)", data, draws=500, priors=PRIORS),
        "without": mien.fit("y ~ 1 + (1 | participant)", data, draws=500, priors=PRIORS),
    }


def test_the_known_winner_wins(two):
    table = mien.compare(two)
    assert table["model"].tolist() == ["with", "without"]
    assert table["preference"].tolist() == ["preferred", "worse"]
    assert table["weight"].iloc[0] > 0.9
    swapped = mien.compare(
        {"with": two["without"], "without": two["with"]}
    )  # saboteur: the names of the other
    assert swapped["model"].iloc[0] == "without"


def test_differences_and_errors_are_those_of_units(two):
    table = mien.compare(two, refit=False).set_index("model")
    points = {name: mien.log_likelihood(fit)["elpd"].to_numpy() for name, fit in two.items()}
    away = points["without"] - points["with"]
    assert table.loc["without", "elpd_diff"] == pytest.approx(away.sum())
    assert table.loc["without", "se_diff"] == pytest.approx(np.sqrt(24) * away.std(ddof=1))
    assert table.loc["with", "elpd"] == pytest.approx(points["with"].sum())
    assert table.loc["with", ["elpd_diff", "se_diff"]].tolist() == [0.0, 0.0]


def test_k_fold_and_psis_agree_on_who_is_better(two):
    folded = mien.compare(two, folds=6, draws=400)
    assert folded["preference"].tolist() == ["preferred", "worse"]
    assert set(folded["method"]) == {"6-fold"}
    loo = mien.compare(two)
    assert abs(folded["elpd_diff"].iloc[1] - loo["elpd_diff"].iloc[1]) < loo["se_diff"].iloc[1]


def test_a_unit_that_one_model_knows_will_do(two):
    data = study()
    crossed = mien.fit("y ~ valence + (1 | stimulus)", data, draws=500, priors=PRIORS)
    table = mien.compare({"stimuli": crossed, "persons": two["with"]}).set_index("model")
    wanted = k_fold(crossed, None, units_of=two["with"])
    assert table.loc["stimuli", "elpd"] == pytest.approx(wanted.attrs["elpd"], abs=0.3)
    with pytest.raises(FitError, match="unit: expected one of participant"):
        mien.compare({"a": two["with"], "b": two["without"]}, "session")


def test_persons_where_psis_fails_are_left_out_in_earnest():
    rng = np.random.default_rng(0)
    data = few_persons(5, 5)
    data.loc[data["participant"] == "p0", "y"] += 6.0
    data["x"] = rng.normal(size=len(data))
    fits = {
        name: mien.fit(formula, data, draws=500, priors=PRIORS)
        for name, formula in (("1", "y ~ 1 + (1 | participant)"), ("x", "y ~ x + (1 | participant)"))
    }
    above = mien.log_likelihood(fits["1"])
    assert above.attrs["above"] > 0
    plain = mien.compare(fits, refit=False)
    assert set(plain["preference"]) == {"unreliable"}
    table = mien.compare(fits, draws=2000).set_index("model")
    assert (table["refitted"] == table["khat_above"]).all()
    exact = k_fold(fits["1"], None, draws=2000)
    assert (
        abs(table.loc["1", "elpd"] - exact.attrs["elpd"])
        < 4 * float(np.hypot.reduce(exact["mcse"].to_numpy())) + 0.1
    )


def test_shapes_are_compared_one_by_one_and_summed(trials):
    fits = {
        name: mien.fit(formula, trials, draws=250)
        for name, formula in (
            ("valence", "activation ~ valence + (1 | participant)"),
            ("flat", "activation ~ 1 + (1 | participant)"),
        )
    }
    table = mien.compare(fits, draws=250)
    summed = table[table["blend_shape"] == ALL_SHAPES].set_index("model")["elpd"]
    single = table[table["blend_shape"] != ALL_SHAPES].groupby("model")["elpd"].sum()
    assert summed.to_dict() == pytest.approx(single.to_dict())
    smile = table[table["blend_shape"] == "mouthSmile"].set_index("model")
    assert smile.loc["valence", "preference"] == "preferred"


def test_other_data_rows_or_outcomes_are_refused(two):
    data = study()
    other = mien.fit("y ~ valence + (1 | participant)", study(seed=1), draws=50, priors=PRIORS)
    with pytest.raises(FitError, match="expected fits of the same data"):
        mien.compare({"a": two["with"], "b": other})
    holes = data.assign(x=np.where(np.arange(len(data)) == 3, np.nan, 1.0) * data["y"] ** 2, z=data["y"] * 2)
    whole = mien.fit("y ~ 1 + (1 | participant)", holes, draws=50, priors=PRIORS)
    with pytest.raises(FitError, match="expected the same rows, found 240 modelled in 'a' and 239 in 'b'"):
        mien.compare({"a": whole, "b": mien.fit("y ~ x + (1 | participant)", holes, draws=50, priors=PRIORS)})
    with pytest.raises(FitError, match="expected the same outcome"):
        mien.compare({"a": whole, "b": mien.fit("z ~ 1 + (1 | participant)", holes, draws=50, priors=PRIORS)})
    with pytest.raises(FitError, match="two fits or more"):
        mien.compare({"a": whole})
    with pytest.raises(FitError, match="folds: expected 2 to 24"):
        k_fold(two["with"], 25)


def test_a_coefficient_that_only_the_fold_tells_is_refused():
    data = few_persons()
    data["one"] = (data["participant"] == "p0").astype(float)
    fit = mien.fit("y ~ one", data, draws=50, priors={**PRIORS, "beta": Flat()})
    grouped = mien.fit("y ~ one + (1 | participant)", data, draws=50, priors={**PRIORS, "beta": Flat()})
    with pytest.raises(FitError, match="flat"):
        k_fold(fit, None, units_of=grouped)
