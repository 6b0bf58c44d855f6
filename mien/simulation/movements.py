"""What a face does besides reacting: slow wandering, spontaneous movements, blinks, gaze, head.

Frames are the unit of time here (about 60 a second). The wandering is an AR(2) process: a slow pole with the
shape's memory and a fast one that makes the path as smooth as a tracker's; its autocorrelation time is about
twice the memory, which is how real takes come to 70-170 frames.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from mien.simulation.people import Person, StimulusEffects
from mien.simulation.truth import Truth

__all__ = [
    "Shown",
    "Spontaneous",
    "blinks",
    "gaze",
    "glances",
    "head_pose",
    "spontaneous_movements",
    "wandering",
]

SMOOTH_FRAMES = 7.0  # time constant of the fast pole
BURN_IN_FRAMES = 400
BLINK_S = (0.09, 0.20)  # closing and opening
SACCADE_FRAMES = 2.0
FIXATION_S = 0.35  # mean time on one spot


class Shown(NamedTuple):
    """A stimulus on the screen, in seconds of the recording."""

    number: int
    onset_s: float
    duration_s: float


class Spontaneous(NamedTuple):
    """Movements that nobody asked for."""

    signal: np.ndarray  # (blend_shape, frame) wanders
    frames: np.ndarray  # (movement,) where each is largest
    sizes: np.ndarray  # (movement,) in median sizes


def wandering(memory_frames: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """(signal, frame) float32 stationary processes of unit variance, one a row."""
    noise = rng.standard_normal((len(memory_frames), frames + BURN_IN_FRAMES), dtype=np.float32)
    for row, memory in zip(noise, memory_frames, strict=True):
        slow, fast = np.exp(-1.0 / memory), np.exp(-1.0 / SMOOTH_FRAMES)
        first, second = slow + fast, -slow * fast
        variance = (1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2))
        scale = np.array([1.0 / np.sqrt(variance)], dtype=np.float32)
        row[:] = lfilter(scale, np.array([1.0, -first, -second], dtype=np.float32), row)
    return noise[:, BURN_IN_FRAMES:]


def _poisson_times(per_min: float, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.uniform(0.0, duration_s, rng.poisson(per_min * duration_s / 60.0)))


def spontaneous_movements(truth: Truth, time: np.ndarray, rng: np.random.Generator) -> Spontaneous:
    """Swallowing, pressing the lips, a private smile: short swells of one synergy; (blend_shape, frame), wanders."""
    signal = np.zeros((len(truth.shapes), len(time)), dtype=np.float32)
    patterns = [np.clip(row, 0.0, None) / row.max() for row in truth.synergies.values()]
    onsets = _poisson_times(truth.movements_per_min, float(time[-1]), rng)
    sizes = np.exp(0.5 * rng.standard_normal(len(onsets)))
    lengths = rng.uniform(0.6, 2.5, len(onsets))
    kinds = rng.integers(len(patterns), size=len(onsets))
    for onset, size, length, kind in zip(onsets, sizes, lengths, kinds, strict=True):
        first, last = np.searchsorted(time, (onset, onset + length))
        swell = np.sin(np.pi * (time[first:last] - onset) / length) ** 2
        signal[:, first:last] += np.outer(truth.movement_size * size * patterns[kind], swell)
    return Spontaneous(signal, np.searchsorted(time, onsets + lengths / 2), sizes)


def blinks(
    person: Person,
    shown: Sequence[Shown],
    cues_s: Sequence[float],
    time: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(frame,) how far the lids are closed by blinks, 0-1: fewer when a picture appears, more when it is gone."""
    candidates = _poisson_times(2.0 * person.blinks_per_min, float(time[-1]), rng)
    since = np.full(len(candidates), np.inf)
    left = np.full(len(candidates), np.inf)
    for item in shown:
        inside = candidates >= item.onset_s
        since = np.where(inside, candidates - item.onset_s, since)
        left = np.where(inside, candidates - item.onset_s - item.duration_s, left)
    chance = np.select([(left > 0.2) & (left < 1.2), since < 1.5, left <= 0.2], [0.9, 0.2, 0.45], default=0.5)
    natural = candidates[rng.random(len(candidates)) < chance]
    cued = np.asarray(cues_s) + rng.normal(0.28, 0.04, len(cues_s))
    natural = natural[[bool(len(cued) == 0 or np.abs(cued - moment).min() > 0.6) for moment in natural]]
    closed = np.zeros(len(time), dtype=np.float32)
    for moment in np.sort(np.concatenate([natural, cued])):
        first, last = np.searchsorted(time, (moment - BLINK_S[0], moment + BLINK_S[1]))
        beside = time[first:last] - moment
        height = rng.uniform(0.75, 0.98)
        edge = np.where(beside < 0, beside / BLINK_S[0], beside / BLINK_S[1])
        closed[first:last] = np.maximum(closed[first:last], height * np.cos(np.pi / 2 * edge) ** 2)
    return closed


def glances(truth: Truth, time: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(frame,) sideways looks off the screen, -1.1 to 1.1, and the frames where they begin."""
    away = np.zeros(len(time), dtype=np.float32)
    onsets = _poisson_times(truth.glances_per_min, float(time[-1]), rng)
    for onset in onsets:
        first, last = np.searchsorted(time, (onset, onset + rng.uniform(0.4, 1.5)))
        away[first:last] = rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 1.1)
    return _smoothed(away), np.searchsorted(time, onsets)


def gaze(
    shown: Sequence[Shown], effects: StimulusEffects, time: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(2, frame) yaw and pitch of the gaze, coefficient units: from hot spot to hot spot of what is shown."""
    number = np.full(len(time), -1)
    for item in shown:
        first, last = np.searchsorted(time, (item.onset_s + 0.2, item.onset_s + item.duration_s + 0.2))
        number[first:last] = item.number
    changes = np.cumsum(rng.gamma(3.0, FIXATION_S / 3.0, int(time[-1] / FIXATION_S * 1.5) + 20))
    starts = np.unique(np.searchsorted(time, np.concatenate([[0.0], changes[changes < time[-1]]])))
    seen = number[starts]
    spots = effects.hot_spots[seen, rng.integers(effects.hot_spots.shape[1], size=len(starts))]
    where = np.where(seen[:, None] >= 0, spots, 0.0) + rng.normal(0.0, 0.02, (len(starts), 2))
    steps = np.repeat(where, np.diff(np.append(starts, len(time))), axis=0).T
    return _smoothed(np.ascontiguousarray(steps, dtype=np.float32))


def _smoothed(steps: np.ndarray) -> np.ndarray:
    """A saccade takes a few frames."""
    keep = np.float32(np.exp(-1.0 / SACCADE_FRAMES))
    return np.asarray(
        lfilter(np.array([1 - keep]), np.array([1, -keep], np.float32), steps, axis=-1), np.float32
    )


def head_pose(person: Person, away: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(frame, 3) yaw, pitch, roll in radians: a slow sway about the person's posture; glances take the head along."""
    sway = wandering(np.array([120.0, 120.0, 120.0]), len(away), rng) * np.array([[0.03], [0.025], [0.015]])
    sway[0] += 0.2 * away
    return (person.posture[:, None] + sway).T.astype(np.float32)
