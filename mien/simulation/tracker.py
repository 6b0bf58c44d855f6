"""What the phone makes of a face: two sides, clipping, saturation, a drifting clock, lost and dropped frames.

ARKit never reports less than 0: whatever would lie below is exactly 0, which is why a mean over a trial depends
on the noise. Above 0.8 coefficients saturate towards 1; only eyeLookIn overshoots a little (1.05). When the
face is lost the app repeats its last row; sometimes the rows are missing altogether.
"""

from typing import NamedTuple

import numpy as np

from mien.simulation.movements import wandering
from mien.simulation.people import Person
from mien.simulation.truth import Truth
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, members

__all__ = ["Eyes", "Frames", "coefficients", "lost_frames", "reported"]

MIRRORED = {"jawRight": "jawLeft", "mouthRight": "mouthLeft"}  # directions of one movement
SIDED = tuple(name for name in BILATERAL_NAMES if len(members(name)) == 2)
VERGENCE = 0.06  # both eyes turn in, coefficient units
SATURATION = 0.8
OVERSHOOT = 1.053  # the highest eyeLookIn seen in a real file
FADE_MEMORY = 50.0  # frames; memory of the left-right difference


class Eyes(NamedTuple):
    """What the eyes do, (frame,) each."""

    closed: np.ndarray  # by blinks, 0-1
    yaw: np.ndarray  # coefficient units, positive to the person's right
    pitch: np.ndarray  # coefficient units, positive upwards


class Frames(NamedTuple):
    """The rows of a file."""

    time: np.ndarray  # (row,) s, from the timecode
    activation: np.ndarray  # (row, 52) float32
    head: np.ndarray  # (row, 3) float32 radians
    tracked: np.ndarray  # (row,) bool; False: repeats the row before


def coefficients(
    latent: np.ndarray, eyes: Eyes, person: Person, truth: Truth, rng: np.random.Generator
) -> np.ndarray:
    """(frame, 52) float32 what a perfect tracker reports for `latent` (34, frame), coefficient units."""
    difference = wandering(np.full(len(SIDED), FADE_MEMORY), latent.shape[1], rng)
    rows = {shape.blend_shape: row for shape, row in zip(truth.shapes, latent, strict=True)}
    rows |= {name: -rows[other] for name, other in MIRRORED.items()}
    out = np.zeros((len(NAMES), latent.shape[1]), dtype=np.float32)
    for shape, moves in zip(truth.shapes, person.moves, strict=True):
        name = shape.blend_shape
        if not moves:
            continue
        if name in SIDED:
            apart = shape.side_sd * shape.wander * difference[SIDED.index(name)]
            left, right = _two_eyes(name, rows, eyes) if name.startswith("eye") else (rows[name], rows[name])
            out[NAMES.index(name + "Left")] = left + apart
            out[NAMES.index(name + "Right")] = right - apart
        else:
            out[NAMES.index(name)] = rows[name]
    return np.ascontiguousarray(_clipped(out).T)


def _two_eyes(name: str, rows: dict[str, np.ndarray], eyes: Eyes) -> tuple[np.ndarray, np.ndarray]:
    """The left and the right eye's latent signal."""
    down = rows["eyeLookDown"] - eyes.pitch
    yaw = rows["eyeLookIn"] - rows["eyeLookIn"].mean() + eyes.yaw
    match name:
        case "eyeLookDown":
            return down, down
        case "eyeLookUp":
            return -down, -down
        case "eyeLookIn":
            return VERGENCE + yaw, VERGENCE - yaw
        case "eyeLookOut":
            return -VERGENCE - yaw, yaw - VERGENCE
        case "eyeBlink":
            lid = rows[name] + 0.25 * np.clip(down, 0.0, None)
            both = 1.0 - (1.0 - np.clip(lid, 0.0, 1.0)) * (1.0 - eyes.closed)
        case "eyeSquint":
            both = rows[name] + 0.05 * eyes.closed
        case _:  # eyeWide
            both = rows[name] - 0.5 * eyes.closed
    return both, both


def _clipped(signal: np.ndarray) -> np.ndarray:
    """Clip at 0 in place, bend above 0.8; eyeLookIn may overshoot."""
    np.maximum(signal, 0.0, out=signal)
    for name, row in zip(NAMES, signal, strict=True):
        if name.startswith("eyeLookIn"):
            np.minimum(row, OVERSHOOT, out=row)
        elif row.max() > SATURATION:
            high = row > SATURATION
            room = 1.0 - SATURATION
            row[high] = SATURATION + room * (1.0 - np.exp(-(row[high] - SATURATION) / room))
    return signal


def lost_frames(
    movement_frames: np.ndarray, movement_sizes: np.ndarray, glance_frames: np.ndarray, frames: int, truth: Truth,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:  # fmt: skip
    """(first, last + 1) of each stretch without tracking: likelier in large movements and when looking away."""
    by_movement = rng.random(len(movement_frames)) < 1.0 - np.exp(
        -truth.loss_per_movement * movement_sizes**2
    )
    by_glance = rng.random(len(glance_frames)) < truth.loss_per_glance
    elsewhere = rng.integers(frames, size=rng.poisson(truth.losses_per_min * frames / 3600.0))
    starts = np.concatenate([movement_frames[by_movement], glance_frames[by_glance] + 5, elsewhere])
    lengths = np.clip(40.0 * np.exp(0.7 * rng.standard_normal(len(starts))), 8, 300).astype(int)
    ends = np.minimum(starts + lengths, frames - 1)
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if 0 < a < b]


def reported(
    time: np.ndarray,
    activation: np.ndarray,
    head: np.ndarray,
    lost: list[tuple[int, int]],
    *,
    truth: Truth,
    rng: np.random.Generator,
) -> Frames:
    """The rows that reach the file: lost stretches repeat the last row or leave a gap, single rows are dropped."""
    kept = np.ones(len(time), dtype=bool)
    tracked = np.ones(len(time), dtype=bool)
    for first, last in lost:
        if rng.random() < 0.2:
            kept[first:last] = False
        else:
            tracked[first:last] = False
            activation[first:last] = activation[first - 1]
            head[first:last] = head[first - 1]
    dropped = rng.integers(1, len(time) - 1, size=rng.poisson(truth.dropped_per_min * time[-1] / 60.0))
    kept[dropped[tracked[dropped]]] = False
    return Frames(time[kept], activation[kept], head[kept], tracked[kept])
