"""PriorPredictive: the table, the verdict, the sentences, and thinned draws for pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.simulation.prior_predictive.limits import Limits

__all__ = ["COLUMNS", "EXPECTED", "PriorPredictive", "Row", "table_of"]

EXPECTED = "as expected"
CI_PROB = 0.95
DIGITS = 5  # of numbers in `to_dict`


class Row(NamedTuple):
    """One check of one shape, as a row of the table.

    check : its kind; quantity : what is measured, in words; median, lower, upper : over prior draws, 95 %.
    observed : the same of the data, where the data have it. limit : in words; verdict : "as expected", "wide", "narrow"
    or "impossible".
    """

    check: str
    blend_shape: str
    quantity: str
    median: float
    lower: float
    upper: float
    observed: float
    limit: str
    verdict: str
    units: str


COLUMNS = Row._fields


@dataclass(frozen=True)
class PriorPredictive:
    """What a model expects before it sees the data.

    name, family : of the model. table : `COLUMNS`, a row a shape and check. verdict : "passed", or "look" where a row
    is not as expected. sentences : the same for people. arrays : thinned draws for pictures, "simulated|mouthSmile" …
    told : outcomes, shown (the shapes in `arrays`), possible (range and why), draws, seed. limits : that were used.
    """

    name: str
    family: str
    table: pd.DataFrame
    verdict: str
    sentences: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    told: Mapping[str, Any]
    limits: Limits

    def rows(self, check: str, shape: str | None = None) -> list[Row]:
        """Rows of one kind of check, of one shape or of all."""
        found = [Row(*values) for values in self.table.itertuples(index=False, name=None)]
        return [row for row in found if row.check == check and shape in (None, row.blend_shape)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; numbers that are missing or not finite are None."""
        return {
            "name": self.name, "family": self.family, "verdict": self.verdict, "sentences": list(self.sentences),
            "table": [
                {key: _plain(value) for key, value in row.items()} for row in self.table.to_dict("records")
            ],
            "arrays": {name: _nested(values) for name, values in self.arrays.items()},
            "told": _nested(dict(self.told)), "limits": asdict(self.limits),
        }  # fmt: skip

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "PriorPredictive":
        """Read what `to_dict` wrote: numbers with `DIGITS` digits, what was not finite as NaN."""
        table = pd.DataFrame(data["table"], columns=list(COLUMNS))
        numbers = {name: table[name].astype("float64") for name in ("median", "lower", "upper", "observed")}
        arrays = {str(name): np.array(values, dtype=np.float64) for name, values in data["arrays"].items()}
        return PriorPredictive(
            str(data["name"]), str(data["family"]), table.assign(**numbers), str(data["verdict"]),
            tuple(map(str, data["sentences"])), arrays, data["told"], Limits(**data["limits"]),
        )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _nested(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _nested(value.tolist())
    return [_nested(one) for one in value] if isinstance(value, (list, tuple)) else _plain(value)


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """The table; quantities of one check stay together."""
    return pd.DataFrame(rows, columns=list(COLUMNS))
