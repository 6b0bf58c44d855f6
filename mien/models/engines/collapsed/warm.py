"""Compile the engine's kernels once: `python -m mien.models.engines.collapsed.warm`.

numba keeps what it compiled beside the sources (or in the user's cache, where that is not writable); `make setup` runs
this, so that the first fit of a process takes as long as any other.
"""

import numpy as np
import pandas as pd

from mien.models.engines.collapsed.engine import prepare
from mien.models.fitting import fit, make_problem
from mien.models.shape_population import PopulationPrior, Sampling, sample_population
from mien.models.spec import ModelSpec

__all__ = ["warm"]


def warm() -> None:
    """Fit a few rows with all that has a kernel of its own: one component, several, AR(1), series' effects; pooling.

    Of gradients, which searches in many dimensions and NUTS ask for, there is one.
    """
    rng = np.random.default_rng(0)
    person, trial = np.repeat(np.arange(6), 8), np.tile(np.arange(8), 6)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=48) + 0.5 * rng.normal(size=6)[person],
            "x": np.where(trial % 2 == 0, -0.5, 0.5),
            "participant": [f"{number}" for number in person],
            "stimulus": [f"{number}" for number in trial],
            "trial": trial // 4,
            "bin": trial % 4,
        }
    )
    few = {"engine": "collapsed", "draws": 10, "chains": 2}
    fit("y ~ x + (x | participant) + (1 | stimulus)", data, **few)  # type: ignore[arg-type]
    fit("y ~ x + (1 | participant)", data, sigma_by=("stimulus",), **few)  # type: ignore[arg-type]
    fit("y ~ x + (1 | participant) + (1 | participant:trial)", data, residual="ar1", **few)  # type: ignore[arg-type]
    problem, _, _ = make_problem(ModelSpec("y ~ x + (1 | participant)"), data)
    ready = prepare(problem, threads=1)[0]
    ready.density.gradient(ready.start)
    prior, once = PopulationPrior(0.0, 1.0, 1.0, 1.0), Sampling(1, 1, 1, np.random.SeedSequence(0))
    sample_population(np.zeros(2), np.eye(2), np.zeros(2, dtype=np.int64), df=4.0, prior=prior, sampling=once)


if __name__ == "__main__":
    warm()
