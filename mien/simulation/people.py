"""Who reacts how to what: stimuli, persons, and the size and course of every reaction.

The reaction of person p to stimulus i in trial k, in wanders of a shape, is

    h(k) · [ arousal + own_p + x_i · (gain_medium · reactivity_p + slope_p) + stimulus_i + trial_pik ]

with x = -1/2 for negative and +1/2 for positive stimuli and h the habituation over a task's trials. Shapes of one
synergy share part of every random term. A reaction rises after a latency, fades slowly while the stimulus is
there and quickly when it is gone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.simulation.design import Design, Stimulus, stimuli_of
from mien.simulation.truth import Truth
from mien.study.blend_shapes import SET_APART

__all__ = [
    "Person", "StimulusEffects", "course", "draw_person", "draw_stimulus_effects", "ratings", "reactions",
]  # fmt: skip

HOT_SPOTS = 5  # places of a stimulus that draw the gaze


class StimulusEffects(NamedTuple):
    """What is particular to each stimulus, the same for all who see it."""

    shapes: np.ndarray  # (stimulus, blend_shape) wanders
    hot_spots: np.ndarray  # (stimulus, HOT_SPOTS, 2) yaw and pitch of the gaze, coefficient units
    rating: np.ndarray  # (stimulus,) points


class Person(NamedTuple):
    """One simulated person; arrays are (blend_shape,), in wanders."""

    traits: dict[str, float | str]
    reactivity: float
    tone: np.ndarray
    own: np.ndarray
    slope: np.ndarray
    moves: np.ndarray  # bool; False: the tracker never reports this shape
    latency_s: float
    blinks_per_min: float
    rating: float  # points above or below the others' ratings
    posture: np.ndarray  # (3,) yaw, pitch, roll, radians
    head_present: bool


def _coherent(truth: Truth, rows: int, rng: np.random.Generator) -> np.ndarray:
    """(row, blend_shape) standard normal; shapes of one synergy correlate by the product of their loadings."""
    loadings = np.array(list(truth.synergies.values()))
    uniqueness = np.sqrt(1.0 - (loadings**2).sum(0))
    shared = rng.standard_normal((rows, len(loadings))) @ loadings
    return shared + uniqueness * rng.standard_normal((rows, len(truth.shapes)))


def draw_stimulus_effects(design: Design, truth: Truth, rng: np.random.Generator) -> StimulusEffects:
    """A new set of stimuli of the design's kinds."""
    count = len(stimuli_of(design))
    spots = rng.normal(0.0, (0.10, 0.06), (count, HOT_SPOTS, 2)) + rng.normal(
        0.0, (0.05, 0.03), (count, 1, 2)
    )
    return StimulusEffects(
        _coherent(truth, count, rng) * truth.column("stimulus_sd"), spots, rng.normal(0.0, 0.6, count)
    )


def draw_person(truth: Truth, rng: np.random.Generator) -> Person:
    """One person of the population."""
    affective, other = rng.standard_normal(2)
    cognitive = 0.45 * affective + np.sqrt(1 - 0.45**2) * other
    age, female = rng.uniform(19.0, 60.0), rng.random() < 0.55
    standardised = {
        "empathy_affective": affective,
        "empathy_cognitive": cognitive,
        "age": (age - 39.5) / (41.0 / np.sqrt(12.0)),
        "female": (female - 0.55) / np.sqrt(0.55 * 0.45),
    }
    known = sum(truth.trait_weights[name] * value for name, value in standardised.items())
    rest_sd = np.sqrt(max(truth.reactivity_sd**2 - sum(w**2 for w in truth.trait_weights.values()), 0.0))
    coherent = _coherent(truth, 3, rng)
    return Person(
        traits={
            "age": int(age),
            "sex": "F" if female else "M",
            "group": "control",
            "empathy_affective": int(np.clip(round(26 + 5 * affective), 0, 40)),
            "empathy_cognitive": int(np.clip(round(27 + 4.5 * cognitive), 0, 40)),
        },
        reactivity=float(1.0 + known + rest_sd * rng.standard_normal()),
        tone=coherent[0] * truth.column("tone_sd"),
        own=coherent[1] * truth.intercept_sd * ~_set_apart(truth),
        slope=coherent[2] * truth.column("slope_sd"),
        moves=rng.random(len(truth.shapes)) >= truth.column("dead"),
        latency_s=float(rng.normal(truth.latency_s, truth.latency_person_sd_s)),
        blinks_per_min=float(truth.blinks_per_min * np.exp(truth.blinks_log_sd * rng.standard_normal())),
        rating=float(rng.normal(0.35 * affective, 0.8)),
        posture=rng.normal((0.0, -0.05, 0.0), (0.08, 0.08, 0.04)),
        head_present=bool(rng.random() >= truth.head_missing),
    )


def _set_apart(truth: Truth) -> np.ndarray:
    return np.array([shape.blend_shape in SET_APART for shape in truth.shapes])


def reactions(
    person: Person,
    order: Sequence[Stimulus],
    effects: StimulusEffects,
    truth: Truth,
    rng: np.random.Generator,
) -> np.ndarray:
    """(trial, blend_shape) size of each reaction, wanders, in the order of presentation."""
    film = np.array([stimulus.medium == "film" for stimulus in order])
    gain = np.where(film[:, None], truth.column("gain_film"), truth.column("gain_picture"))
    sign = np.array([stimulus.sign for stimulus in order])[:, None]
    particular = effects.shapes[[stimulus.number for stimulus in order]]
    trial = _coherent(truth, len(order), rng) * truth.column("trial_sd")
    size = truth.column("arousal") + person.own + sign * (gain * person.reactivity + person.slope)
    return _habituation(len(order), truth)[:, None] * (size + particular + trial)


def _habituation(trials: int, truth: Truth) -> np.ndarray:
    """(trial,) from 1 down to the floor."""
    gone = 1.0 - np.exp(-np.arange(trials) / truth.habituation_trials)
    return 1.0 - (1.0 - truth.habituation_floor) * gone


def course(since_onset: np.ndarray, duration_s: float, latency_s: float, truth: Truth) -> np.ndarray:
    """(time,) course of a reaction, 0 before the latency, near 1 at its height; times in s."""
    since = np.maximum(since_onset - latency_s, 0.0)
    shown = np.minimum(since, duration_s - latency_s)
    height = (1.0 - np.exp(-shown / truth.rise_s)) * np.exp(-shown / truth.fade_s)
    return height * np.exp(-np.maximum(since_onset - duration_s, 0.0) / truth.release_s)


def ratings(
    person: Person, order: Sequence[Stimulus], size: np.ndarray, effects: StimulusEffects, truth: Truth,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """(trial,) "how much do you feel with this person", 0-9: person, stimulus, and this trial's own reaction."""
    numbers = [stimulus.number for stimulus in order]
    reacting = np.abs(truth.column("gain_picture")) >= 0.25
    direction = np.sign(truth.column("gain_picture")[reacting])
    answer = (size[:, reacting] * direction).mean(1) * np.sign([stimulus.sign for stimulus in order])
    points = 5.0 + person.rating + effects.rating[numbers] + 3.0 * answer + rng.normal(0.0, 1.0, len(order))
    return np.clip(np.rint(points), 0, 9).astype(np.int64)
