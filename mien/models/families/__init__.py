"""Model families: each a small module with one function that returns a ModelSpec; `options` has what all share."""

from mien.models.families.task import task
from mien.models.families.time import time
from mien.models.families.traits import traits
from mien.models.families.valence import valence

__all__ = ["task", "time", "traits", "valence"]
