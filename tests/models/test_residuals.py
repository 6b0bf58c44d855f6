"""What a ModelSpec says about residuals, as it reaches an engine and the posterior's tree."""

import json

import numpy as np
import pandas as pd
import pytest

from mien.models import ModelSpec, effects, fit
from mien.models.engines import ENGINES, load_engine
from mien.models.engines.problem import Draws
from mien.models.fitting import make_problem
from mien.priors import Fixed, HalfNormal, HalfStudentT, Normal
from mien.study.errors import FitError, SpecError

FORMULA = "y ~ x + (1 | g)"


def table(rows=48, seed=0):
    rng = np.random.default_rng(seed)
    g, step = np.arange(rows) // 8, np.arange(rows) % 8
    x = np.where(step % 2 == 0, -0.5, 0.5)
    return pd.DataFrame(
        {
            "y": 1 + 0.5 * x + rng.normal(0, 0.4, 6)[g % 6] + rng.normal(0, 0.5, rows),
            "x": x,
            "g": [f"g{n}" for n in g],
            "medium": np.where(step < 4, "picture", "film"),
            "bin": step,
            "se": rng.uniform(0.2, 0.6, rows),
            "n": rng.integers(1, 5, rows),
        }
    )


def problem(data=None, formula=FORMULA, **fields):
    return make_problem(ModelSpec(formula, **fields), table() if data is None else data)[0].outcomes[0]


def cells(data, keys):
    """Cell means, replicate counts and sums of squared deviations."""
    groups = data.groupby(keys, observed=True)["y"]
    found = groups.mean().reset_index()
    found["n"] = groups.size().to_numpy()
    return found.assign(y_squares=(groups.var(ddof=0) * groups.size()).to_numpy())


def test_rows_say_nothing_of_residuals_unless_asked():
    outcome = problem()
    assert outcome.residual == type(outcome.residual)()
    assert outcome.root_precision.tolist() == [1.0] * 48


def test_weights_are_precisions_and_known_standard_errors_take_sigmas_place():
    weighted = problem(weights="n")
    assert weighted.root_precision == pytest.approx(np.sqrt(table()["n"]))
    assert weighted.residual.count is None
    known = problem(standard_errors="se")
    assert known.root_precision == pytest.approx(1 / table()["se"])
    assert known.priors["sigma"].prior == Fixed(1.0)
    assert known.residual.known_variance is None


def test_known_standard_errors_beside_a_sigma_are_added_variances():
    outcome = problem(standard_errors="se", priors={"sigma": HalfNormal(1)})
    assert outcome.root_precision.tolist() == [1.0] * 48
    assert outcome.residual.known_variance == pytest.approx(table()["se"] ** 2)
    assert outcome.priors["sigma"].prior == HalfNormal(1)


def test_each_stratum_has_a_sigma_with_a_prior_of_its_own_name():
    outcome = problem(sigma_by=("medium",), priors={"sigma:film": HalfNormal(0.3)})
    assert outcome.residual.strata == ("film", "picture")
    assert outcome.residual.dim == "medium"
    assert outcome.residual.stratum is not None
    assert outcome.residual.stratum.tolist()[:8] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert outcome.priors["sigma:film"].prior == HalfNormal(0.3)
    assert isinstance(outcome.priors["sigma:picture"].prior, HalfStudentT)
    assert "sigma" not in outcome.priors
    both = problem(sigma_by=("medium", "g"), priors={"sigma": HalfNormal(2)})
    assert both.residual.dim == "medium:g"
    assert both.priors["sigma:film:g0"].prior == HalfNormal(2)


def test_counts_give_the_priors_of_the_single_values():
    single = pd.concat([table().assign(y=lambda t, n=n: t["y"] + 0.1 * n) for n in range(3)])
    outcome = problem(cells(single, ["x", "g", "medium"]), counts="n")
    whole = problem(single)
    assert outcome.residual.count is not None
    assert outcome.residual.count.sum() == len(single)
    assert outcome.root_precision == pytest.approx(np.sqrt(outcome.residual.count))
    for name, resolved in whole.priors.items():
        found, wanted = outcome.priors[name].to_dict(), resolved.to_dict()
        assert found == {key: pytest.approx(value) for key, value in wanted.items()}, name


