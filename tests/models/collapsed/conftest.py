"""A small mixed model whose density of theta is written out plainly, with its gradient by differences."""

import numpy as np
import pytest

from mien.models.design import Block
from mien.models.engines.collapsed.correlation import cholesky_of, pull_back_inverse
from mien.models.engines.collapsed.parameters import make_parameters
from mien.priors import LKJ, Fixed, HalfNormal, HalfStudentT, ResolvedPrior


def resolved(priors):
    return {name: ResolvedPrior(prior, "user", name) for name, prior in priors.items()}


class PlainDensity:
    """y ~ v + (v | p) + (1 | s), beta ~ N(0, 1): log N(y; 0, V(theta)) + log prior, through W'W and W'y."""

    def __init__(self, y, x, z, levels, parameters):
        """z: one column block (row, level·term) for each of `parameters.blocks`, terms fastest."""
        self.parameters, self.levels = parameters, levels
        self.columns = np.hstack([x, *z])
        self.coefficients = x.shape[1]
        self.y, self.gram = y, self.columns.T @ self.columns
        self.pull, self.square = self.columns.T @ y, y @ y
        self.calls = self.points = 0

    def likelihood(self, natural):
        points, size = len(natural.rho), len(self.gram)
        root = np.zeros((points, size, size))
        root[:, range(self.coefficients), range(self.coefficients)] = 1.0
        at = self.coefficients
        for (first, k, partial), levels in zip(self.parameters.blocks, self.levels, strict=True):
            factor = natural.sd[:, first : first + k, None] * cholesky_of(natural.partial, partial, k)
            for _ in range(levels):
                root[:, at : at + k, at : at + k] = factor
                at += k
        precision = natural.sigma[:, 0] ** -2.0
        inner = root.transpose(0, 2, 1) @ self.gram @ root * precision[:, None, None] + np.eye(size)
        lower = np.linalg.cholesky(inner)
        c = np.linalg.solve(lower, (root.transpose(0, 2, 1) @ self.pull * precision[:, None])[..., None])[
            ..., 0
        ]
        determinant = 2 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        return -0.5 * (
            len(self.y) * np.log(2 * np.pi / precision)
            + determinant
            + precision * self.square
            - (c**2).sum(axis=1)
        )

    def values(self, theta):
        self.points += len(theta)
        self.calls += 1
        with np.errstate(all="ignore"):
            natural = self.parameters.natural(theta)
            good = np.isfinite(natural.sd).all(axis=1) & (np.abs(theta) < 18).all(axis=1)
            result = np.full(len(theta), -np.inf)
            part = type(natural)(*(value[good] for value in natural))
            result[good] = self.likelihood(part) + self.parameters.log_prior(theta[good])
        return np.where(np.isfinite(result), result, -np.inf)

    def gradient(self, theta):
        step = 1e-5 * np.eye(len(theta))
        values = self.values(np.vstack([theta, theta + step, theta - step]))
        dim = len(theta)
        return values[0], (values[1 : dim + 1] - values[dim + 1 :]) / 2e-5


def simulate(
    seed=0, people=8, stimuli=12, sds=(1.0, 0.4, 0.5), rho=0.3, sigma=1.0, missing=0.0, priors=None, repeats=1
):
    """A data set of the model and its density. sds: of (1|p), (v|p), (1|s)."""
    rng = np.random.default_rng(seed)
    person, stimulus = (
        np.repeat(c.ravel(), repeats)
        for c in np.meshgrid(np.arange(people), np.arange(stimuli), indexing="ij")
    )
    keep = rng.random(len(person)) >= missing
    person, stimulus = person[keep], stimulus[keep]
    v = np.where(stimulus % 2 == 0, -0.5, 0.5)
    covariance = np.array([[sds[0] ** 2, rho * sds[0] * sds[1]], [rho * sds[0] * sds[1], sds[1] ** 2]])
    effects = rng.multivariate_normal(np.zeros(2), covariance, people, check_valid="ignore")
    y = 0.3 * v + effects[person, 0] + effects[person, 1] * v + rng.normal(0, sds[2], stimuli)[stimulus]
    y = y + rng.normal(0, sigma, len(v))
    x = np.column_stack([np.ones(len(v)), v])
    by_person = np.zeros((len(v), people, 2))
    by_person[np.arange(len(v)), person] = x
    by_stimulus = np.eye(stimuli)[stimulus]
    blocks = [
        Block("participant", ("1", "valence"), x, person, tuple(map(str, range(people)))),
        Block("stimulus", ("1",), x[:, :1], stimulus, tuple(map(str, range(stimuli)))),
    ]
    spread = y.std()
    given = {
        "sd:1|participant": HalfNormal(2.5 * spread), "sd:valence|participant": HalfNormal(2.5 * spread),
        "sd:1|stimulus": HalfNormal(2.5 * spread), "corr:participant": LKJ(2.0),
        "sigma": HalfStudentT(4.0, spread),
    }  # fmt: skip
    information = np.array([(x**2).sum(axis=0)[0] / people, (x**2).sum(axis=0)[1] / people, len(v) / stimuli])
    parameters = make_parameters(
        blocks, resolved(given | (priors or {})), ("",), False, sigma / np.sqrt(information)
    )
    return PlainDensity(y, x, [by_person.reshape(len(v), -1), by_stimulus], (people, stimuli), parameters)


