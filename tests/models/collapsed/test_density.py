"""The density of theta and the draws given theta against dense linear algebra, for whatever designs hypothesis finds.

The reference writes out the covariance of all single values and conditions by textbook formulas; it shares no code with
the engine, whose every part is in the comparison: sums of rows, elimination, weights of residuals, centring.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.design import Block, Design
from mien.models.engines.collapsed.engine import prepare
from mien.models.engines.problem import Outcome, Problem, Residual
from mien.priors import LKJ, Exponential, Fixed, Flat, HalfNormal, HalfStudentT, Normal, ResolvedPrior

# Designs


@dataclass(frozen=True)
class Shape:
    """What a design is made of. factors: (parent or −1, levels, groups of correlated terms)."""

    seed: int = 0
    rows: int = 40
    coefficients: tuple[str, ...] = ("Intercept", "v")
    priors: tuple[str, ...] = ("Normal", "Normal")
    factors: tuple[tuple[int, int, tuple[tuple[str, ...], ...]], ...] = ()
    weights: bool = False
    strata: int = 1
    ar1: bool = False
    known: bool = False
    counts: bool = False
    level: float = 0.0
    fixed: tuple[str, ...] = ()


NAMES = "pqst"
COLUMNS = ("1", "v", "age")


def level_codes(shape, rng):
    """(row, factor): nested factors count within their parents; some levels may have no rows."""
    codes = []
    for parent, levels, _ in shape.factors:
        own = rng.integers(0, levels, shape.rows)
        codes.append(own if parent < 0 else codes[parent] * levels + own)
    return codes


def level_counts(shape):
    counts = []
    for parent, levels, _ in shape.factors:
        counts.append(levels if parent < 0 else counts[parent] * levels)
    return counts


def make_outcome(shape):
    rng = np.random.default_rng(shape.seed)
    rows = shape.rows
    values = {"1": np.ones(rows), "v": rng.choice([-0.5, 0.5], rows), "age": rng.normal(3.0, 1.0, rows)}
    codes, counts = level_codes(shape, rng), level_counts(shape)
    stratum = rng.integers(0, shape.strata, rows)
    blocks = []
    for place, (_, _, groups) in enumerate(shape.factors):
        for terms in groups:
            columns = np.column_stack([values[name] for name in terms])
            labels = tuple(f"{number:03d}" for number in range(counts[place]))
            blocks.append(Block(NAMES[place], terms, columns, codes[place], labels))
    x = [values["1" if name == "Intercept" else name] for name in shape.coefficients]
    matrix = np.column_stack(x) if x else np.zeros((rows, 0))
    design = Design(shape.coefficients, matrix, tuple(blocks), {})
    residual = Residual()
    if shape.strata > 1:
        labels = tuple(f"m{number}" for number in range(shape.strata))
        residual = residual._replace(strata=labels, dim="medium", stratum=stratum)
    if shape.ar1:
        residual = residual._replace(**series_of([*codes, stratum], rng))
    if shape.known:
        residual = residual._replace(known_variance=rng.choice([0.1, 0.4, 0.9], rows) ** 2)
    root = np.sqrt(rng.uniform(0.3, 3.0, rows)) if shape.weights else np.ones(rows)
    if shape.counts:
        count = rng.integers(1, 4, rows).astype(float)
        squares = np.where(count > 1, rng.uniform(0.1, 2.0, rows), 0.0)
        residual, root = residual._replace(count=count, squares=squares), root * np.sqrt(count)
    response = shape.level + rng.normal(size=rows)
    return Outcome("y", design, response, root, priors_of(shape, blocks, residual), residual)


def series_of(codes, rng):
    """Series of up to five rows that share all levels; steps of 1 to 3."""
    _, cell = np.unique(np.column_stack(codes), axis=0, return_inverse=True)
    series = cell.ravel() * 2 + rng.integers(0, 2, len(cell))
    position = np.cumsum(rng.integers(1, 4, len(cell)))
    for number in np.unique(series):
        mine = np.flatnonzero(series == number)
        steps = np.cumsum(rng.integers(1, 4, len(mine)))
        position[mine] = rng.permutation(steps)
    return {"series": series, "position": position}


def priors_of(shape, blocks, residual):
    sds = (HalfNormal(1.0), HalfStudentT(4.0, 1.0), Exponential(1.0))
    priors = {}
    kinds = {"Normal": Normal(shape.level + 0.3, 2.0), "Flat": Flat(), "Fixed": Fixed(0.4)}
    for place, (name, kind) in enumerate(zip(shape.coefficients, shape.priors, strict=True)):
        priors[name] = (
            kinds[kind] if place == 0 or kind != "Normal" else Normal(-0.2 * place, 0.5 + 0.5 * place)
        )
    for number, block in enumerate(blocks):
        for term in block.terms:
            priors[f"sd:{term}|{block.factor}"] = sds[number % 3]
        if len(block.terms) > 1:
            priors[f"corr:{block.factor}"] = LKJ(2.0)
    priors["sigma"] = HalfStudentT(4.0, 1.0)
    priors |= {f"sigma:{label}": HalfNormal(2.0) for label in residual.strata if label}
    if residual.series is not None:
        priors["rho"] = Normal(0.0, 1.0)
    for name in shape.fixed:
        priors[name] = Fixed({"rho": 0.3, "corr": 0.4}.get(name.split(":")[0], 0.8))
    return {name: ResolvedPrior(prior, "user", name) for name, prior in priors.items()}


def density_of(outcome, threads=1):
    return prepare(Problem("gaussian", (outcome,)), threads=threads)[0].density


def random_theta(density, rng, points=2):
    """Somewhere ordinary; phi on both sides of 0."""
    return rng.normal(0.0, 0.7, (points, density.parameters.dim))


# The reference


class Dense(NamedTuple):
    """Single values y ~ N(W·prior mean, V): W (value, variable), prior covariance K, flat variables."""

    y: np.ndarray
    columns: np.ndarray
    mean: np.ndarray
    prior: np.ndarray
    flat: np.ndarray
    residual: np.ndarray
    coefficients: int

    @property
    def left(self):
        return self.y - self.columns @ self.mean

    @property
    def covariance(self):
        return self.columns @ self.prior @ self.columns.T + self.residual

    def log_density(self):
        v, x = self.covariance, self.columns[:, self.flat]
        value = -0.5 * (
            len(self.y) * math.log(2 * math.pi) + np.linalg.slogdet(v)[1] + self.left @ np.linalg.solve(v, self.left)
        )  # fmt: skip
        if x.shape[1]:
            information, score = x.T @ np.linalg.solve(v, x), x.T @ np.linalg.solve(v, self.left)
            value += 0.5 * (
                x.shape[1] * math.log(2 * math.pi) - np.linalg.slogdet(information)[1]
                + score @ np.linalg.solve(information, score)
            )  # fmt: skip
        return value

    def conditional(self):
        """Mean and covariance of all variables given y."""
        gain = self.prior @ self.columns.T @ np.linalg.inv(self.covariance)
        mean = self.mean + gain @ self.left
        covariance = self.prior - gain @ self.columns @ self.prior
        x = self.columns[:, self.flat]
        if x.shape[1]:
            weighted = x.T @ np.linalg.inv(self.covariance)
            inverse = np.linalg.inv(weighted @ x)
            moved = np.eye(len(self.mean))[:, self.flat] - gain @ x
            mean = mean + moved @ inverse @ weighted @ self.left
            covariance = covariance + moved @ inverse @ moved.T
        return mean, covariance


def correlation(partial, k):
    """From canonical partial correlations, one entry after the other."""
    lower = np.eye(k)
    numbers = iter(partial)
    for i in range(1, k):
        rest = 1.0
        for j in range(i):
            p = next(numbers)
            lower[i, j] = p * math.sqrt(rest)
            rest *= 1.0 - p * p
        lower[i, i] = math.sqrt(rest)
    return lower @ lower.T


def residual_covariance(outcome, sigma, rho):
    residual = outcome.residual
    rows = len(outcome.response)
    stratum = np.zeros(rows, dtype=int) if residual.stratum is None else residual.stratum
    variance = sigma[stratum] ** 2
    variance = variance + (0.0 if residual.known_variance is None else residual.known_variance)
    if residual.count is None:
        scale = np.sqrt(variance) / outcome.root_precision
    else:
        scale = np.sqrt(variance * residual.count) / outcome.root_precision  # of one value
    whole = np.diag(scale**2)
    if residual.series is not None:
        same = residual.series[:, None] == residual.series
        gap = np.abs(np.subtract.outer(residual.position, residual.position))
        whole = np.outer(scale, scale) * np.where(same, rho ** np.where(same, gap, 0.0), 0.0)
    return whole


def dense_of(outcome, natural):
    """The model at one point, with every replicate as a row of its own."""
    design, priors = outcome.design, {name: resolved.prior for name, resolved in outcome.priors.items()}
    rows = len(outcome.response)
    columns, variances, means, flat = [], [], [], []
    term = partial = 0
    for block in design.blocks:
        k, levels = len(block.terms), len(block.levels)
        sd = natural.sd[0, term : term + k]
        count = k * (k - 1) // 2
        matrix = correlation(natural.partial[0, partial : partial + count], k) * np.outer(sd, sd)
        z = np.zeros((rows, levels, k))
        z[np.arange(rows), block.codes] = block.columns
        columns.append(z.reshape(rows, levels * k))
        variances.append(np.kron(np.eye(levels), matrix))
        means.append(np.zeros(levels * k))
        flat.append(np.zeros(levels * k, dtype=bool))
        term, partial = term + k, partial + count
    kinds = [priors[name] for name in design.coefficients]
    columns.append(design.columns)
    variances.append(np.diag([kind.sd**2 if isinstance(kind, Normal) else 0.0 for kind in kinds]))
    means.append([getattr(kind, "mean", getattr(kind, "value", 0.0)) for kind in kinds])
    flat.append(np.array([isinstance(kind, Flat) for kind in kinds], dtype=bool))
    size = sum(len(part) for part in variances)
    prior, at = np.zeros((size, size)), 0
    for part in variances:
        prior[at : at + len(part), at : at + len(part)] = part
        at += len(part)
    y, which = single_values(outcome)
    residual = residual_covariance(outcome, natural.sigma[0], float(natural.rho[0]))
    residual = residual[np.ix_(which, which)]
    if outcome.residual.count is not None:
        residual = np.diag(np.diag(residual))
    return Dense(
        y, np.hstack(columns)[which], np.concatenate(means), prior, np.concatenate(flat), residual, len(kinds)
    )


def single_values(outcome):
    """Values whose means and scatter are the rows', and each one's row."""
    if outcome.residual.count is None:
        return outcome.response, np.arange(len(outcome.response))
    values, which = [], []
    parts = zip(outcome.response, outcome.residual.count.astype(int), outcome.residual.squares, strict=True)
    for row, (mean, count, squares) in enumerate(parts):
        away = np.zeros(count)
        if count > 1:
            away[0], away[1] = math.sqrt(squares / 2), -math.sqrt(squares / 2)
        values.extend(mean + away)
        which.extend([row] * count)
    return np.array(values), np.array(which)


# Strategies

TERMS = [
    (("1",),), (("v",),), (("1", "v"),), (("1",), ("v",)), (("1", "v", "age"),), (("1", "v"), ("age",)),
    (("age", "1"),), (("1",), ("v",), ("age",)),
]  # fmt: skip


@st.composite
def shapes(draw):
    coefficients = draw(
        st.sampled_from([("Intercept", "v"), ("Intercept",), ("v", "age"), (), ("Intercept", "v", "age"), ("age",)])
    )  # fmt: skip
    count = draw(st.integers(0, 3))
    factors = tuple(
        (draw(st.integers(-1, place - 1)), draw(st.integers(1, 4)), draw(st.sampled_from(TERMS)))
        for place in range(count)
    )
    scatter = draw(st.sampled_from(["", "weights", "ar1", "ar1 weights", "known", "counts"]))
    return Shape(
        seed=draw(st.integers(0, 10**6)), rows=draw(st.integers(8, 45)), coefficients=coefficients,
        priors=tuple(draw(st.sampled_from(["Normal", "Flat", "Fixed"])) for _ in coefficients), factors=factors,
        weights="weights" in scatter, ar1="ar1" in scatter, known="known" in scatter, counts="counts" in scatter,
        strata=draw(st.integers(1, 3)), level=draw(st.sampled_from([0.0, 0.0, 200.0])),
    )  # fmt: skip


def estimable(outcome):
    flat = [isinstance(outcome.priors[name].prior, Flat) for name in outcome.design.coefficients]
    return np.linalg.matrix_rank(outcome.design.columns[:, flat]) == sum(flat)


# Log density


@settings(max_examples=150)
@given(shape=shapes())
def test_log_likelihood_is_that_of_a_dense_normal(shape):
    outcome = make_outcome(shape)
    density = density_of(outcome)
    natural = density.parameters.natural(random_theta(density, np.random.default_rng(shape.seed), 1))
    if not estimable(outcome):
        return
    wanted = dense_of(outcome, natural).log_density()
    assert density.log_likelihood(natural)[0] == pytest.approx(wanted, rel=1e-9, abs=1e-8)


SEVERAL = Shape(
    seed=5, rows=60, factors=((-1, 5, (("1", "v"),)), (-1, 4, (("1",),))), strata=2, ar1=True, weights=True
)
REPLICATED = Shape(seed=6, rows=40, factors=((-1, 5, (("1", "v"),)),), counts=True)


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        (SEVERAL, {"rho": 0.0}),
        (SEVERAL, {"partial": 0.0}),
        (SEVERAL, {"sigma": 1.01}),
        (SEVERAL, {"sd": 1.01}),
        (REPLICATED, {"partial": 0.0}),
    ],
)
def test_the_comparison_notices_what_is_left_out(shape, change):
    outcome = make_outcome(shape)
    density = density_of(outcome)
    natural = density.parameters.natural(random_theta(density, np.random.default_rng(1), 1))
    wrong = natural._replace(**{name: factor * getattr(natural, name) for name, factor in change.items()})
    wanted = dense_of(outcome, natural).log_density()
    assert density.log_likelihood(natural)[0] == pytest.approx(wanted, rel=1e-9)
    assert density.log_likelihood(wrong)[0] != pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("left_out", ["root_precision", "squares", "known_variance"])
def test_the_comparison_notices_columns_that_are_left_out(left_out):
    shape = {
        "root_precision": SEVERAL,
        "squares": REPLICATED,
        "known_variance": Shape(seed=7, known=True, factors=((-1, 4, (("1",),)),)),
    }[left_out]
    outcome = make_outcome(shape)
    if left_out == "root_precision":
        wrong = outcome._replace(root_precision=np.ones(len(outcome.response)))
    else:
        zeros = np.zeros(len(outcome.response))
        wrong = outcome._replace(residual=outcome.residual._replace(**{left_out: zeros}))
    density, other = density_of(outcome), density_of(wrong)
    natural = density.parameters.natural(random_theta(density, np.random.default_rng(1), 1))
    wanted = dense_of(outcome, natural).log_density()
    assert density.log_likelihood(natural)[0] == pytest.approx(wanted, rel=1e-9)
    assert other.log_likelihood(natural)[0] != pytest.approx(wanted, rel=1e-6)


def test_flat_coefficients_give_the_restricted_likelihood():
    """By hand for one mean: n values, variance 1 known: −½[(n − 1) log 2π + log n + Σ(y − ȳ)²]."""
    shape = Shape(rows=12, coefficients=("Intercept",), priors=("Flat",), fixed=("sigma",), level=1e3)
    outcome = make_outcome(shape)
    outcome.priors["sigma"] = ResolvedPrior(Fixed(1.0), "user", "")
    y = outcome.response
    wanted = -0.5 * (11 * math.log(2 * math.pi) + math.log(12) + ((y - y.mean()) ** 2).sum())
    assert density_of(outcome).values(np.zeros((1, 0)))[0] == pytest.approx(wanted, rel=1e-12)


def test_large_means_lose_no_digits():
    """Adding 1e7 to the response and to the intercept's prior mean changes nothing."""
    shape = Shape(seed=3, rows=50, factors=((-1, 5, (("1", "v"),)), (-1, 4, (("1",),))))
    outcome = make_outcome(shape)
    moved = outcome._replace(
        response=outcome.response + 2.0**23,
        priors=outcome.priors | {"Intercept": ResolvedPrior(Normal(2.0**23 + 0.3, 2.0), "user", "")},
    )
    theta = random_theta(density_of(outcome), np.random.default_rng(0))
    one, other = density_of(outcome), density_of(moved)
    natural = one.parameters.natural(theta)
    np.testing.assert_allclose(one.log_likelihood(natural), other.log_likelihood(natural), rtol=1e-8)


