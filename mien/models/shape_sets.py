"""Named contrasts of shapes, as weights that a ModelSpec takes: regions, action units, asymmetry, smile − frown.

    "regions"         mean of the shapes of a region, for regions of two or more: "mouth", "brow" …
    "action_units"    mean of the shapes of one action unit, for units of two or more: "AU28"
    "asymmetry"       left − right of every pair: "mouthSmile left - right"; needs a table with both sides
    "smile - frown"   mouthSmile − mouthFrown, means of both sides where the table has them

Which action unit a shape shows is a convention (`mien.study.blend_shapes`: no publication read). Gaze, blinks and
shapes that hardly move are in no set.

**Scale.** Shapes differ tenfold in how much they move, so that a plain mean is the mean of the liveliest. Weights are
therefore divided by each shape's residual sd, and a contrast is in residual sds; `scale="raw"` leaves them alone. The
residual sd is that of trial means after participants' and stimuli's means are taken out by least squares,
√(Σ r² / (rows − participants − stimuli + 1)), over kept rows. It depends on the table alone, not on a model. The
weights are plain numbers, stored with the fit, so that new rows are weighted alike.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mien.models.outcomes import OutcomeRows, prepare_outcomes
from mien.models.spec import ModelSpec
from mien.study.blend_shapes import BLEND_SHAPES, SET_APART, members, region
from mien.study.errors import FitError, SpecError
from mien.study.tables import nearest

__all__ = ["SHAPE_SETS", "residual_sds", "shape_contrasts"]

SHAPE_SETS = ("regions", "action_units", "asymmetry", "smile - frown")
SCALES = ("residual_sd", "raw")
ROWS = "activation ~ 1 + (1 | participant) + (1 | stimulus)"

type Weights = dict[str, dict[str, float]]


def shape_contrasts(
    sets: str | Sequence[str] | Mapping[str, Mapping[str, float]],
    trials: pd.DataFrame,
    *,
    scale: str = "residual_sd",
) -> Weights:
    """Weights of contrasts, for ``ModelSpec(contrasts=…)`` and the families.

    Parameters
    ----------
    sets : names of `SHAPE_SETS`, or contrasts of your own, ``{"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}``.
    trials : the Trials table that will be fitted: it says which shapes there are, and how much they move.
    scale : "residual_sd" divides every weight by its shape's residual sd (see above), "raw" does not.

    Returns
    -------
    dict from the contrast's name to shape → weight, per residual sd of the shape or per coefficient unit.

    Raises
    ------
    SpecError
        For a set or scale that is not known, shapes that the table lacks, or a set of which it has none.
    """
    if scale not in SCALES:
        raise SpecError(
            f"scale: expected one of {', '.join(SCALES)}, found {scale!r}{nearest(scale, SCALES)}."
        )
    sds = residual_sds(trials)
    if isinstance(sets, Mapping):
        found: Weights = {name: dict(weights) for name, weights in sets.items()}
    else:
        found = {}
        for name in [sets] if isinstance(sets, str) else sets:
            found |= _named(name, list(sds))
    for name, weights in found.items():
        _check_shapes(name, weights, list(sds))
    if scale == "raw":
        return found
    return {
        name: {shape: float(weight) / sds[shape] for shape, weight in weights.items()}
        for name, weights in found.items()
    }


def residual_sds(trials: pd.DataFrame) -> dict[str, float]:
    """Residual sd of trial means, coefficient units, of every shape that moves; see above."""
    rows = prepare_outcomes(ModelSpec(ROWS, pool_trackers=True), trials)[1]
    if rows.names == ("",):
        raise FitError("trials: expected a column blend_shape, found none: pass the Trials table.")
    return {name: _residual_sd(rows, at) for name, at in zip(rows.names, rows.at, strict=True)}


def _residual_sd(rows: OutcomeRows, at: np.ndarray) -> float:
    from scipy import sparse
    from scipy.sparse.linalg import lsqr

    frame = rows.frame.iloc[at]
    values = frame["activation"].to_numpy(dtype=np.float64)
    columns, counts = [], []
    for name in ("participant", "stimulus"):
        codes = pd.factorize(frame[name])[0]
        counts.append(int(codes.max()) + 1)
        one = np.ones(len(codes))
        columns.append(sparse.csr_array((one, (np.arange(len(codes)), codes)), (len(codes), counts[-1])))
    left = len(values) - sum(counts) + 1
    if left < 1:
        raise FitError(
            f"{rows.names[rows.outcome[at[0]]]}: expected more trials than participants and stimuli together, found "
            f"{len(values)} of {counts[0]} and {counts[1]}: use scale='raw'."
        )
    design = sparse.hstack(columns, format="csr")
    norm = lsqr(design, values - values.mean(), atol=1e-12, btol=1e-12)[3]
    return float(norm / np.sqrt(left))


def _named(name: str, shapes: list[str]) -> Weights:
    """The contrasts of one set on a scale on which shapes are alike."""
    shapes = [shape for shape in shapes if shape not in SET_APART and _known(shape)]
    match name:
        case "regions":
            found = _means(
                {label: [s for s in shapes if region(s) == label] for label in map(region, shapes)}
            )
        case "action_units":
            units = {shape: BLEND_SHAPES[members(shape)[0]].action_units for shape in shapes}
            labels = sorted({unit for own in units.values() for unit in own}, key=int)
            found = _means({f"AU{unit}": [s for s in shapes if unit in units[s]] for unit in labels})
        case "asymmetry":
            found = {
                f"{shape.removesuffix('Left')} left - right": {shape: 1.0, BLEND_SHAPES[shape].partner: -1.0}
                for shape in shapes
                if shape in BLEND_SHAPES
                and BLEND_SHAPES[shape].side == "left"
                and BLEND_SHAPES[shape].partner in shapes
            }
        case "smile - frown":
            found = {name: _both("mouthSmile", shapes, 1.0) | _both("mouthFrown", shapes, -1.0)}
        case _:
            raise SpecError(
                f"contrasts: expected sets among {', '.join(SHAPE_SETS)}, or a dict of your own, found {name!r}"
                f"{nearest(name, SHAPE_SETS)}."
            )
    if not found or not all(found.values()):
        wanted = "both sides of a shape (recipe: sides = 'both')" if name == "asymmetry" else "its shapes"
        raise SpecError(
            f"contrasts {name!r}: expected a table with {wanted}, found {', '.join(shapes) or 'none'}."
        )
    return found


def _known(shape: str) -> bool:
    return region(shape) != "contrast"


def _means(groups: Mapping[str, Sequence[str]]) -> Weights:
    return {name: dict.fromkeys(group, 1.0 / len(group)) for name, group in groups.items() if len(group) > 1}


def _both(name: str, shapes: Sequence[str], weight: float) -> dict[str, float]:
    """The shape itself, or the mean of its sides; {} where the table has neither."""
    present = [shape for shape in (name, *members(name)) if shape in shapes]
    return {shape: weight / len(present) for shape in present}


def _check_shapes(name: str, weights: Mapping[str, float], shapes: Sequence[str]) -> None:
    unknown = [shape for shape in weights if shape not in shapes]
    if unknown or not weights:
        raise SpecError(
            f"contrast {name!r}: expected shapes that move in the table, found {unknown[0] if unknown else 'none'!r}"
            f"{nearest(unknown[0], shapes) if unknown else ''}."
        )
