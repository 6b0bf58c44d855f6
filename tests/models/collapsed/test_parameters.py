"""theta ↔ sds, correlations, sigma, rho: densities against scipy, quadrature and finite differences."""

import itertools

import numpy as np
import pytest
from scipy import integrate, special, stats

from mien.models.design import Block
from mien.models.engines.collapsed.correlation import cholesky_of, inverse_of, pull_back_inverse
from mien.models.engines.collapsed.parameters import make_parameters
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Normal, ResolvedPrior
from mien.study.errors import FitError


def block(factor, *terms):
    return Block(factor, terms, np.zeros((0, len(terms))), np.zeros(0, dtype=np.int64), ("a", "b"))


def resolved(**priors):
    return {name: ResolvedPrior(prior, "user", name) for name, prior in priors.items()}


THREE = [
    block("participant", "1", "valence", "arousal"),
    block("stimulus", "1"),
    block("item", "1", "valence"),
]
PRIORS = resolved(
    **{
        "sd:1|participant": HalfNormal(0.7),
        "sd:valence|participant": HalfStudentT(4.0, 0.5),
        "sd:arousal|participant": Exponential(2.0),
        "sd:1|stimulus": HalfStudentT(3.0, 1.5),
        "sd:1|item": Fixed(0.3),
        "sd:valence|item": HalfNormal(1.0),
        "corr:participant": LKJ(2.0),
        "corr:item": LKJ(1.5),
        "sigma:film": HalfStudentT(4.0, 1.0),
        "sigma": Exponential(1.0),
        "rho": Normal(0.2, 0.5),
    }
)
SCALE = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.fixture(scope="module")
def parameters():
    return make_parameters(THREE, PRIORS, ("picture", "film"), True, SCALE)


def test_names_and_layout(parameters):
    assert parameters.names == (
        "sd:1|participant", "sd:valence|participant", "sd:arousal|participant", "sd:1|stimulus",
        "sd:valence|item", "corr:participant[valence,1]", "corr:participant[arousal,1]",
        "corr:participant[arousal,valence]", "corr:item[valence,1]", "sigma:picture", "sigma:film", "rho",
    )  # fmt: skip
    assert parameters.dim == 12
    assert parameters.blocks == ((0, 3, 0), (3, 1, 3), (4, 2, 3))
    natural = parameters.natural(np.zeros((2, 12)))
    np.testing.assert_array_equal(natural.sd, [[0, 0, 0, 0, 0.3, 0]] * 2)
    np.testing.assert_array_equal(natural.sigma, np.ones((2, 2)))
    assert [array.shape for array in natural] == [(2, 6), (2, 4), (2, 2), (2,)]


def test_log_prior_is_scipys_densities_with_jacobians(parameters):
    theta = np.random.default_rng(1).normal(0, 1, (20, 12))
    sd, partial, sigma, rho = parameters.natural(theta)
    size = np.abs(sd)
    wanted = (
        stats.halfnorm.logpdf(size[:, 0], scale=0.7)
        + stats.t.logpdf(size[:, 1], 4.0, scale=0.5) + np.log(2)
        + stats.expon.logpdf(size[:, 2], scale=0.5)
        + stats.t.logpdf(size[:, 3], 3.0, scale=1.5) + np.log(2)
        + stats.halfnorm.logpdf(size[:, 5], scale=1.0)
        + stats.expon.logpdf(sigma[:, 0]) + stats.t.logpdf(sigma[:, 1], 4.0) + np.log(2)
        + stats.norm.logpdf(np.arctanh(rho), 0.2, 0.5)
    )  # fmt: skip
    for p, a in zip(partial.T, (2.5, 2.5, 2.0, 1.5), strict=True):
        wanted += stats.beta.logpdf((p + 1) / 2, a, a) - np.log(2) + np.log(1 - p**2)
    free = [0, 1, 2, 3, 5]
    wanted += np.log(SCALE[free] * np.cosh(theta[:, :5])).sum(axis=1) + np.log(sigma).sum(axis=1)
    np.testing.assert_allclose(parameters.log_prior(theta), wanted, rtol=1e-12)


@pytest.mark.parametrize("prior", [HalfNormal(0.7), HalfStudentT(4.0, 0.5), Exponential(2.0)])
def test_prior_of_an_sd_integrates_to_one_over_the_folded_line(prior):
    priors = resolved(**{"sd:1|s": prior, "sigma": Fixed(1.0)})
    parameters = make_parameters([block("s", "1")], priors, ("",), False, np.array([0.2]))
    density = lambda x: np.exp(parameters.log_prior(np.array([[x]])))[0]  # noqa: E731
    assert integrate.quad(density, 0, 40, points=[1, 5])[0] == pytest.approx(1.0, abs=1e-7)
    assert integrate.quad(density, -40, 40, points=[-5, 0, 5])[0] == pytest.approx(2.0, abs=1e-7)