def test_an_sd_of_zero_is_a_model_without_the_term():
    with_item = make_outcome(Shape(seed=2, factors=((-1, 4, (("1",),)), (-1, 5, (("1",),)))))
    without = with_item._replace(
        design=with_item.design._replace(blocks=with_item.design.blocks[:1]),
    )
    one, other = density_of(with_item), density_of(without)
    theta = np.array([[0.7, 0.0, -0.2]])
    found = one.log_likelihood(one.parameters.natural(theta))
    wanted = other.log_likelihood(other.parameters.natural(theta[:, [0, 2]]))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


# Draws


class Unit:
    """In the place of a generator: unit vectors, so that the draws are a root of the covariance."""

    def spawn(self, count):
        return [self] * count

    def standard_normal(self, size):
        return np.eye(*size)


def natural_order(density, effects, outcome):
    """Effects of the engine (factor, level, term) in the reference's order (block, level, term)."""
    layout, used, places = density.places.structure.layout, {}, []
    for block in outcome.design.blocks:
        factors = list(dict.fromkeys(each.factor for each in outcome.design.blocks))
        factor = factors.index(block.factor)
        first, k = used.get(block.factor, 0), len(block.terms)
        start, size = layout.start(factor), layout.sizes[factor]
        levels = np.arange(len(block.levels))[:, None]
        places.append((start + size * levels + first + np.arange(k)).ravel())
        used[block.factor] = first + k
    return effects[:, np.concatenate(places)] if places else effects


