"""Weighted points against quadrature, with saboteurs; the verdict; what lies at the edges."""

import json

import numpy as np
import pytest

from mien.models.engines.collapsed import importance, proposal
from mien.models.engines.collapsed.fallback import Sampled
from mien.models.engines.collapsed.importance import importance_sample, quantities, sample_theta
from mien.models.engines.collapsed.parameters import make_parameters
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Normal, ResolvedPrior
from mien.study.errors import FitError

LIMITS = (0.0, 0.0, -6.0), (9.0, 9.0, 6.0)


def quadrature(density, lower, upper, count):
    """Means and sds of all quantities, and the log evidence, by the midpoint rule over the folded space."""
    axes = [
        np.linspace(a, b, n + 1)[:-1] + (b - a) / n / 2 for a, b, n in zip(lower, upper, count, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    log_p = density.values(points)
    p = np.exp(log_p - log_p.max())
    step = np.prod([axis[1] - axis[0] for axis in axes])
    values = quantities(density.parameters, points)
    means = {name: (value * p).sum() / p.sum() for name, value in values.items()}
    sds = {name: np.sqrt(((value - means[name]) ** 2 * p).sum() / p.sum()) for name, value in values.items()}
    return means, sds, log_p.max() + np.log(p.sum() * step)


def deviations(density, found, truth):
    """Deviations from the truth in standard errors: of means, of second moments, of the evidence."""
    means, sds, evidence = truth
    weight = found.weight / found.weight.sum()
    result = {"evidence": (found.log_evidence - evidence) / found.log_evidence_mcse}
    for name, value in quantities(density.parameters, found.theta).items():
        for power in (1, 2):
            away = (value - means[name]) ** power
            wanted = 0.0 if power == 1 else sds[name] ** 2
            error = np.sqrt((weight**2 * (away - wanted) ** 2).sum())
            result[f"{name}^{power}"] = (weight @ away - wanted) / error
    return result


def sampled(density, seed=1, points=4000, runs=4):
    return importance_sample(density, points=points, runs=runs, seed=np.random.SeedSequence(seed))


CASES = {
    "away from 0": {"sds": (1.0, 0.8), "rho": 0.5, "count": 30},
    "one sd near 0": {"sds": (1.0, 0.1), "rho": 0.0, "count": 30},
    "both near 0": {"sds": (0.1, 0.1), "rho": 0.0, "count": 15},
    "strong correlation": {"sds": (1.5, 1.2), "rho": 0.97, "count": 25, "sigma": 0.3},
    "three persons": {"sds": (1.0, 0.5), "rho": 0.0, "count": 3},
    "one person": {"sds": (1.0, 0.5), "rho": 0.0, "count": 1},
}


@pytest.fixture(scope="module")
def truths(scatter):
    return {
        name: (density := scatter(**case), quadrature(density, *LIMITS, (100, 100, 60)))
        for name, case in CASES.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_moments_and_evidence_are_those_of_quadrature(truths, case):
    density, truth = truths[case]
    found = sampled(density)
    assert found.passed, found.reason
    assert found.ess > 0.5 * len(found.weight)
    assert max(map(abs, deviations(density, found, truth).values())) < 4.0


def test_sigma_and_three_correlated_effects_against_a_long_run(scatter):
    """Seven dimensions, too many for a grid: plain importance sampling from one wide normal, 200,000 points."""
    priors = {"sigma": HalfStudentT(4.0, 1.0), "sd:t1|p": Exponential(1.0), "sd:t2|p": HalfStudentT(3.0, 1.0)}
    density = scatter(sds=(1.2, 0.9, 0.4), rho=0.4, count=25, sigma=0.7, priors=priors, seed=4)
    found = sampled(density)
    assert found.passed, found.reason
    weight = found.weight / found.weight.sum()
    centre = weight @ found.theta
    root = np.linalg.cholesky(np.cov(found.theta.T, aweights=weight) * 2.5)
    rng = np.random.default_rng(5)
    standard = rng.standard_normal((200_000, 7)) * np.sqrt(6 / rng.chisquare(6, 200_000))[:, None]
    points = centre + standard @ root.T
    inside = (points[:, :3] >= 0).all(axis=1)
    log_q = -6.5 * np.log1p((standard**2).sum(axis=1) / 6) - np.log(np.diag(root)).sum()
    log_w = np.where(inside, density.values(points), -np.inf) - log_q
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    mine, brute = quantities(density.parameters, found.theta), quantities(density.parameters, points)
    for name, value in brute.items():
        mean = w[inside] @ value[inside]
        error = np.sqrt(
            (w[inside] ** 2 @ (value[inside] - mean) ** 2)
            + (weight**2 @ (mine[name] - weight @ mine[name]) ** 2)
        )
        assert abs(weight @ mine[name] - mean) < 4 * error, name


def test_saboteur_images_are_left_out(truths, monkeypatch):
    whole = proposal._proposal

    def without(*given, **named):
        made = whole(*given, **named)
        return made._replace(folds=np.zeros_like(made.folds))

    monkeypatch.setattr(proposal, "_proposal", without)
    density, truth = truths["one sd near 0"]
    assert max(map(abs, deviations(density, sampled(density), truth).values())) > 6.0


def test_saboteur_points_are_not_weighted(truths):
    density, truth = truths["one sd near 0"]
    found = sampled(density)
    same = found._replace(weight=np.full(len(found.weight), 1.0))
    assert max(map(abs, deviations(density, same, truth).values())) > 6.0


def test_saboteur_the_prior_returned(truths):
    density, truth = truths["away from 0"]

    class Prior:
        parameters = density.parameters

        def values(self, theta):
            return self.parameters.log_prior(theta)

        def gradient(self, theta):
            zero = np.zeros(2)
            return self.values(theta[None])[0], self.parameters.pull_back(
                theta, zero, zero[:1], zero[:1], 0.0
            )

    assert max(map(abs, deviations(density, sampled(Prior()), truth).values())) > 6.0


def test_the_evidence_of_the_prior_is_one(scatter):
    density = scatter(sds=(1.0, 1.0, 1.0), priors={"sigma": HalfStudentT(4.0, 1.0)})
    density.count, density.scatter = 0, np.zeros((3, 3))
    found = sampled(density)
    assert abs(found.log_evidence) < 4 * found.log_evidence_mcse
    assert found.log_evidence_mcse < 0.05


def test_same_seed_same_numbers_and_runs_differ(scatter):
    density = scatter()
    first, again, other = (sampled(density, seed, points=800) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.theta, again.theta)
    np.testing.assert_array_equal(first.weight, again.weight)
    assert not np.isin(first.theta[:, 0], other.theta[:, 0]).any()
    assert len(np.unique(first.theta[:, 0])) == 800
    np.testing.assert_array_equal(np.bincount(first.run), [200] * 4)
    np.testing.assert_allclose([first.weight[first.run == run].sum() for run in range(4)], 1.0)
    assert (first.theta[:, :2] >= 0).all()
    np.testing.assert_allclose(first.log_density, density.values(first.theta), rtol=1e-10)


def test_verdict_is_recomputed_from_what_is_kept(scatter):
    found = sampled(scatter())
    weight = found.weight / found.weight.sum()
    assert found.ess == pytest.approx(1 / (weight**2).sum())
    values = quantities(scatter().parameters, found.theta)
    assert set(found.ess_of) == set(values) == {"sd:t0|p", "sd:t1|p", "corr:p[t1,t0]"}
    for name, value in values.items():
        centred = value - weight @ value
        wanted = (weight @ centred**2) / (weight**2 @ centred**2)
        assert found.ess_of[name] == pytest.approx(wanted, rel=1e-6)
    json.dumps([found.khat, found.ess, found.ess_of, found.max_z, found.notes, found.reason])


def test_quantities_of_three_effects_are_correlations_not_partial_ones(scatter):
    parameters = scatter(sds=(1.0, 1.0, 1.0)).parameters
    theta = np.array([[1.0, 1.0, 1.0, 0.5, 0.4, 0.3]])
    values = quantities(parameters, theta)
    a, b, c = np.tanh([0.5, 0.4, 0.3])
    assert values["corr:p[t1,t0]"][0] == pytest.approx(a)
    assert values["corr:p[t2,t0]"][0] == pytest.approx(b)
    assert values["corr:p[t2,t1]"][0] == pytest.approx(a * b + c * np.sqrt((1 - a**2) * (1 - b**2)))


def test_too_few_points_fail_the_verdict(scatter):
    found = sampled(scatter(), points=200)
    assert not found.passed
    assert "ESS" in found.reason


def test_runs_that_disagree_fail_the_verdict(scatter):
    density = scatter()
    weight = np.full((4, 500), 1 / 500)
    values = {"a": np.random.default_rng(1).normal(size=2000)}
    assert importance._agreement(values, weight)[1] < 4
    values["a"][:500] += 1.0
    _, z = importance._agreement(values, weight)
    assert z > 4
    assert "between runs" in importance._reason(0.1, 900.0, {}, z)
    assert density.parameters.dim == 3


def test_everything_fixed_is_one_point(scatter):
    priors = {"sd:t0|p": Fixed(1.0), "sd:t1|p": Fixed(0.5), "corr:p": Fixed(0.3)}
    density = scatter(priors=priors)
    found = sample_theta(density, points=2000, runs=4, draws=100, seed=np.random.SeedSequence(1))
    assert found.theta.shape == (1, 0)
    np.testing.assert_array_equal(found.weight, [1.0])
    assert found.passed
    assert found.log_evidence == density.values(np.zeros((1, 0)))[0]
    density.scatter[:] = np.nan
    with pytest.raises(FitError, match="outcome 'y'"):
        importance_sample(density, points=100, runs=1, seed=np.random.SeedSequence(1), outcome="y")


@pytest.mark.parametrize("free", ["sd:t1|p", "sigma", "corr:p"])
def test_one_dimension(scatter, free):
    values = {"sd:t0|p": Fixed(1.0), "sd:t1|p": Fixed(0.5), "corr:p": Fixed(0.3), "sigma": Fixed(1.0)}
    values[free] = LKJ(2.0) if free == "corr:p" else HalfNormal(1.0)
    density = scatter(priors=values)
    found = sampled(density)
    assert found.passed, found.reason
    lower, upper = {"sd": (0, 12), "si": (-6, 3), "co": (-8, 8)}[free[:2]]
    truth = quadrature(density, (lower,), (upper,), (20_000,))
    assert max(map(abs, deviations(density, found, truth).values())) < 4.0


def test_a_fixed_correlation_keeps_its_sign(scatter):
    """|c·sinh(phi)|: with a fixed correlation the change of an sd's sign alone is not neutral."""
    density = scatter(sds=(1.0, 0.3), rho=0.8, priors={"corr:p": Fixed(0.8)}, sigma=0.5)
    truth = quadrature(density, (0, 0), (8, 8), (500, 500))
    assert max(map(abs, deviations(density, sampled(density), truth).values())) < 4.0


class Sigmas:
    """Residual sds of many strata around a common size, one sd and rho: sums of squares are given."""

    def __init__(self, strata, rows, seed=0):
        rng = np.random.default_rng(seed)
        self.rows = rows
        self.squares = rng.chisquare(rows, strata) * np.exp(rng.normal(0, 0.3, strata)) ** 2
        names = tuple(f"s{i:02d}" for i in range(strata))
        priors = {"sigma": HalfStudentT(4.0, 1.0), "rho": Normal(0.0, 0.5), "sd:1|p": HalfNormal(1.0)}
        from mien.models.design import Block

        blocks = [Block("p", ("1",), np.zeros((0, 1)), np.zeros(0, dtype=np.int64), ("a", "b"))]
        resolved = {name: ResolvedPrior(prior, "user", name) for name, prior in priors.items()}
        self.parameters = make_parameters(blocks, resolved, names, True, np.array([0.3]))

    def values(self, theta):
        with np.errstate(over="ignore", invalid="ignore"):
            sd, _, sigma, rho = self.parameters.natural(theta)
            total = -self.rows * np.log(sigma).sum(axis=1) - 0.5 * (self.squares / sigma**2).sum(axis=1)
            spread = sd[:, 0] ** 2 + 0.1
            total += -5.0 * np.log(spread) - 1.5 / spread - 20.0 * (rho - 0.4) ** 2 - np.abs(sd[:, 0] * rho)
            total += self.parameters.log_prior(theta)
        return np.where(np.isfinite(total), total, -np.inf)

    def gradient(self, theta):
        step = 1e-5 * np.eye(len(theta))
        values = self.values(np.vstack([theta, theta + step, theta - step]))
        dim = len(theta)
        return values[0], (values[1 : dim + 1] - values[dim + 1 :]) / 2e-5

    def gradients(self, theta):
        found = [self.gradient(point) for point in theta]
        return np.array([value for value, _ in found]), np.array([slope for _, slope in found])


@pytest.mark.parametrize(("strata", "rows"), [(3, 50), (32, 50), (52, 1600)])
def test_many_residual_sds(strata, rows):
    density = Sigmas(strata, rows)
    assert density.parameters.dim == strata + 2
    found = sampled(density, points=4000)
    assert found.passed, found.reason
    # each sigma by itself: the density falls apart given nothing else, so that quadrature is one-dimensional
    at = np.linspace(-4, 4, 40_001)
    sigma = np.exp(at)
    weight = found.weight / found.weight.sum()
    for number, name in enumerate(density.parameters.names[1 : strata + 1]):
        log_p = -rows * at - 0.5 * density.squares[number] / sigma**2 - 2.5 * np.log1p(sigma**2 / 4.0) + at
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        value = quantities(density.parameters, found.theta)[name]
        mean = p @ sigma
        error = np.sqrt(weight**2 @ (value - mean) ** 2)
        assert abs(weight @ value - mean) < 4.5 * error


def test_a_density_without_finite_points_is_refused(scatter):
    density = scatter()

    class OnlyTheMode:
        parameters = density.parameters

        def values(self, theta):
            return density.values(theta) if len(theta) < 50 else np.full(len(theta), -np.inf)

    with pytest.raises(FitError, match="outcome 'smile': expected finite log densities around the mode"):
        importance_sample(OnlyTheMode(), points=400, runs=2, seed=np.random.SeedSequence(1), outcome="smile")


def test_more_points_are_tried_before_anything_else(scatter):
    density = scatter()
    found = sample_theta(density, points=320, runs=4, draws=100, seed=np.random.SeedSequence(1))
    assert not isinstance(found, Sampled)
    assert found.passed
    assert len(found.weight) == 1280
    assert any(note.startswith("320 points: ") for note in found.notes)
    truth = quadrature(density, *LIMITS, (100, 100, 60))
    assert max(map(abs, deviations(density, found, truth).values())) < 4.0


@pytest.mark.slow
def test_errors_are_as_large_as_said(scatter):
    """Over 200 seeds the deviations from quadrature have unit spread and no bias."""
    density = scatter(sds=(1.0, 0.2), rho=0.0, count=20)
    truth = quadrature(density, *LIMITS, (100, 100, 60))
    found = [deviations(density, sampled(density, seed, 800), truth) for seed in range(200)]
    for name in found[0]:
        z = np.array([one[name] for one in found])
        assert abs(z.mean()) < 4 / np.sqrt(200), name
        assert 0.8 < z.std() < 1.25, name
