"""Co-activation in tables for readers: every cell text, as in `tables`.

Loadings are in sds within persons (of what is stimulus-driven, within stimuli), with two decimals.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mien.models.factors.partitions import Ball
from mien.models.factors.tables import ShapeGroups
from mien.reports_app import wording
from mien.reports_app.co_activation_words import letters
from mien.reports_app.rows import Row, by_region, rows_of
from mien.study.blend_shapes import region

__all__ = ["ball_table", "groups_table", "loadings_table", "numbers_table", "pairs_table", "rotation_table"]

MOST = 60  # pairs
EDGES = ("farthest", "fewest", "most")
EDGE_WORDS = {"farthest": "the most different", "fewest": "fewest groups", "most": "most groups"}


def loadings_table(
    rows: Sequence[Row], communality: Mapping[str, tuple[float, float, float]]
) -> pd.DataFrame:
    """One row a shape, one column a factor, with intervals; by region, the best explained first.

    Parameters
    ----------
    rows : of `mien.models.loadings`, of the factors to show. communality : shape → mean, lower, upper; {} for none.
    """
    by_factor: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_factor.setdefault(str(row["factor"]), {})[str(row["blend_shape"])] = row
    shapes = dict.fromkeys(str(row["blend_shape"]) for row in rows)
    keys = [
        {"blend_shape": name, "region": region(name), "mean": communality.get(name, (0.0,))[0]}
        for name in shapes
    ]
    return pd.DataFrame(
        [
            {
                "movement": wording.movement(str(key["blend_shape"])),
                "blend shape": str(key["blend_shape"]),
                **({"all factors": _shared(communality[str(key["blend_shape"])])} if communality else {}),
                **{factor: _interval(of[str(key["blend_shape"])]) for factor, of in by_factor.items()},
            }
            for key in by_region(keys)
        ]
    )


def _interval(row: Row) -> str:
    mean, lower, upper = (wording.number(row[name], 2) for name in ("mean", "eti_lower", "eti_upper"))
    return f"{mean} ({lower} to {upper})"


def _shared(told: tuple[float, float, float]) -> str:
    mean, lower, upper = (f"{100 * value:.0f}" for value in told)
    return f"{mean} % ({lower} to {upper})"


def pairs_table(pairs: Sequence[Row], threshold: float) -> pd.DataFrame:
    """The pairs that are joined on the face, the strongest first.

    Parameters
    ----------
    pairs : rows of `mien.models.co_activation_pairs`. threshold : least P(|r| > 0.2).
    """
    return pd.DataFrame(
        [
            {
                "one": str(row["first"]),
                "other": str(row["second"]),
                "r": wording.number(row["mean"], 2),
                "95 % ETI": f"{wording.number(row['eti_lower'], 2)} to {wording.number(row['eti_upper'], 2)}",
                "P(direction)": wording.probability_text(float(row["p_direction"])),
                "P(|r| > 0.2)": wording.probability_text(float(row["p_strong"])),
            }
            for row in pairs
            if row["p_strong"] >= threshold
        ][:MOST]
    )


def groups_table(groups: ShapeGroups) -> pd.DataFrame:
    """One row a shape: its group, and how probable it is that it is with the others of it, or alone."""
    named = letters(groups)
    return pd.DataFrame(
        [
            {
                "group": named[str(row["blend_shape"])] or "alone",
                "movement": wording.movement(str(row["blend_shape"])),
                "blend shape": str(row["blend_shape"]),
                "P(together), P(alone)": wording.probability_text(float(row["with"])),
            }
            for row in rows_of(groups.table)
        ]
    )


def ball_table(ball: Ball, shapes: Sequence[str]) -> pd.DataFrame:
    """The partitions at the edges of the credible ball; of several that are equally far, the first, and how many."""
    return pd.DataFrame(
        [
            {
                "in the ball": EDGE_WORDS[edge],
                "equally far": str(len(getattr(ball, edge))),
                "groups": str(int(getattr(ball, edge)[0].max()) + 1),
                "of two shapes or more": _together(getattr(ball, edge)[0], shapes),
            }
            for edge in EDGES
        ]
    )


def _together(partition: np.ndarray, shapes: Sequence[str]) -> str:
    members = [
        [name for name, label in zip(shapes, partition, strict=True) if label == group]
        for group in range(int(partition.max()) + 1)
    ]
    return (
        "; ".join(", ".join(names) for names in sorted(members, key=len, reverse=True) if len(names) > 1)
        or "–"
    )


def numbers_table(table: pd.DataFrame, recommended: int, unit: str) -> pd.DataFrame:
    """The comparison of numbers of factors.

    Parameters
    ----------
    table : of `mien.models.factor_numbers`. recommended : one of its numbers. unit : persons or stimuli.
    """
    return pd.DataFrame(
        [
            {
                "factors": f"{int(row['factors'])}{' (recommended)' if row['factors'] == recommended else ''}",
                **_left_out(row, "trials", "trials"),
                **_left_out(row, "groups", unit),
                "P(next eigenvalue)": _probability(row.get("p_larger", math.nan)),
                "checks": str(row.get("diagnostics", "–")),
            }
            for row in rows_of(table)
        ]
    )


def _left_out(row: Row, kind: str, words: str) -> dict[str, str]:
    """How much worse units left out are foretold than by the best number, and what that comes to."""
    difference, error = (float(row.get(f"{name}_{kind}", math.nan)) for name in ("diff", "se"))
    if not math.isfinite(difference):
        return {}
    best = difference == 0
    said = str(row.get(f"preference_{kind}", "")) or "–"
    return {
        f"{words} left out (nats)": "best" if best else f"{wording.number(difference, 1)} ± {error:.1f}",
        f"{words} say": said,
    }


def _probability(value: Any) -> str:
    value = float(value)
    if not math.isfinite(value):
        return "–"
    return "< 0.01" if value < 0.005 else wording.probability_text(value)


def rotation_table(
    rotation: Mapping[str, Sequence[Mapping[str, float]]], names: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """How far each factor is one and the same in all draws.

    Parameters
    ----------
    rotation : of the verdict's detail, by level. names : of the factors, by level.
    """
    return pd.DataFrame(
        [
            {
                "factor": name,
                "worst R-hat of its loadings": f"{float(one['max_r_hat']):.3f}",
                "congruence with the mean": f"{float(one['congruence']):.2f}",
                "another factor in": f"{100 * float(one['another']):.0f} % of draws",
            }
            for level, of in names.items()
            for name, one in zip(of, rotation.get(level, ()), strict=False)
        ],
        columns=["factor", "worst R-hat of its loadings", "congruence with the mean", "another factor in"],
    )