def exact_conditional(outcome, density, natural):
    """Mean and covariance of the engine's draws at one point, without sampling."""
    variables = density.places.structure.layout.size
    parts = []
    for copies, rng in ((1, None), (variables, Unit())):
        drawn = density.draw(natural, np.array([copies]), rng, dtype=np.float64)
        parts.append(np.hstack([natural_order(density, drawn.effects, outcome), drawn.coefficients]))
    root = parts[1] - parts[0]
    return parts[0][0], root.T @ root


@settings(max_examples=100)
@given(shape=shapes())
def test_draws_have_the_conditional_mean_and_covariance(shape):
    outcome = make_outcome(shape)
    density = density_of(outcome)
    natural = density.parameters.natural(random_theta(density, np.random.default_rng(shape.seed), 1))
    if not estimable(outcome):
        return
    dense = dense_of(outcome, natural)
    mean, covariance = dense.conditional()
    found, its_covariance = exact_conditional(outcome, density, natural)
    limit = 1e-8 * (1.0 + np.abs(dense.prior).max(initial=0.0))  # the reference subtracts from the prior's
    np.testing.assert_allclose(found, mean, rtol=limit, atol=limit)
    np.testing.assert_allclose(its_covariance, covariance, rtol=limit, atol=limit)


def test_closed_form_with_every_variance_fixed():
    """Means and sds to 1e-10; the reference without the correlation is noticed."""
    fixed = ("sd:1|p", "sd:v|p", "sd:1|q", "corr:p", "sigma")
    outcome = make_outcome(
        Shape(seed=8, rows=45, factors=((-1, 6, (("1", "v"),)), (-1, 5, (("1",),))), fixed=fixed)
    )
    density = density_of(outcome)
    assert density.parameters.dim == 0
    natural = density.parameters.natural(np.zeros((1, 0)))
    dense = dense_of(outcome, natural)
    mean, covariance = dense.conditional()
    found, its_covariance = exact_conditional(outcome, density, natural)
    np.testing.assert_allclose(found, mean, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(its_covariance, covariance, rtol=1e-10, atol=1e-10)
    assert density.values(np.zeros((1, 0)))[0] == pytest.approx(dense.log_density(), rel=1e-12)
    wrong = dense_of(outcome, natural._replace(partial=0 * natural.partial)).conditional()
    assert np.abs(found - wrong[0]).max() > 1e-3


def test_many_draws_have_the_covariance_too():
    outcome = make_outcome(Shape(seed=9, factors=((-1, 3, (("1", "v"),)),)))
    density = density_of(outcome)
    natural = density.parameters.natural(random_theta(density, np.random.default_rng(2), 1))
    _, covariance = dense_of(outcome, natural).conditional()
    drawn = density.draw(natural, np.array([40_000]), np.random.default_rng(3))
    values = np.hstack([drawn.effects, drawn.coefficients])
    found = np.cov(values, rowvar=False)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((found - covariance) / np.outer(sd, sd), 0.0, atol=5 * math.sqrt(2 / 40_000))


# Gradients


@settings(max_examples=60)
@given(shape=shapes())
def test_gradients_are_those_of_finite_differences(shape):
    outcome = make_outcome(shape)
    density = density_of(outcome)
    if not estimable(outcome) or density.parameters.dim == 0:
        return
    theta = random_theta(density, np.random.default_rng(shape.seed), 1)[0]
    value, gradient = density.gradient(theta)
    assert value == pytest.approx(density.values(theta[None])[0], rel=1e-12)
    step = 2e-4 * np.eye(len(theta))  # near sd = 0 the density can be sharply curved
    one = (density.values(theta + step) - density.values(theta - step)) / 4e-4
    two = (density.values(theta + 2 * step) - density.values(theta - 2 * step)) / 8e-4
    wanted = (4 * one - two) / 3
    size = max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(gradient / size, wanted / size, rtol=1e-6, atol=1e-6)


# Structures

AWKWARD = {
    "participant/session/trial + stimulus": (
        (-1, 4, (("1", "v"),)), (0, 2, (("1",),)), (1, 2, (("1",),)), (-1, 5, (("1",),)),
    ),
    "shapes within persons and stimuli": (
        (-1, 3, (("1", "v"),)), (-1, 3, (("1",),)), (0, 4, (("1",), ("v",))), (-1, 6, (("1",),)),
    ),
    "two nestings in one": ((-1, 3, (("1",),)), (0, 3, (("1", "v", "age"),)), (0, 2, (("v",),)), (1, 2, (("1",),))),
    "every row its own level": ((-1, 50, (("1",),)), (-1, 3, (("1",),)), (0, 1, (("v",),))),
    "one level": ((-1, 1, (("1", "v"),)), (-1, 1, (("1",),)), (-1, 9, (("1",),))),
}  # fmt: skip


@pytest.mark.parametrize("ar1", [False, True])
@pytest.mark.parametrize("factors", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_nestings(factors, ar1):
    shape = Shape(seed=11, rows=50, factors=factors, ar1=ar1, strata=1 + ar1)
    outcome = make_outcome(shape)
    density = density_of(outcome)
    rng = np.random.default_rng(4)
    for theta in random_theta(density, rng, 3):
        natural = density.parameters.natural(theta[None])
        dense = dense_of(outcome, natural)
        assert density.log_likelihood(natural)[0] == pytest.approx(dense.log_density(), rel=1e-9)
        mean, covariance = dense.conditional()
        found, its_covariance = exact_conditional(outcome, density, natural)
        np.testing.assert_allclose(found, mean, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(its_covariance, covariance, rtol=1e-8, atol=1e-9)


def crossed_outcome(persons, stimuli, sessions=1):
    """Everyone sees everything."""
    rows = persons * sessions * stimuli
    person, session, stimulus = np.unravel_index(np.arange(rows), (persons, sessions, stimuli))
    v = np.where(stimulus % 2 == 0, -0.5, 0.5)
    x = np.column_stack([np.ones(rows), v])
    blocks = [
        Block("p", ("1", "v"), x, person, tuple(f"{n:05d}" for n in range(persons))),
        Block("q", ("1",), x[:, :1], stimulus, tuple(f"{n:05d}" for n in range(stimuli))),
    ]
    if sessions > 1:
        codes = person * sessions + session
        blocks.append(
            Block("s", ("1",), x[:, :1], codes, tuple(f"{n:05d}" for n in range(persons * sessions)))
        )
    shape = Shape()
    return Outcome(
        "y", Design(("Intercept", "v"), x, tuple(blocks), {}), np.random.default_rng(0).normal(size=rows),
        np.ones(rows), priors_of(shape, blocks, Residual()),
    )  # fmt: skip


@pytest.mark.parametrize("sessions", [1, 2])
def test_what_is_stored_grows_with_the_participants_and_no_faster(sessions):
    counts = (40, 80, 120, 160)
    stored = [
        int(density_of(crossed_outcome(n, 12, sessions)).places.structure.plan.panel[-1]) for n in counts
    ]
    assert len(set(np.diff(stored))) == 1
    assert stored[-1] < 160 * (12 + 2 + 2 + 1 + 8) * 5 * sessions + 14**2 * 4


# What must not matter


def test_threads_do_not_matter():
    outcome = crossed_outcome(20, 8)
    one, four = density_of(outcome, threads=1), density_of(outcome, threads=4)
    theta = random_theta(one, np.random.default_rng(0), 400)
    np.testing.assert_array_equal(one.values(theta), four.values(theta))
    natural, copies = one.parameters.natural(theta), np.full(400, 2)
    drawn = [density.draw(natural, copies, np.random.default_rng(1)) for density in (one, four)]
    np.testing.assert_array_equal(drawn[0].effects, drawn[1].effects)
    np.testing.assert_array_equal(drawn[0].coefficients, drawn[1].coefficients)


@pytest.mark.parametrize("shape", [SEVERAL, REPLICATED], ids=["series", "counts"])
def test_the_order_of_rows_does_not_matter(shape):
    outcome = make_outcome(shape)
    order = np.random.default_rng(5).permutation(len(outcome.response))
    mixed = outcome._replace(
        design=outcome.design.rows(order), response=outcome.response[order],
        root_precision=outcome.root_precision[order], residual=outcome.residual.rows(order),
    )  # fmt: skip
    one, other = density_of(outcome), density_of(mixed)
    natural = one.parameters.natural(random_theta(one, np.random.default_rng(0)))
    np.testing.assert_allclose(one.log_likelihood(natural), other.log_likelihood(natural), rtol=1e-12)


def test_other_outcomes_in_the_same_call_do_not_matter():
    outcome = make_outcome(SEVERAL)
    fewer = np.flatnonzero(np.random.default_rng(1).random(len(outcome.response)) < 0.7)
    other = outcome._replace(
        name="z", design=outcome.design.rows(fewer), response=np.exp(outcome.response[fewer]),
        root_precision=outcome.root_precision[fewer], residual=outcome.residual.rows(fewer),
    )  # fmt: skip
    together = prepare(Problem("gaussian", (other, outcome)), threads=1)
    for alone, found in ((other, together[0].density), (outcome, together[1].density)):
        density = density_of(alone)
        natural = density.parameters.natural(random_theta(density, np.random.default_rng(0)))
        np.testing.assert_allclose(found.log_likelihood(natural), density.log_likelihood(natural), rtol=1e-11)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_scale_of_the_outcome_does_not_matter(factor):
    """p(a·y | a·theta) = p(y | theta) / a^n."""
    shape = Shape(seed=12, factors=((-1, 5, (("1", "v"),)), (-1, 4, (("1",),))), priors=("Flat", "Flat"))
    outcome = make_outcome(shape)
    one, other = density_of(outcome), density_of(outcome._replace(response=factor * outcome.response))
    natural = one.parameters.natural(random_theta(one, np.random.default_rng(0)))
    scaled = natural._replace(sd=factor * natural.sd, sigma=factor * natural.sigma)
    left = len(outcome.response) - 2
    np.testing.assert_allclose(
        other.log_likelihood(scaled) + left * math.log(factor), one.log_likelihood(natural), rtol=1e-9
    )
