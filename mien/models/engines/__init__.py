"""Engines: from a problem (design, outcomes, frozen priors) to draws. PyMC, nutpie and Bambi are imported only here.

problem           the contract: Problem → Draws
collapsed/        coefficients and effects integrated out, importance sampling over the variance parameters
nuts              PyMC model, compiled once, sampled by nutpie
pymc_graph, gaussian_kernel, pilot      its parts
bambi_model       the statistician's door and an independent check
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.models.engines.problem import Engine

__all__ = ["ENGINES", "load_engine"]

ENGINES = {  # in the order that engine="auto" tries them
    "collapsed": ("mien.models.engines.collapsed.engine", "CollapsedEngine"),
    "nuts": ("mien.models.engines.nuts", "NutsEngine"),
}


def load_engine(name: str) -> "Engine":
    """The engine of this name; its libraries are imported now."""
    module, attribute = ENGINES[name]
    return getattr(import_module(module), attribute)()
