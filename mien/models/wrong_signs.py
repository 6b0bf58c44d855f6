"""How many of the directions that a table tells are expected to be wrong: Σ (1 − P(direction)) over flagged shapes."""

import numpy as np
import pandas as pd

from mien.study.errors import FitError

__all__ = ["expected_wrong_signs"]


def expected_wrong_signs(table: pd.DataFrame, flag: float = 0.95, *, pooled: bool = False) -> pd.DataFrame:
    """Expected number of wrong signs among the shapes that are flagged, an effect a row.

    Parameters
    ----------
    table : from `mien.effects`; rows whose computation failed are not counted.
    flag : least P(direction) of a flagged shape. pooled : by `pooled_p_direction`, of the shapes that were pooled.

    Returns
    -------
    effect, shapes, flagged, expected_wrong and its share of those flagged (NaN where none is).

    Raises
    ------
    FitError
        For a flag that is no probability of direction.
    """
    if not 0.5 <= flag <= 1:
        raise FitError(f"flag: expected a probability of direction from 0.5 to 1, found {flag!r}.")
    name = "pooled_p_direction" if pooled else "p_direction"
    passed = table[(table["verdict"] == "passed") & table[name].notna()]
    rows = []
    for effect, some in passed.groupby("effect", sort=False):
        probability = np.asarray(some[name], dtype=np.float64)
        wrong = 1.0 - probability[probability >= flag]
        share = float(wrong.mean()) if len(wrong) else np.nan
        rows.append((effect, len(some), len(wrong), float(wrong.sum()), share))
    return pd.DataFrame(rows, columns=["effect", "shapes", "flagged", "expected_wrong", "share"])
