"""Every parameter of one outcome from its frozen prior, all draws at once.

    θ ~ priors,  β ~ priors,  u ~ N(0, D R D) a level,  further parameters of a family on their links

`model_draws` has the same one world at a time, for calibration; here 34 shapes take a few hundred worlds each.

References
----------
Lewandowski, Kurowicka & Joe (2009), https://doi.org/10.1016/j.jmva.2009.04.008 (the onion, section 3.2)
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from mien.models.design import Block
from mien.models.engines.problem import Draws, Outcome
from mien.models.likelihoods import LIKELIHOODS
from mien.models.smooths import is_smooth_term, sd_name
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Normal, Prior, ResolvedPrior
from mien.study.errors import FitError

__all__ = ["draw_parameters"]

FARTHEST = 60.0  # on a log or logit: e⁶⁰ is as good as without end, and still a number


def draw_parameters(family: str, outcome: Outcome, shape: tuple[int, int], rng: np.random.Generator) -> Draws:
    """Draws (chain, draw, …) as an engine gives them, from the priors alone.

    Raises
    ------
    FitError
        When a prior is flat.
    """
    priors, blocks = outcome.priors, outcome.design.blocks
    size = shape[0] * shape[1]
    coefficients = {name: _real(name, priors, size, rng) for name in outcome.design.coefficients}
    names = dict.fromkeys(sd_name(term, block.factor) for block in blocks for term in block.terms)
    sds = {name: _positive(priors[f"sd:{name}"].prior, size, rng) for name in names}
    matrices = [_correlations(block, priors, size, rng) for block in blocks]
    effects: dict[str, np.ndarray] = {}
    for block, matrix in zip(blocks, matrices, strict=True):
        effects |= _effects(block, sds, matrix, rng)
    parameters = _parameters(family, outcome, size, rng)
    sigma = _sigma(outcome, size, rng)
    rho = None if outcome.residual.series is None else _rho(priors["rho"].prior, size, rng)

    def by_chain(values: np.ndarray) -> np.ndarray:
        return values.reshape(*shape, *values.shape[1:])

    return Draws(
        {name: by_chain(values) for name, values in coefficients.items()},
        {name: by_chain(values) for name, values in sds.items()},
        {name: by_chain(values) for name, values in _by_factor(blocks, matrices, size).items()},
        None if sigma is None else by_chain(sigma),
        {name: by_chain(values) for name, values in effects.items()},
        {"diverging": np.zeros(shape, dtype=bool)}, "",
        None if rho is None else by_chain(rho),
        parameters={name: by_chain(values) for name, values in parameters.items()},
    )  # fmt: skip


def _real(name: str, priors: Mapping[str, ResolvedPrior], size: int, rng: np.random.Generator) -> np.ndarray:
    match priors[name].prior:
        case Normal(mean, sd):
            return rng.normal(mean, sd, size)
        case Fixed(value):
            return np.full(size, float(value))
        case other:
            raise FitError(
                f"priors[{name!r}]: expected a proper prior to draw from, found {other}: give it a Normal one."
            )


def _positive(prior: Prior, size: int, rng: np.random.Generator) -> np.ndarray:
    match prior:
        case HalfNormal(sd):
            return np.abs(rng.normal(0.0, sd, size))
        case HalfStudentT(df, scale):
            return np.abs(scale * rng.standard_t(df, size))
        case Exponential(rate):
            return rng.exponential(1.0 / rate, size)
        case Fixed(value):
            return np.full(size, float(value))
        case _:
            raise AssertionError(f"{prior} is no prior of a standard deviation")


def _rho(prior: Prior, size: int, rng: np.random.Generator) -> np.ndarray:
    if isinstance(prior, Fixed):
        return np.full(size, float(prior.value))
    assert isinstance(prior, Normal)
    return np.tanh(rng.normal(prior.mean, prior.sd, size))


def _sigma(outcome: Outcome, size: int, rng: np.random.Generator) -> np.ndarray | None:
    """(draw,), with strata (draw, stratum); None where a family has none, or a regression of it."""
    if outcome.parameters:
        own = "sigma" in outcome.parameters and not outcome.parameters["sigma"].coefficients
        return _positive(outcome.priors["sigma"].prior, size, rng) if own else None
    names = [f"sigma:{label}" if label else "sigma" for label in outcome.residual.strata]
    drawn = np.column_stack([_positive(outcome.priors[name].prior, size, rng) for name in names])
    return drawn if outcome.residual.dim else drawn[:, 0]


def _parameters(family: str, outcome: Outcome, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Further parameters as themselves, coefficients of their regressions on the link."""
    found: dict[str, np.ndarray] = {}
    for parameter, regression in outcome.parameters.items():
        for name in regression.coefficients:
            key = f"{parameter}_{name}"
            found[key] = _real(key, outcome.priors, size, rng)
        if regression.coefficients or parameter == "sigma":
            continue
        drawn = _real(parameter, outcome.priors, size, rng)
        link = (
            ""
            if isinstance(outcome.priors[parameter].prior, Fixed)
            else LIKELIHOODS[family].parameters[parameter]
        )
        found[parameter] = _unlinked(drawn, link)
    if "cutpoint_one" in found:
        _put_in_order(found, outcome.priors, rng)
    return found


