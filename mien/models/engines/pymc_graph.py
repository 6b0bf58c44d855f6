"""The PyMC model of engine "nuts": priors of the hyperparameters, and one operation for the rest.

    sd, sigma   half-normal | half-t | exponential | fixed
    partial     canonical partial correlations, tanh of a free number: LKJ(eta) is ∏ (1 − p²)^(alpha − 1)
    xi          flat, since the kernel's density holds the prior of the effects
    log p(y, w | sd, corr, sigma) + log |dw/dxi|      `gaussian_kernel` as a PyTensor Op

The structure (how many effects, the families of priors) is compiled once; every number, the data's statistics and the
priors' included, is `pm.Data`, so that nutpie swaps them for each outcome, whatever rows it has. A hand-written Op
instead of PyTensor's linear algebra because that took 94 s to compile cold (measured), and this takes a tenth.
"""

# PyTensor's annotations know no arithmetic on variables.
# pyright: reportOperatorIssue=false, reportIndexIssue=false, reportArgumentType=false
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
from collections.abc import Mapping, Sequence
from hashlib import sha256
from inspect import getsource
from typing import NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from mien.models.engines import gaussian_kernel as kernel
from mien.models.engines import group_coordinates
from mien.models.engines.pilot import partial_numbers
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT, Prior

__all__ = [
    "Hyperparameters", "Structure", "build_model", "hyperparameters", "prior_data", "prior_kind", "unconstrained_start",
]  # fmt: skip

# PyTensor keeps compiled operations on disk and does not look into what they call: the kernel's text is the key.
KERNEL_TEXT = getsource(kernel) + getsource(group_coordinates)
KERNEL_VERSION = int.from_bytes(sha256(KERNEL_TEXT.encode()).digest()[:6], "big")
PARAMETERS = 4  # xi, log sd, partial, log sigma come first among the Op's inputs


class Structure(NamedTuple):
    """What a compiled model is specific to.

    effects : number of group effects and coefficients together.
    sd_kinds : `prior_kind` of every sd; sigma_kind : of sigma; corr_kinds : of every partial correlation.
    """

    effects: int
    sd_kinds: tuple[str, ...]
    sigma_kind: str
    corr_kinds: tuple[str, ...]


class GaussianMixedDensity(Op):
    """`packed_log_density` for PyTensor: the value, then its four gradients."""

    __props__ = ()

    def make_node(self, *inputs):
        """One scalar and four vectors come out."""
        return Apply(
            self, [pt.as_tensor_variable(value) for value in inputs], [pt.dscalar(), *pt.dvectors(4)]
        )

    def perform(self, node, inputs, output_storage):
        """Outside of numba's linker."""
        arguments = [np.ascontiguousarray(value) for value in inputs]
        for storage, value in zip(output_storage, kernel.packed_log_density(*arguments), strict=True):
            storage[0] = np.asarray(value)

    def pullback(self, inputs, outputs, cotangents):
        """The gradients are outputs already."""
        gradients = [cotangents[0] * gradient for gradient in outputs[1:]]
        return [*gradients, *(DisconnectedType()() for _ in inputs[PARAMETERS:])]

    def connection_pattern(self, node):
        """Only the parameters are differentiated, and only the value's gradient is wanted."""
        return [[place < PARAMETERS, False, False, False, False] for place in range(len(node.inputs))]


_density = GaussianMixedDensity()


@register_funcify_default_op_cache_key(GaussianMixedDensity)
def _numba_density(op, node, **kwargs):
    log_density = kernel.packed_log_density

    @numba_njit
    def density(xi, log_sd, partial, log_sigma, numbers, places):
        value, xi_bar, log_sd_bar, partial_bar, log_sigma_bar = log_density(
            xi, log_sd, partial, log_sigma, numbers, places
        )
        return np.asarray(value), xi_bar, log_sd_bar, partial_bar, log_sigma_bar

    return density, KERNEL_VERSION


def prior_kind(prior: Prior) -> str:
    """What of a prior is compiled in: the family and, for the half-t, its degrees of freedom."""
    match prior:
        case HalfStudentT(df, _):
            return f"HalfStudentT {df!r}"
        case _:
            return type(prior).__name__


def _number(prior: Prior) -> float:
    match prior:
        case HalfNormal(number) | HalfStudentT(_, number) | Exponential(number) | Fixed(number) | LKJ(number):
            return float(number)
        case _:
            raise AssertionError(f"{prior} is no prior of a hyperparameter")


def prior_data(sds: Sequence[Prior], sigma: Prior, corrs: Sequence[Prior], terms: Sequence[int]) -> dict:
    """The priors' numbers, as the model's data."""
    return {
        "sd_prior": np.array([_number(prior) for prior in sds]),
        "sigma_prior": np.array([_number(sigma)]),
        "partial_prior": np.array(
            [number for prior, k in zip(corrs, terms, strict=True) for number in partial_numbers(prior, k)]
        ),
    }


