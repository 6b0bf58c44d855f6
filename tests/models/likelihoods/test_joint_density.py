"""The sampled density against the joint density written out with scipy, priors and Jacobian included."""

import numpy as np
import pytest
from scipy.stats import halfnorm, multivariate_normal, norm

from mien.models.engines import likelihood_kernel as kernel
from mien.models.engines.attempts import ordered_blocks
from mien.models.engines.likelihood_sampler import _prepare, _start
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.priors import Fixed, Flat, HalfNormal, Normal
from tests.models.likelihood_study import FAMILIES, FORMULA, make_study

REGRESSION = {
    "student_t": "sigma", "ordered_beta": "phi", "zero_inflated_beta": "zi", "zero_one_inflated_beta": "coi",
    "hurdle_gamma": "hu",
}  # fmt: skip


def prepared(family, formula=FORMULA, parameters=None, priors=None):
    study = make_study(family, 5, 6, seed=2)
    study["w"] = np.random.default_rng(0).normal(size=len(study))
    spec = ModelSpec(formula, family=family, parameters=parameters or {}, priors=priors or {})
    outcome = make_problem(spec, study)[0].outcomes[0]
    return outcome, _prepare(family, outcome)


def density(ready, q):
    buffer = kernel.pack(ready.model)
    gradient = np.empty(len(q))
    return kernel.log_density(q, buffer, buffer.view(np.float64), gradient), gradient


def unfolded(ready, q):
    model, layout = ready.model, ready.layout
    return tuple(
        values[0]
        for values in kernel.unfolded_draws(
            q[None], model.naive, model.whiten_data, model.whiten_column, model.whiten_row, model.log_information,
            *layout[:5], model.sd_at, model.sd_scale, model.partial_at, model.partial_number,
        )
    )  # fmt: skip


def points(ready, count=4, seed=0, spread=0.4):
    rng, start = np.random.default_rng(seed), _start(ready)
    return [start + rng.normal(0, spread, len(start)) for _ in range(count)]


def by_definition(family, outcome, ready, q):
    """Log p(y | w) + log p(w | θ) + log p(θ) + log |d(w, θ)/dq|, the last by differences."""
    w, sd, partial = unfolded(ready, q)
    model = ready.model
    predictors = [model.offset[:, m].copy() for m in range(model.offset.shape[1])]
    for m in range(len(predictors)):
        a, b = model.first_entry[m : m + 2]
        predictors[m] += (model.value[:, a:b] * w[model.entry[:, a:b]]).sum(axis=1)
    value = kernel.row_densities(model.family, model.kind, model.data, np.array(predictors))[0].sum()
    first = int(ready.layout.coefficients[0])
    for number, one in enumerate(ready.free):
        at = w[first + number]
        if one.parameter == "cutpoint_one":
            value += norm(one.prior.mean, one.prior.sd).logpdf(w[first + number - 1] + np.exp(at)) + at
        elif isinstance(one.prior, Normal):
            value += norm(one.prior.mean, one.prior.sd).logpdf(at)
        elif not isinstance(one.prior, Flat):  # sigma of student_t, half-t(4)
            value += -2.5 * np.log1p((np.exp(at) / one.prior.scale) ** 2 / 4) + at
    for b, place in enumerate(ordered_blocks(outcome)):
        block = outcome.design.blocks[place]
        k, start, first_sd = len(block.terms), int(ready.layout.start[b]), int(ready.layout.first_sd[b])
        own = sd[first_sd : first_sd + k]
        factor = np.eye(k)
        at = int(ready.layout.first_partial[b])
        for i in range(k):
            for j in range(i):
                factor[i, j] = partial[at] * np.sqrt(1 - (factor[i, :j] ** 2).sum())
                at += 1
            factor[i, i] = np.sqrt(1 - (factor[i, :i] ** 2).sum())
        matrix = np.outer(own, own) * (factor @ factor.T)
        effects = w[start : start + k * len(block.levels)].reshape(-1, k)
        value += multivariate_normal(np.zeros(k), matrix).logpdf(effects).sum()
        for j, term in enumerate(block.terms):
            prior = outcome.priors[f"sd:{term}|{block.factor}"].prior
            value += 0.0 if isinstance(prior, Fixed) else halfnorm(scale=prior.sd).logpdf(own[j])
    free = model.partial_at >= 0
    value += ((model.partial_number - 1) * np.log1p(-(partial**2)))[free].sum()
    return value + _log_jacobian(ready, q)


