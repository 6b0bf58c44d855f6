"""What passes between a fit and an engine: the problem, the settings, the draws, and the engine's contract."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from mien.models.design import Design
from mien.priors import ResolvedPrior

__all__ = ["Draws", "Engine", "Outcome", "Problem", "Progress", "Regression", "Residual", "Settings"]

type Progress = Callable[[int, int, str], None]


class Residual(NamedTuple):
    """What is particular about the residuals of one outcome; by default they are independent with one sigma.

    A row's residual variance is (sigma of its stratum)² / root_precision² + known_variance.

    strata : labels of the sigma parameters, ("",) for one; dim : the name of their dimension, "" for one.
    stratum : (row,) int64, place in `strata`; None for one stratum.
    series, position : (row,) int64, AR(1) within a series over whole steps; None for independent rows.
    known_variance : (row,) squared standard error, added to sigma²; None where there is none.
    count, squares : (row,) the response is the mean of so many values, which scatter about it with this sum of
        squared deviations; None where a row is one value.
    """

    strata: tuple[str, ...] = ("",)
    dim: str = ""
    stratum: np.ndarray | None = None
    series: np.ndarray | None = None
    position: np.ndarray | None = None
    known_variance: np.ndarray | None = None
    count: np.ndarray | None = None  # pyright: ignore[reportIncompatibleMethodOverride]
    squares: np.ndarray | None = None

    def rows(self, at: np.ndarray) -> "Residual":
        """The same for some of the rows; strata stay."""
        mine = {name: values[at] for name, values in self._asdict().items() if isinstance(values, np.ndarray)}
        return self._replace(**mine) if mine else self


class Regression(NamedTuple):
    """A further parameter's linear predictor: coefficients and columns (row, coefficient), none for a single number.

    coding : category → its levels, as in `Design`.
    """

    coefficients: tuple[str, ...]
    columns: np.ndarray
    coding: Mapping[str, tuple[str, ...]]

    def rows(self, keep: np.ndarray) -> "Regression":
        """The same on some of its rows."""
        return self._replace(columns=self.columns[keep])


class Outcome(NamedTuple):
    """One outcome's rows.

    design : its X, Z and codes, levels shared with the other outcomes.
    response : (row,) its values; root_precision : (row,) 1, √weight, √count or 1 / standard error.
    priors : frozen, on the scale of `response`.
    residual : strata, series, known variances and counts of the rows.
    moments : sufficient statistics in place of rows; design and response then have none.
    parameters : further parameters of the family, in its order; empty for the Gaussian.
    """

    name: str
    design: Design
    response: np.ndarray
    root_precision: np.ndarray
    priors: Mapping[str, ResolvedPrior]
    residual: Residual = Residual()
    moments: object | None = None
    parameters: Mapping[str, Regression] = MappingProxyType({})


class Problem(NamedTuple):
    """A model's outcomes; all have the same coefficients, blocks and levels."""

    family: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Settings:
    """How to sample: draws a chain that are kept, chains, seed; whether group effects are wanted."""

    draws: int = 1000
    chains: int = 4
    seed: int = 0
    group_effects: bool = True


class Draws(NamedTuple):
    """One outcome's draws, all (chain, draw, …), and what the sampler says about them.

    coefficients : name → (chain, draw).
    sds : "term|factor" → (chain, draw).
    correlations : factor → (chain, draw, term, term) where its effects are correlated.
    sigma : (chain, draw), with strata (chain, draw, stratum); None where the family has none, or a regression of it.
    effects : "term|factor" → (chain, draw, level) float32.
    stats : sample statistics → (chain, draw).
    note : what the engine had to do beyond the ordinary, "" for nothing.
    rho : (chain, draw), the correlation of neighbouring residuals; None where rows are independent.
    verdict : the engine's own verdict as plain data ("kind", "passed", "reason", …); None leaves it to R-hat and
        effective sizes (`diagnostics.gate`).
    parameters : further parameters of the family, or the coefficients of their regressions, name → (chain, draw).
    """

    coefficients: Mapping[str, np.ndarray]
    sds: Mapping[str, np.ndarray]
    correlations: Mapping[str, np.ndarray]
    sigma: np.ndarray | None
    effects: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    note: str
    rho: np.ndarray | None = None
    verdict: Mapping[str, object] | None = None
    parameters: Mapping[str, np.ndarray] = MappingProxyType({})


class Engine(Protocol):
    """One way to a posterior; engines register in `mien.models.engines.ENGINES`."""

    name: str

    def can_fit(self, problem: Problem) -> str:
        """Give the reason why not, or nothing."""
        ...

    def sample(self, problem: Problem, settings: Settings, progress: Progress | None = None) -> list[Draws]:
        """Draws of every outcome, in order."""
        ...