def _unlinked(drawn: np.ndarray, link: str) -> np.ndarray:
    held = np.clip(drawn, -FARTHEST, FARTHEST)
    return {"log": np.exp, "logit": expit}[link](held) if link in ("log", "logit") else drawn


def _put_in_order(
    found: dict[str, np.ndarray], priors: Mapping[str, ResolvedPrior], rng: np.random.Generator
) -> None:
    """The cutpoints' prior is given that the second is above the first: draws that are not are drawn again."""
    names = ("cutpoint_zero", "cutpoint_one")
    while (wrong := np.flatnonzero(found[names[0]] >= found[names[1]])).size:
        if all(isinstance(priors[name].prior, Fixed) for name in names):
            raise FitError(
                "priors: expected cutpoint_zero below cutpoint_one, found both Fixed the other way round."
            )
        for name in names:
            found[name][wrong] = _real(name, priors, len(wrong), rng)


def _effects(
    block: Block, sds: Mapping[str, np.ndarray], matrix: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Term by term, "term|factor" → (draw, level) float32."""
    size, k = matrix.shape[:2]
    root = np.linalg.cholesky(matrix)
    normals = rng.standard_normal((size, k, len(block.levels)), dtype=np.float32)
    drawn = normals if k == 1 else np.matmul(root.astype(np.float32), normals)
    return {
        f"{term}|{block.factor}": (drawn[:, place] * sds[sd_name(term, block.factor)][:, None]).astype(
            np.float32
        )
        for place, term in enumerate(block.terms)
    }


def _correlations(
    block: Block, priors: Mapping[str, ResolvedPrior], size: int, rng: np.random.Generator
) -> np.ndarray:
    """(draw, term, term) of the LKJ prior, grown row by row."""
    k = len(block.terms)
    if k == 1:
        return np.ones((size, 1, 1))
    prior = priors[f"corr:{block.factor}"].prior
    if isinstance(prior, Fixed):
        one = np.full((k, k), float(prior.value)) + (1.0 - prior.value) * np.eye(k)
        return np.broadcast_to(one, (size, k, k))
    assert isinstance(prior, LKJ)
    shape = prior.eta + (k - 2) / 2.0
    matrix = np.broadcast_to(np.eye(k), (size, k, k)).copy()
    matrix[:, 0, 1] = matrix[:, 1, 0] = 2.0 * rng.beta(shape, shape, size) - 1.0
    for row in range(2, k):
        shape -= 0.5
        direction = rng.standard_normal((size, row))
        length = np.sqrt(rng.beta(row / 2.0, shape, size)) / np.linalg.norm(direction, axis=1)
        root = np.linalg.cholesky(matrix[:, :row, :row])
        grown = np.einsum("dij,dj->di", root, direction * length[:, None])
        matrix[:, row, :row] = matrix[:, :row, row] = grown
    return matrix


def _by_factor(blocks: tuple[Block, ...], matrices: list[np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Factor → (draw, term, term) over all of its terms that are no functions of a smooth, where any correlate."""
    found = {}
    for factor in dict.fromkeys(block.factor for block in blocks if len(block.terms) > 1):
        mine = [
            (block, matrix) for block, matrix in zip(blocks, matrices, strict=True)
            if block.factor == factor and not is_smooth_term(block.terms[0])
        ]  # fmt: skip
        terms = sum(len(block.terms) for block, _ in mine)
        whole = np.broadcast_to(np.eye(terms), (size, terms, terms)).copy()
        first = 0
        for block, matrix in mine:
            last = first + len(block.terms)
            whole[:, first:last, first:last] = matrix
            first = last
        found[factor] = whole
    return found
