"""Model families: each a small module with one function that returns a ModelSpec."""

from mien.models.families.valence import valence

__all__ = ["valence"]