@pytest.fixture(scope="session")
def simulated():
    return simulate


class ScatterDensity:
    """n independent vectors v ~ N(0, Σ + sigma² I) of k values, Σ one block's covariance; their scatter is given.

    What a balanced group of correlated effects comes to; cheap enough for grids and long chains.
    """

    def __init__(self, scatter, count, parameters):
        self.scatter, self.count, self.parameters = np.asarray(scatter, dtype=np.float64), count, parameters
        self.points = 0

    def values(self, theta):
        self.points += len(theta)
        with np.errstate(all="ignore"):
            natural = self.parameters.natural(theta)
            k = len(self.scatter)
            factor = natural.sd[:, :, None] * cholesky_of(natural.partial, 0, k)
            covariance = factor @ factor.transpose(0, 2, 1) + natural.sigma[:, :, None] ** 2 * np.eye(k)
            good = np.isfinite(covariance).all(axis=(1, 2)) & (np.abs(theta) < 30).all(axis=1)
            covariance = np.where(good[:, None, None], covariance, np.eye(k))
            if k == 2:
                determinant = covariance[:, 0, 0] * covariance[:, 1, 1] - covariance[:, 0, 1] ** 2
                trace = covariance[:, 1, 1] * self.scatter[0, 0] + covariance[:, 0, 0] * self.scatter[1, 1]
                trace = (trace - 2 * covariance[:, 0, 1] * self.scatter[0, 1]) / determinant
                logdet = np.log(determinant)
            else:
                trace = np.trace(np.linalg.solve(covariance, self.scatter), axis1=1, axis2=2)
                logdet = np.linalg.slogdet(covariance)[1]
            result = -0.5 * (self.count * (logdet + k * np.log(2 * np.pi)) + trace)
            result = np.where(good, result + self.parameters.log_prior(theta), -np.inf)
        return np.where(np.isfinite(result), result, -np.inf)

    def gradient(self, theta):
        with np.errstate(all="ignore"):
            natural = self.parameters.natural(theta[None])
            k = len(self.scatter)
            sd, sigma = natural.sd[0], natural.sigma[0, 0]
            factor = cholesky_of(natural.partial, 0, k)[0]
            matrix = factor @ factor.T
            covariance = matrix * np.outer(sd, sd) + sigma**2 * np.eye(k)
            value = self.values(theta[None])[0]
            if not np.isfinite(value):
                return -np.inf, np.zeros(len(theta))
            inverse = np.linalg.inv(covariance)
            by = -0.5 * (self.count * inverse - inverse @ self.scatter @ inverse)
            by_matrix = by * np.outer(sd, sd)
            by_partial = pull_back_inverse(natural.partial[0], 0, k, -matrix @ by_matrix @ matrix, 0.0)
            slope = np.array([2.0 * sigma * np.trace(by)])
            return value, self.parameters.pull_back(theta, 2.0 * (by * matrix) @ sd, by_partial, slope, 0.0)


def scatter_density(sds=(1.0, 0.3), rho=0.5, sigma=1.0, count=20, priors=None, seed=0):
    """Simulated: by default two sds and a correlation free, sigma Fixed."""
    k = len(sds)
    correlation = np.full((k, k), rho) + (1 - rho) * np.eye(k)
    covariance = np.outer(sds, sds) * correlation + sigma**2 * np.eye(k)
    v = np.random.default_rng(seed).multivariate_normal(np.zeros(k), covariance, count)
    terms = tuple(f"t{i}" for i in range(k))
    given = {f"sd:{term}|p": HalfNormal(2.0) for term in terms}
    given |= {"corr:p": LKJ(2.0), "sigma": Fixed(sigma)}
    blocks = [Block("p", terms, np.zeros((0, k)), np.zeros(0, dtype=np.int64), ("a", "b"))]
    scale = np.full(k, sigma / np.sqrt(count) ** 0.5)
    parameters = make_parameters(blocks, resolved(given | (priors or {})), ("",), False, scale)
    return ScatterDensity(v.T @ v, count, parameters)


@pytest.fixture(scope="session")
def scatter():
    return scatter_density
