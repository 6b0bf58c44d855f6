"""An effects table as plain rows, and the order in which readers see them."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from mien.study.blend_shapes import REGIONS

__all__ = ["Row", "by_region", "by_size", "rows_of"]

type Row = dict[str, Any]

PLACES = {name: i for i, name in enumerate((*REGIONS, "contrast"))}


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of a table, column → value."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def by_size(rows: Iterable[Row]) -> list[Row]:
    """Largest posterior mean first, whatever its sign."""
    return sorted(rows, key=lambda row: -abs(float(row["mean"])))


def by_region(rows: Iterable[Row]) -> list[Row]:
    """Region by region from the brow down, largest first; contrasts of shapes last."""
    return sorted(by_size(rows), key=lambda row: PLACES.get(str(row["region"]), len(PLACES)))