def test_prior_of_sigma_correlation_and_rho_integrates_to_one():
    names = {"sd:1|p": Fixed(1.0), "sd:x|p": Fixed(1.0), "corr:p": LKJ(2.0), "sigma": HalfStudentT(4.0, 1.0)}
    parameters = make_parameters(
        [block("p", "1", "x")], resolved(rho=Normal(0.0, 0.5), **names), ("",), True, np.ones(2)
    )
    assert parameters.names == ("corr:p[x,1]", "sigma", "rho")
    axes = np.linspace(-8, 8, 161), np.linspace(-40, 15, 551), np.linspace(-4, 4, 81)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    step = np.prod([axis[1] - axis[0] for axis in axes])
    assert np.exp(parameters.log_prior(grid)).sum() * step == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("eta", [1.0, 2.0, 0.7])
def test_correlations_have_the_lkj_density(k, eta):
    """|R|^(eta − 1) over its known normaliser, with the Jacobian of R by theta from finite differences."""
    terms = [f"t{i}" for i in range(k)]
    priors = {f"sd:{term}|p": Fixed(1.0) for term in terms} | {"corr:p": LKJ(eta), "sigma": Fixed(1.0)}
    parameters = make_parameters([block("p", *terms)], resolved(**priors), ("",), False, np.ones(k))
    below = np.tril_indices(k, -1)

    def matrix(theta):
        factor = cholesky_of(parameters.natural(theta[None]).partial, 0, k)[0]
        return factor @ factor.T

    # ∫|R|^(eta − 1) dR as a product of beta functions.
    log_constant = 0.0
    for i in range(1, k):
        exponent = 2 * eta - 2 + k - i
        log_constant += exponent * (k - i) * np.log(2)
        log_constant += (k - i) * special.betaln(eta + (k - i - 1) / 2, eta + (k - i - 1) / 2)
    for theta in np.random.default_rng(k).normal(0, 0.6, (5, parameters.dim)):
        jacobian = np.array(
            [(matrix(theta + h) - matrix(theta - h))[below] / 2e-5 for h in 1e-5 * np.eye(parameters.dim)]
        )
        wanted = (
            (eta - 1) * np.linalg.slogdet(matrix(theta))[1] + np.linalg.slogdet(jacobian)[1] - log_constant
        )
        assert parameters.log_prior(theta[None])[0] == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_inverse_and_its_reverse(k):
    rng = np.random.default_rng(k)
    count = k * (k - 1) // 2
    partial = np.tanh(rng.normal(0, 0.8, (6, count + 3)))  # 2 before, 1 after
    inverse, log_determinant = inverse_of(partial, 2, k)
    factor = cholesky_of(partial, 2, k)
    matrix = factor @ factor.transpose(0, 2, 1)
    np.testing.assert_allclose(matrix[:, range(k), range(k)], 1.0)
    np.testing.assert_allclose(inverse, np.linalg.inv(matrix), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_determinant, np.linalg.slogdet(matrix)[1], atol=1e-12)

    weight, other = rng.normal(size=(k, k)), 0.7

    def value(p):
        found, logdet = inverse_of(p[None], 2, k)
        return (weight * found[0]).sum() + other * logdet[0]

    found = pull_back_inverse(partial[0], 2, k, weight, other)
    wanted = [(value(partial[0] + h) - value(partial[0] - h)) / 2e-6 for h in 1e-6 * np.eye(count + 3)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def smooth(natural, at):
    """A likelihood that knows only Σ = diag(sd) R diag(sd), sigma and rho, so that flips are neutral."""
    total = np.zeros(len(natural.rho))
    for first, k, partial in at:
        factor = natural.sd[:, first : first + k, None] * cholesky_of(natural.partial, partial, k)
        covariance = factor @ factor.transpose(0, 2, 1)
        total += np.sin(covariance * np.arange(1, k * k + 1).reshape(k, k)).sum(axis=(1, 2))
    return total - np.log(natural.sigma).sum(axis=1) + natural.rho


def test_gradient_is_that_of_likelihood_and_prior(parameters):
    theta = np.random.default_rng(5).normal(0, 0.7, 12)
    natural = parameters.natural(theta[None])

    def by(name):
        value = getattr(natural, name)[0]
        if name == "rho":
            value = np.array([value])
        steps = 1e-6 * np.eye(value.size)

        def at(v):
            replaced = v[0:1] if name == "rho" else v[None]
            return smooth(natural._replace(**{name: replaced}), parameters.blocks)[0]

        return np.array([(at(value + h) - at(value - h)) / 2e-6 for h in steps])

    found = parameters.pull_back(theta, by("sd"), by("partial"), by("sigma"), by("rho")[0])

    def posterior(x):
        return (smooth(parameters.natural(x[None]), parameters.blocks) + parameters.log_prior(x[None]))[0]

    wanted = [(posterior(theta + h) - posterior(theta - h)) / 2e-6 for h in 1e-6 * np.eye(12)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_flips_leave_the_density_unchanged_and_move_the_correlations(parameters):
    theta = np.random.default_rng(6).normal(0, 1, (7, 12))

    def posterior(x):
        return smooth(parameters.natural(x), parameters.blocks) + parameters.log_prior(x)

    assert parameters.flips.shape == (5, 12)
    for chosen in itertools.chain.from_iterable(itertools.combinations(range(5), n) for n in (1, 2, 5)):
        flip = parameters.flips[list(chosen)].prod(axis=0)
        np.testing.assert_allclose(posterior(theta * flip), posterior(theta), rtol=1e-10)
    saboteur = np.where(np.arange(12) == 0, -1.0, 1.0)  # the sd's sign without its correlations'
    assert np.abs(posterior(theta * saboteur) - posterior(theta)).max() > 0.1


def test_fold_goes_to_the_image_with_positive_sds(parameters):
    theta = np.random.default_rng(7).normal(0, 1, (50, 12))
    folded = parameters.fold(theta)
    assert (folded[:, :5] >= 0).all()
    np.testing.assert_allclose(parameters.log_prior(folded), parameters.log_prior(theta), rtol=1e-12)
    np.testing.assert_array_equal(folded[:, 9:], theta[:, 9:])
    before, after = parameters.natural(theta), parameters.natural(folded)
    np.testing.assert_allclose(smooth(after, parameters.blocks), smooth(before, parameters.blocks), rtol=1e-9)


def test_a_fixed_correlation_other_than_zero_takes_the_size_of_the_sd():
    names = {"sd:1|p": HalfNormal(1.0), "sd:x|p": HalfNormal(1.0), "sigma": Fixed(1.0)}
    for value, sign in ((0.5, 1.0), (0.0, -1.0)):
        parameters = make_parameters(
            [block("p", "1", "x")], resolved(**{"corr:p": Fixed(value)}, **names), ("",), False, np.ones(2)
        )
        natural = parameters.natural(np.array([[-1.0, 2.0]]))
        assert natural.sd[0, 0] == pytest.approx(sign * np.sinh(1.0))
        assert natural.partial[0, 0] == value
        np.testing.assert_array_equal(parameters.flips, [[-1, 1], [1, -1]])


def test_everything_fixed_has_no_dimensions():
    names = {"sd:1|p": Fixed(0.4), "sigma": Fixed(0.5), "rho": Fixed(0.3)}
    parameters = make_parameters([block("p", "1")], resolved(**names), ("",), True, np.ones(1))
    assert parameters.dim == 0
    assert parameters.flips.shape == (0, 0)
    natural = parameters.natural(np.zeros((3, 0)))
    np.testing.assert_array_equal(natural.rho, [0.3] * 3)
    np.testing.assert_array_equal(natural.sigma, [[0.5]] * 3)
    np.testing.assert_array_equal(parameters.log_prior(np.zeros((3, 0))), np.zeros(3))
    assert parameters.pull_back(np.zeros(0), np.ones(1), np.zeros(0), np.ones(1), 1.0).shape == (0,)


def test_no_blocks():
    parameters = make_parameters([], resolved(sigma=HalfNormal(1.0)), ("",), False, np.zeros(0))
    assert parameters.names == ("sigma",)
    assert parameters.blocks == ()
    assert parameters.natural(np.zeros((2, 1))).sd.shape == (2, 0)
    np.testing.assert_array_equal(parameters.fold(np.array([[-1.0]])), [[-1.0]])


def test_far_away_there_is_no_warning_and_no_density(parameters):
    far = np.full((1, 12), 800.0)
    assert parameters.log_prior(far)[0] == -np.inf
    parameters.natural(far)
    parameters.pull_back(far[0], np.ones(6), np.ones(4), np.ones(2), 1.0)
    inverse_of(np.ones((1, 3)), 0, 3)


def test_a_fixed_correlation_that_no_matrix_has_is_refused():
    terms = {f"sd:{term}|p": Fixed(1.0) for term in "abc"}
    priors = resolved(**terms, **{"corr:p": Fixed(-0.6), "sigma": Fixed(1.0)})
    with pytest.raises(FitError, match=r"above -0\.5 for 3 effects, found -0\.6"):
        make_parameters([block("p", "a", "b", "c")], priors, ("",), False, np.ones(3))
