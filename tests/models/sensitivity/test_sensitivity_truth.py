"""Slow checks: sizes as in the paper, other families against fits with scaled priors, one engine against the other."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

import mien
from mien.models.diagnostics import scalar_draws
from mien.models.sensitivity import power_scaling, prior_widths
from mien.models.sensitivity.parts import parts_of, priors_of
from mien.models.sensitivity.scaling import THRESHOLD, _shifts
from mien.models.sensitivity.weights import KHAT
from mien.priors import Normal
from mien.priors.powers import power_scaled
from tests.models.likelihood_study import make_study

pytestmark = pytest.mark.statistical("priors")
Z = 4.0
FORMULA = "activation ~ valence + (valence | participant) + (1 | stimulus)"


def means_and_errors(fit):
    """Quantity → mean and Monte-Carlo error of a sampled fit."""
    return {
        name: (values.mean(), float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean")))
        for name, values in scalar_draws(fit, None).items()
    }


def test_no_conflict_with_default_priors_at_the_papers_size(trials_maker):
    """Correlations of 32 persons' effects are set apart: they do feel LKJ(2), and the table says so."""
    shapes = ("mouthSmile", "mouthFrown", "browInnerUp")
    flagged, correlations = [], []
    for seed in range(4):
        fit = mien.fit(FORMULA, trials_maker(32, 52, shapes, seed), seed=seed)
        table = power_scaling(fit)
        assert table["khat"].max() < KHAT
        assert table["refit_z"].max() < 4.5  # of 84 quantities at two powers
        of_correlation = table["units"] == "correlation"
        flagged += list(table.loc[~of_correlation & (table["diagnosis"] != "-"), "parameter"])
        correlations += list(table.loc[of_correlation, "prior"])
        assert prior_widths(fit)["how"].eq("exact given theta").all()
    assert flagged == []
    assert max(correlations) < 3 * THRESHOLD


def test_a_prior_far_from_the_data_is_flagged_at_the_papers_size(trials_maker):
    """The same rows under a prior of valence that they contradict."""
    data = trials_maker(32, 52, ("mouthSmile",), 0)
    found = []
    for far in (0.04, 0.025, 0.01, -0.005):  # further off, sd(valence | participant) takes the conflict up
        fit = mien.fit(FORMULA, data, priors={"valence": Normal(far, 0.01)})
        row = power_scaling(fit).set_index("parameter").loc["valence"]
        found.append((row["prior"], row["diagnosis"]))
    sizes = [size for size, _ in found]
    assert sizes == sorted(sizes)
    assert found[-1][1] == "prior-data conflict"


@pytest.mark.parametrize("family", ["ordered_beta", "student_t", "hurdle_gamma"])
def test_weighted_draws_of_other_families_agree_with_fits(family):
    """Priors counted half: weighted draws against a fit whose priors are `power_scaled`; unscaled ones do not agree."""
    data, formula = make_study(family, 10, 16, 0), "raw ~ valence + (valence | participant)"
    fit = mien.fit(formula, data, family=family, draws=2500, seed=1)
    table = power_scaling(fit, draws=None).set_index("parameter")
    halved = {name: power_scaled(prior, 0.5) for name, prior in priors_of(fit, None).items()}
    again = means_and_errors(mien.fit(formula, data, family=family, draws=2500, seed=2, priors=halved))
    before = means_and_errors(fit)
    apart, unscaled = [], []
    for name, (mean, error) in again.items():
        if not np.isfinite(table.loc[name, "mean_half"]):
            continue
        both = np.hypot(
            error, 2.0 * before[name][1]
        )  # weights make a mean's error at most twice as large here
        apart.append(abs(table.loc[name, "mean_half"] - mean) / both)
        unscaled.append(abs(before[name][0] - mean) / both)
    assert len(apart) >= 5
    assert max(apart) < Z < max(unscaled)


def test_the_engines_agree(estimated_of):
    """Derivatives by the power of the prior and of the likelihood, from weighted points and from chains."""
    every = [parts_of(estimated_of(engine), None, None) for engine in ("collapsed", "nuts")]
    apart, turned = [], []
    for name in every[0].quantities:
        for pick in (lambda parts: sum(parts.priors.values()), lambda parts: parts.likelihood):
            (one, error, _), (two, other, _) = (
                _shifts(parts.quantities[name], pick(parts), parts.point) for parts in every
            )
            apart.append(abs(one - two) / np.hypot(error, other))
            turned.append(abs(one + two) / np.hypot(error, other))
    assert len(apart) == 14
    assert max(apart) < Z < max(turned)
