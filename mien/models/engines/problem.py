"""What passes between a fit and an engine: the problem, the settings, the draws, and the engine's contract."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from mien.models.design import Design
from mien.priors import ResolvedPrior

__all__ = ["Draws", "Engine", "Outcome", "Problem", "Progress", "Settings"]

type Progress = Callable[[int, int, str], None]


class Outcome(NamedTuple):
    """One outcome's rows.

    design : its X, Z and codes, levels shared with the other outcomes.
    response : (row,) its values; root_precision : (row,) 1, √weight or 1 / standard error.
    priors : frozen, on the scale of `response`.
    """

    name: str
    design: Design
    response: np.ndarray
    root_precision: np.ndarray
    priors: Mapping[str, ResolvedPrior]


class Problem(NamedTuple):
    """A model's outcomes; all have the same coefficients, blocks and levels."""

    family: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Settings:
    """How to sample: draws a chain that are kept, chains, seed."""

    draws: int = 1000
    chains: int = 4
    seed: int = 0


class Draws(NamedTuple):
    """One outcome's draws, all (chain, draw, …), and what the sampler says about them.

    coefficients : name → (chain, draw).
    sds : "term|factor" → (chain, draw).
    correlations : factor → (chain, draw, term, term) where its effects are correlated.
    sigma : (chain, draw).
    effects : "term|factor" → (chain, draw, level) float32.
    stats : sample statistics → (chain, draw).
    note : what the engine had to do beyond the ordinary, "" for nothing.
    """

    coefficients: Mapping[str, np.ndarray]
    sds: Mapping[str, np.ndarray]
    correlations: Mapping[str, np.ndarray]
    sigma: np.ndarray
    effects: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    note: str


class Engine(Protocol):
    """One way to a posterior; engines register in `mien.models.engines.ENGINES`."""

    name: str

    def can_fit(self, problem: Problem) -> str:
        """Give the reason why not, or nothing."""
        ...

    def sample(self, problem: Problem, settings: Settings, progress: Progress | None = None) -> list[Draws]:
        """Draws of every outcome, in order."""
        ...