def _log_jacobian(ready, q):
    model = ready.model

    def natural(at):
        w, sd, partial = unfolded(ready, at)
        return np.concatenate([w, sd[model.sd_at >= 0], partial[model.partial_at >= 0]])

    steps = np.eye(len(q)) * 1e-5
    columns = np.array([natural(q + h) - natural(q - h) for h in steps]) / 2e-5
    return np.linalg.slogdet(columns)[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_density_is_the_joint_density_up_to_a_constant(family):
    outcome, ready = prepared(family, parameters={REGRESSION[family]: "~ valence"})
    gaps = [density(ready, q)[0] - by_definition(family, outcome, ready, q) for q in points(ready)]
    assert np.ptp(gaps) < 1e-5


MODELS = (
    ("raw ~ valence + w + (valence + w | participant) + (w || stimulus)", {}, {}),
    ("raw ~ 1", {}, {}),
    ("raw ~ valence + (1 | participant)", {}, {"Intercept": Flat(), "sd": Fixed(0.5)}),
    (FORMULA, {}, {"corr": Fixed(0.3), "valence": Fixed(0.4), "phi": Fixed(7.0)}),
    (FORMULA, {"phi": "~ valence * w"}, {"cutpoint_zero": Fixed(-2.0), "cutpoint_one": Fixed(3.0)}),
    (FORMULA, {"phi": "~ valence"}, {"phi_valence": Fixed(0.2), "sd": HalfNormal(0.3)}),
)


@pytest.mark.parametrize(("formula", "parameters", "priors"), MODELS)
def test_density_of_other_models(formula, parameters, priors):
    outcome, ready = prepared("ordered_beta", formula, parameters, priors)
    gaps = [density(ready, q)[0] - by_definition("ordered_beta", outcome, ready, q) for q in points(ready)]
    assert np.ptp(gaps) < 1e-5


def test_saboteur_a_density_without_a_jacobian_is_noticed():
    outcome, ready = prepared("ordered_beta")
    at = ready.model.sd_at[ready.model.sd_at >= 0]
    gaps = [
        density(ready, q)[0] - np.log(np.cosh(q[at])).sum() - by_definition("ordered_beta", outcome, ready, q)
        for q in points(ready)
    ]
    assert np.ptp(gaps) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("model", [*MODELS[:1], (FORMULA, None, {})], ids=("three terms", "regression"))
def test_gradient_is_that_of_the_density(family, model):
    formula, parameters, priors = model
    _, ready = prepared(
        family, formula, {REGRESSION[family]: "~ valence"} if parameters is None else {}, priors
    )
    for q in points(ready, 2, seed=3):
        slope = density(ready, q)[1]
        steps = np.eye(len(q)) * 1e-5
        expected = [(density(ready, q + h)[0] - density(ready, q - h)[0]) / 2e-5 for h in steps]
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_signs_of_sds_change_nothing_and_an_sd_passes_through_zero():
    """Σ and DΣD are one covariance: with a sign also v and the correlations turn, and w stays."""
    _, ready = prepared("ordered_beta")
    q = points(ready, 1)[0]
    at = int(ready.model.sd_at[ready.layout.first_sd[0] + 1])
    values = []
    for small in (1e-4, 1e-6, -1e-6, -1e-4):
        moved = q.copy()
        moved[at] = small
        values.append(density(ready, moved)[0])
    assert np.ptp(values) < 1e-2
    flipped = q.copy()
    flipped[at] = -q[at]
    assert (unfolded(ready, flipped)[1] == unfolded(ready, q)[1]).all()
    assert unfolded(ready, flipped)[2] == pytest.approx(-unfolded(ready, q)[2])


def test_cutpoints_are_fixed_together_or_not_at_all():
    from mien.study.errors import FitError

    with pytest.raises(FitError, match="both cutpoints"):
        prepared("ordered_beta", priors={"cutpoint_one": Fixed(2.0)})
