"""Compile all kernels once: `python -m mien.models.warm`.

numba keeps what it compiled beside the sources (or in the user's cache, where that is not writable); `make setup` runs
this, so that the first fit and the first checks of a process take as long as any other.
"""

import numpy as np
import pandas as pd

from mien.models.criticism import checks
from mien.models.engines.collapsed.warm import warm as warm_engine
from mien.models.families.co_activation import co_activation
from mien.models.fitting import fit

__all__ = ["warm"]


def warm() -> None:
    """What the collapsed engine has, the checks of a fit, and co-activation."""
    warm_engine()
    rng, person = np.random.default_rng(0), np.repeat(np.arange(6), 8)
    data = pd.DataFrame({"y": rng.normal(size=48), "participant": [f"{number}" for number in person]})
    checks(fit("y ~ 1 + (1 | participant)", data, engine="collapsed", draws=10), draws=25)
    _of_factors(rng)


def _of_factors(rng: np.random.Generator) -> None:
    """Co-activation of a table of three shapes."""
    people, trials = np.repeat(np.arange(6), 8), np.tile(np.arange(8), 6)
    table = pd.DataFrame(
        {
            "participant": [f"{person}" for person in np.repeat(people, 3)],
            "stimulus": [f"s{trial}" for trial in np.repeat(trials, 3)],
            "trial": np.repeat(trials, 3),
            "blend_shape": np.tile(["jawOpen", "mouthSmile", "browDown"], 48),
            "activation": rng.normal(size=144),
        }
    )
    fit(co_activation(2, between=1), table, draws=10)


if __name__ == "__main__":
    warm()