def _random_positive(name: str, kind: str, numbers, count: int):
    family, _, df = kind.partition(" ")
    match family:
        case "HalfNormal":
            return pm.HalfNormal(name, sigma=numbers, shape=count)
        case "HalfStudentT":
            return pm.HalfStudentT(name, nu=float(df), sigma=numbers, shape=count)
        case "Exponential":
            return pm.Exponential(name, lam=numbers, shape=count)
        case _:
            return numbers


def _by_kind(kinds: Sequence[str]) -> dict[str, list[int]]:
    return {
        kind: [place for place, other in enumerate(kinds) if other == kind] for kind in dict.fromkeys(kinds)
    }


def _positives(role: str, kinds: Sequence[str], numbers):
    """A vector of positive parameters from one random variable a kind, named "role kind"."""
    places = _by_kind(kinds)
    if len(places) == 1:
        return _random_positive(f"{role} {kinds[0]}", kinds[0], numbers, len(kinds))
    parts = [
        _random_positive(f"{role} {kind}", kind, numbers[np.array(where)], len(where))
        for kind, where in places.items()
    ]
    return pt.concatenate(parts)[np.argsort(np.concatenate(list(places.values())))]


def _partials(structure: Structure, numbers):
    """All partial correlations; those of blocks with a Fixed prior are data."""
    fixed = np.array([kind == "Fixed" for kind in structure.corr_kinds], dtype=bool)
    if fixed.all():
        return numbers
    free = pm.Flat("partial", shape=len(fixed))  # the hyperbolic angle; a Fixed one is idle
    partial = pt.tanh(free)
    density = numbers * pt.log1p(-(partial**2))
    if not fixed.any():
        pm.Potential("partial prior", density.sum())
        return partial
    pm.Potential("partial prior", pt.where(fixed, -0.5 * free**2, density).sum())
    return pt.where(fixed, numbers, partial)


def _placeholders(structure: Structure) -> dict[str, np.ndarray]:
    """Data of the right types and ranks, to be swapped before anything is evaluated."""
    return {
        "sd_prior": np.ones(len(structure.sd_kinds)), "sigma_prior": np.ones(1),
        "partial_prior": np.ones(len(structure.corr_kinds)), "numbers": np.ones(1),
        "places": np.ones(1, dtype=np.int64),
    }  # fmt: skip


def build_model(structure: Structure, data: Mapping[str, np.ndarray] | None = None) -> pm.Model:
    """The model of one structure, with one outcome's numbers as data or with placeholders."""
    data = data or _placeholders(structure)
    with pm.Model(check_bounds=False) as model:
        shared = {name: pm.Data(name, value) for name, value in data.items()}
        xi = pm.Flat("xi", shape=structure.effects)
        numbers = shared["sd_prior"]
        sd = _positives("sd", structure.sd_kinds, numbers) if structure.sd_kinds else numbers
        partial = _partials(structure, shared["partial_prior"])
        sigma = _positives("sigma", (structure.sigma_kind,), shared["sigma_prior"])
        outputs = _density(xi, pt.log(sd), partial, pt.log(sigma), shared["numbers"], shared["places"])
        pm.Potential("joint", outputs[0])
    return model


class Hyperparameters(NamedTuple):
    """Draws: sd (draw, sd), partial (draw, partial), sigma (draw,)."""

    sd: np.ndarray
    partial: np.ndarray
    sigma: np.ndarray


def hyperparameters(
    structure: Structure, traced: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]
) -> Hyperparameters:
    """Put the model's own variables (draw, …) back in order; Fixed ones are repeated."""
    draws = len(traced["xi"])

    def positives(role: str, kinds: Sequence[str]) -> np.ndarray:
        values = np.repeat(data[f"{role}_prior"][None], draws, axis=0)
        for kind, where in _by_kind(kinds).items():
            if kind != "Fixed":
                values[:, where] = traced[f"{role} {kind}"]
        return values

    partial = np.repeat(data["partial_prior"][None], draws, axis=0)
    free = np.array([kind != "Fixed" for kind in structure.corr_kinds], dtype=bool)
    if free.any():
        partial[:, free] = np.tanh(traced["partial"][:, free])
    return Hyperparameters(
        positives("sd", structure.sd_kinds), partial, positives("sigma", (structure.sigma_kind,))[:, 0]
    )


def unconstrained_start(
    structure: Structure, sd: np.ndarray, partial: np.ndarray, sigma: float
) -> np.ndarray:
    """The sampler's vector (free variables in the model's order) at given hyperparameters, with xi = 0."""
    parts = [np.zeros(structure.effects)]
    for kind, where in _by_kind(structure.sd_kinds).items():
        if kind != "Fixed":
            parts.append(np.log(sd[where]))
    if any(kind != "Fixed" for kind in structure.corr_kinds):
        parts.append(np.arctanh(partial))
    if structure.sigma_kind != "Fixed":
        parts.append(np.log([sigma]))
    return np.concatenate(parts)
