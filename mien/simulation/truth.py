"""The latent numbers behind a simulated study, shape by shape.

The table is latent_truth.csv: one row for each of the 34 bilateral shapes. All amplitudes are in units of
`wander`, the standard deviation (coefficient units) of a face's own slow wandering in that shape, so one row
reads like a signal-to-noise budget. `rest` is where the latent signal sits when nothing happens: what is
below 0 is clipped, so rest = 0.3 makes about 38 % of the frames exactly 0.

These are *not* the effects that a model estimates: see outcome_truth.
"""

import csv
import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from mien.study.blend_shapes import BILATERAL_NAMES

__all__ = ["ShapeTruth", "Truth", "default_truth"]


@dataclass(frozen=True)
class ShapeTruth:
    """One row of latent_truth.csv. Amplitudes in units of `wander`, unless said otherwise."""

    blend_shape: str
    synergy: str  # the group it moves with; "" = on its own
    loading: float  # of reactions on the synergy, -1 to 1
    wander: float  # frame-to-frame sd of the resting face, coefficient units
    rest: float  # resting level
    memory_frames: float  # time constant of the wandering at 60 frames/s
    tone_sd: float  # persons' resting levels
    side_sd: float  # half the left-right difference that comes and goes
    dead: float  # share of persons in whom it never moves
    gain_picture: float  # reaction to positive minus negative pictures
    gain_film: float  # the same for films
    arousal: float  # reaction to any stimulus
    slope_sd: float  # persons' own valence slopes, beyond their reactivity
    stimulus_sd: float
    trial_sd: float


@dataclass(frozen=True)
class Truth:
    """Everything random about people and faces that is not the experimenter's decision."""

    shapes: tuple[ShapeTruth, ...]
    # Persons. Reactivity multiplies the valence gains: 1 + trait_weights . z + rest of reactivity_sd.
    reactivity_sd: float = 0.40
    trait_weights: dict[str, float] = field(
        default_factory=lambda: {
            "empathy_affective": 0.18,
            "empathy_cognitive": 0.06,
            "age": -0.08,
            "female": 0.08,
        }
    )
    intercept_sd: float = 0.15  # persons' reactions to any stimulus, in wanders
    # Course of a reaction (s).
    latency_s: float = 0.55
    latency_person_sd_s: float = 0.08
    latency_trial_sd_s: float = 0.15
    rise_s: float = 0.35
    fade_s: float = 9.0  # decay during the stimulus
    release_s: float = 0.40  # decay after it
    habituation_trials: float = 12.0
    habituation_floor: float = 0.65
    # Spontaneous movements, blinks, glances, lost tracking (a minute).
    movements_per_min: float = 1.5
    movement_size: float = 3.0  # median, in wanders
    blinks_per_min: float = 15.0
    blinks_log_sd: float = 0.35
    glances_per_min: float = 0.5
    loss_per_movement: float = 0.18  # chance of lost tracking in a movement of median size
    loss_per_glance: float = 0.30
    losses_per_min: float = 0.05  # for no visible reason
    # The phone.
    rows_per_second: float = 59.904  # of timecode, at a nominal 60
    rate_sd: float = 0.012  # between takes
    dropped_per_min: float = 2.5
    stimulus_clock_ppm_sd: float = 40.0
    head_missing: float = 0.125  # share of persons with head streaming off

    def __post_init__(self) -> None:
        if tuple(shape.blend_shape for shape in self.shapes) != BILATERAL_NAMES:
            raise ValueError("expected one row for each bilateral blend shape, in their order")

    def column(self, name: str) -> np.ndarray:
        """(blend_shape,) one numeric column of the table, float64."""
        return np.array([getattr(shape, name) for shape in self.shapes], dtype=np.float64)

    @property
    def synergies(self) -> dict[str, np.ndarray]:
        """Name → (blend_shape,) loadings, 0 for shapes that belong elsewhere."""
        names = dict.fromkeys(shape.synergy for shape in self.shapes if shape.synergy)
        member = {name: np.array([shape.synergy == name for shape in self.shapes]) for name in names}
        return {name: self.column("loading") * member[name] for name in names}

    @property
    def sha256(self) -> str:
        """Hash of all numbers."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@cache
def default_truth() -> Truth:
    """The calibrated numbers of latent_truth.csv."""
    text = resources.files("mien.simulation").joinpath("latent_truth.csv").read_text(encoding="utf-8")
    kinds = {item.name: item.type for item in fields(ShapeTruth)}
    shapes = []
    for row in csv.DictReader(text.splitlines()):
        values: dict[str, Any] = {
            key: text if kinds[key] is str else float(text) for key, text in row.items()
        }
        shapes.append(ShapeTruth(**values))
    return Truth(tuple(shapes))
