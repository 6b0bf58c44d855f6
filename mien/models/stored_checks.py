"""Checks that stay with a fit: the table as the group `checks` of its tree, what it comes to in `attrs["checks"]`.

    fit["checks"]           `CHECK_COLUMNS` by row, as `checks` gave them
    attrs["checks"]         JSON: notes (sentences), rows, outside (how many), draws; or missing, a reason

They are stored with the fit, and so are whole or not there. A table of many rows is checked with fewer draws.
"""

import json
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.criticism import CHECK_COLUMNS, check_notes, checks
from mien.study.errors import FitError

__all__ = ["StoredChecks", "stored_checks", "with_checks"]

GROUP = "checks"
DRAWS, FEWEST_DRAWS = 200, 25
NUMBERS = 2_000_000  # rows × draws of one shape that PIT takes, which are twice as many as the others
NEVER = "they were not run with this fit"


class StoredChecks(NamedTuple):
    """table : of `checks`, None where there is none; notes : a sentence a kind; missing : why there is none."""

    table: pd.DataFrame | None
    notes: tuple[str, ...]
    missing: str


def with_checks(fit: xr.DataTree, *, draws: int | None = None) -> xr.DataTree:
    """The fit with its checks, or with the reason why there are none; the fit given is left as it is.

    Parameters
    ----------
    draws : as in `checks`; None takes 200, fewer where there are more than 5,000 rows.
    """
    result = fit.copy()
    if GROUP in result.children:
        del result[GROUP]
    try:
        chosen = _affordable(fit) if draws is None else draws
        table = checks(fit, draws=chosen)
    except FitError as refusal:
        result.attrs["checks"] = json.dumps({"missing": str(refusal).removeprefix("checks: ")})
        return result
    columns = {name: ("row", _plain(np.asarray(table[name]))) for name in CHECK_COLUMNS}
    result[GROUP] = xr.DataTree(xr.Dataset(columns))
    told = {
        "notes": check_notes(table), "rows": len(table), "outside": int(np.sum(table["outside"].to_numpy())),
        "draws": chosen,
    }  # fmt: skip
    result.attrs["checks"] = json.dumps(told)
    return result


def stored_checks(fit: xr.DataTree) -> StoredChecks:
    """The checks that a fit has with it."""
    told = json.loads(str(fit.attrs.get("checks", "{}")))
    if GROUP not in fit.children and "notes" in told:  # of a family whose checks are sentences
        return StoredChecks(None, tuple(map(str, told["notes"])), "")
    if GROUP not in fit.children:
        return StoredChecks(None, (), str(told.get("missing", NEVER)))
    group = fit[GROUP].dataset
    table = pd.DataFrame({name: group[name].to_numpy() for name in CHECK_COLUMNS})
    texts = {"check": "str", "blend_shape": "str", "participant": "str", "outside": "bool"}
    return StoredChecks(table.astype(texts), tuple(map(str, told["notes"])), "")


def _affordable(fit: xr.DataTree) -> int:
    rows = fit["observed_data"].sizes["observation"] if "observed_data" in fit.children else 1
    return int(np.clip(NUMBERS // (2 * rows), FEWEST_DRAWS, DRAWS))


def _plain(column: np.ndarray) -> np.ndarray:
    return column if column.dtype.kind in "fib" else np.array([str(text) for text in column])