def test_series_and_positions_of_ar1():
    data = table().rename(columns={"g": "participant"})
    outcome = problem(data, "y ~ x + (1 | participant)", residual="ar1")
    assert outcome.residual.series is not None
    assert outcome.residual.position is not None
    assert outcome.residual.series.tolist() == [n // 8 for n in range(48)]
    assert outcome.residual.position.tolist() == [n % 8 for n in range(48)]
    assert outcome.priors["rho"].prior == Normal(0, 1)
    assert problem(residual="ar1", series=("g",), priors={"rho": Fixed(0.4)}).priors["rho"].prior == Fixed(
        0.4
    )


def test_ar1_keeps_the_bins_of_a_trials_table(trials_maker):
    trials = trials_maker(participants=4, stimuli=4, bins=3)
    spec = ModelSpec("activation ~ valence + (1 | participant)", residual="ar1")
    outcome = make_problem(spec, trials)[0].outcomes[0]
    assert len(outcome.response) == 4 * 4 * 3
    assert len(set(outcome.residual.series.tolist())) == 16


@pytest.mark.parametrize(
    ("fields", "change", "words"),
    [
        ({"sigma_by": ("medum",)}, {}, "did you mean 'medium'"),
        ({"sigma_by": ("medium",)}, {"medium": "film"}, "two strata"),
        ({"sigma_by": ("se",)}, {}, "cut it into categories"),
        ({"counts": "n"}, {}, "'y_squares'"),
        ({"counts": "n"}, {"y_squares": 1.0}, "expected 0 where n is 1"),
        ({"counts": "n"}, {"y_squares": -1.0}, "0 or more"),
        ({"counts": "se"}, {"y_squares": 0.0}, "whole numbers"),
        ({"residual": "ar1"}, {}, "series="),
        ({"residual": "ar1", "series": ("g",)}, {"bin": 0.5}, "whole numbers in bin"),
        ({"residual": "ar1", "series": ("medium",)}, {}, "each bin once in a series"),
        ({"residual": "ar1", "series": ("g", "bin")}, {}, "two rows or more"),
        ({"residual": "ar1", "series": ("g",), "priors": {"rho": Fixed(1.0)}}, {}, "between -1 and 1"),
        ({"priors": {"sigma:film": HalfNormal(1)}}, {}, "sigma:film"),
        ({"weights": "n"}, {"n": 0}, "positive numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(fields, change, words):
    with pytest.raises((SpecError, FitError), match="expected") as caught:
        problem(table().assign(**change), **fields)
    assert words in str(caught.value)


def test_shapes_have_sigmas_of_their_own_already(trials):
    with pytest.raises(SpecError, match="its own"):
        make_problem(ModelSpec("activation ~ valence + (1 | participant)", sigma_by=("blend_shape",)), trials)


def test_nuts_says_what_it_cannot_do():
    nuts = load_engine("nuts")
    reasons = [
        nuts.can_fit(make_problem(ModelSpec(FORMULA, **fields), data)[0])
        for data, fields in (
            (table(), {"sigma_by": ("medium",)}),
            (table(), {"residual": "ar1", "series": ("g",)}),
            (table(), {"standard_errors": "se", "priors": {"sigma": HalfNormal(1)}}),
            (table().assign(y_squares=0.0), {"counts": "n"}),
            (table(), {}),
        )
    ]
    words = ("stratum", "AR(1)", "known standard errors", "counts")
    assert all(word in reason for word, reason in zip(words, reasons, strict=False))
    assert reasons[-1] == ""


class CannedEngine:
    """Draws out of a hat, with a verdict of its own."""

    name = "canned"

    def can_fit(self, problem):
        return ""

    def sample(self, problem, settings, progress=None):
        return [self._one(outcome, (settings.chains, settings.draws)) for outcome in problem.outcomes]

    @staticmethod
    def _one(outcome, shape):
        rng = np.random.default_rng(0)
        design, residual = outcome.design, outcome.residual
        keys = [f"{term}|{block.factor}" for block in design.blocks for term in block.terms]
        sigma = rng.uniform(0.4, 0.6, (*shape, len(residual.strata)))
        verdict = {
            "kind": "importance",
            "passed": True,
            "khat_engine": 0.1,
            "ess": 900.0,
            "max_z": np.float64("nan"),
        }
        return Draws(
            {name: rng.normal(size=shape) for name in design.coefficients},
            dict.fromkeys(keys, np.full(shape, 0.3)), {}, sigma if residual.dim else sigma[..., 0], {},
            {"lp": rng.normal(size=shape)}, "", rng.uniform(size=shape) if residual.series is not None else None,
            verdict,
        )  # fmt: skip


@pytest.fixture
def canned(monkeypatch):
    monkeypatch.setitem(ENGINES, "canned", (__name__, "CannedEngine"))


def test_the_tree_of_strata_series_and_an_own_verdict(canned):
    data = table().rename(columns={"g": "participant"})
    found = fit(
        "y ~ x + (1 | participant)", data, residual="ar1", sigma_by=("medium",), engine="canned", draws=20
    )
    posterior, constants = found["posterior"].dataset, found["constant_data"].dataset
    assert posterior["sigma"].dims == ("chain", "draw", "medium")
    assert posterior["medium"].values.tolist() == ["film", "picture"]
    assert posterior["rho"].dims == ("chain", "draw")
    assert (
        constants["stratum index"].values.tolist()
        == [1] * 4 + [0] * 4 + [1] * 4 + [0] * 4 + ([1] * 4 + [0] * 4) * 4
    )
    assert constants["series index"].values.tolist() == [n // 8 for n in range(48)]
    assert constants["position"].values.tolist() == [n % 8 for n in range(48)]
    assert not {"count", "squares", "known_variance"} & set(constants)
    assert json.loads(found.attrs["engine_verdict"])[""]["max_z"] is None
    assert json.loads(found.attrs["diagnostics_detail"])["max_khat"] == 0.1
    assert found.attrs["diagnostics"] == "passed"
    row = effects(found).iloc[0]
    assert row["effect"] == "x"
    assert row["rope"] == pytest.approx(0.1 * np.sqrt((posterior["sigma"] ** 2).mean("medium")).mean())


def test_every_row_of_the_tree_has_its_known_variance_and_count(canned):
    known = fit(
        FORMULA, table(), standard_errors="se", priors={"sigma": HalfNormal(1)}, engine="canned", draws=20
    )
    assert known["constant_data"]["known_variance"].values == pytest.approx(table()["se"] ** 2)
    data = cells(table(), ["x", "g", "medium"])
    counted = fit(FORMULA, data, counts="n", engine="canned", draws=20)["constant_data"]
    assert counted["count"].values.sum() == 48
    assert counted["squares"].values == pytest.approx(data["y_squares"])


def test_fits_tell_the_same_of_single_values_and_of_their_means():
    single = fit(FORMULA, table(), seed=2, draws=500)["posterior"]
    data = cells(table(), ["x", "g"])
    counted = fit(FORMULA, data, counts="n", seed=2, draws=500)["posterior"]
    forgotten = fit(FORMULA, data, weights="n", seed=2, draws=500)["posterior"]
    for name in ("x", "sigma", "1|g_sigma"):
        gap = abs(float(counted[name].mean() - single[name].mean())) / float(single[name].std())
        assert gap < 0.15, name
    wrong = abs(float(forgotten["sigma"].std() / single["sigma"].std()) - 1)
    assert wrong > 0.3  # precision weights forget how many values there were
