"""Which choices move the answer: main effects of a factorial of analyses, and how often a cell says what.

The estimate of a cell is the sum of a grand mean and one shift for each choice's value, fitted by least squares with
shifts that sum to 0 over a choice's values. In a whole factorial the shift of a value is the mean over its cells
minus the mean over all; where cells failed, least squares keeps the other choices apart. The share of a choice is the
sum of squares that it explains last, after all other choices, over the sum of squares between cells; what no share
holds are combinations of choices. Cells are analyses of the same data: their scatter is no sampling error, and
nothing is tested.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mien.workflow.multiverse_grid import Choice

__all__ = ["summarise"]


def summarise(table: pd.DataFrame, choices: Sequence[Choice], estimate: str) -> list[dict[str, Any]]:
    """One entry an outcome, as plain JSON types.

    Parameters
    ----------
    table : one row a cell and outcome: cell, reference, outcome, failure, the choices' labels by key, and columns of
        `mien.effects`.
    estimate : the column that is compared: "mean", "beta_std" or "beta_sigma".

    Returns
    -------
    dicts with outcome, cells, failed, reference, least, median, largest, spread (sd between cells), same_sign (share
    of cells with the reference's sign), excludes_0, inside_rope, outside_rope (shares of cells), monte_carlo (median
    Monte-Carlo error of an estimate), combinations (share of the sum of squares) and choices: key, range,
    share and values with label, shift, cells, excludes_0, inside_rope.
    """
    return [
        _of_outcome(str(name), rows.reset_index(drop=True), choices, estimate)
        for name, rows in table.groupby("outcome", sort=False)
    ]


def _of_outcome(name: str, rows: pd.DataFrame, choices: Sequence[Choice], estimate: str) -> dict[str, Any]:
    done: Any = rows[rows["failure"] == ""].reset_index(drop=True)
    values = done[estimate].to_numpy(dtype=np.float64)
    reference = float(done.loc[done["reference"], estimate].iloc[0])
    shifts, shares = _main_effects(done, values, choices)
    total = float(((values - values.mean()) ** 2).sum())
    means = done["mean"].to_numpy(dtype=np.float64)
    factor = np.abs(values / np.where(means == 0, np.nan, means))  # 1 where the estimate is the mean
    return {
        "outcome": name,
        "cells": len(rows),
        "failed": len(rows) - len(done),
        "reference": reference,
        "least": float(values.min()),
        "median": float(np.median(values)),
        "largest": float(values.max()),
        "spread": float(values.std()),
        "same_sign": float((np.sign(values) == np.sign(reference)).mean()),
        **_said(done),
        "outside_rope": float((done["decision"] == "outside").mean()),
        "monte_carlo": _plain(np.nanmedian(done["mcse_mean"].to_numpy(dtype=np.float64) * factor)),
        "combinations": _plain(max(0.0, 1.0 - sum(shares)) if total > 0 else math.nan),
        "choices": [
            {
                "choice": choice.key,
                "range": _plain(np.ptp(shift)) if np.isfinite(shift).all() else None,
                "share": _plain(share),
                "values": [
                    {
                        "value": label,
                        "shift": _plain(one),
                        "cells": int((done[choice.key] == label).sum()),
                        **_said(done[done[choice.key] == label]),
                    }
                    for label, one in zip(choice.labels, shift, strict=True)
                ],
            }
            for choice, shift, share in zip(choices, shifts, shares, strict=True)
        ],
    }  # fmt: skip


def _said(rows: Any) -> dict[str, float | None]:
    """Shares of cells whose interval leaves 0 out, or lies inside the ROPE."""
    if rows.empty:
        return {"excludes_0": None, "inside_rope": None}
    excludes = (rows["eti_lower"] > 0) | (rows["eti_upper"] < 0)
    return {"excludes_0": float(excludes.mean()), "inside_rope": float((rows["decision"] == "inside").mean())}


def _main_effects(
    rows: pd.DataFrame, values: np.ndarray, choices: Sequence[Choice]
) -> tuple[list[np.ndarray], list[float]]:
    """Shifts of every choice's values (NaN for one without a cell), and each choice's share."""
    columns = [_coded(rows[choice.key].tolist(), choice.labels) for choice in choices]
    whole = np.hstack([np.ones((len(values), 1)), *columns]) if columns else np.ones((len(values), 1))
    coefficients, *_ = np.linalg.lstsq(whole, values, rcond=None)
    total, left = float(((values - values.mean()) ** 2).sum()), _unexplained(whole, values)
    shifts, shares, at = [], [], 1
    for choice, column in zip(choices, columns, strict=True):
        own = coefficients[at : at + column.shape[1]]
        shift = np.append(own, -own.sum())
        present = set(rows[choice.key])
        shifts.append(
            np.array(
                [one if label in present else np.nan for one, label in zip(shift, choice.labels, strict=True)]
            )
        )
        others = np.delete(whole, np.s_[at : at + column.shape[1]], axis=1)
        shares.append((_unexplained(others, values) - left) / total if total > 0 else math.nan)
        at += column.shape[1]
    return shifts, shares


def _coded(labels: Sequence[str], levels: Sequence[str]) -> np.ndarray:
    """Sum coding, (row, level − 1): the last level's shift is minus the sum of the others'."""
    codes = np.array([levels.index(label) for label in labels])
    full = np.vstack([np.eye(len(levels) - 1), -np.ones(len(levels) - 1)])
    return full[codes]


def _unexplained(columns: np.ndarray, values: np.ndarray) -> float:
    return float(((values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]) ** 2).sum())


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
