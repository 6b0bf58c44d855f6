"""One simulated person: the takes, what was shown when, the ratings, the traits.

`Take.recording()` is what a reader makes of the file, so that thousands of persons can be prepared without writing
one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.simulation.design import Design, Stimulus, stimuli_of
from mien.simulation.movements import (
    Shown,
    blinks,
    gaze,
    glances,
    head_pose,
    spontaneous_movements,
    wandering,
)
from mien.simulation.people import (
    Person,
    StimulusEffects,
    course,
    draw_person,
    draw_stimulus_effects,
    ratings,
    reactions,
)
from mien.simulation.tracker import Eyes, Frames, coefficients, lost_frames, reported
from mien.simulation.truth import Truth
from mien.study.blend_shapes import NAMES
from mien.study.recording import make_recording

__all__ = ["CUES_S", "SimulatedPerson", "Take", "participant_of", "simulate_person", "stimulus_effects_of"]

CUES_S = (1.0, 2.0, 3.0)  # cued blinks: after the start of the recording, and after the last stimulus + 1 s
STIMULI_STREAM, PERSONS_STREAM = 0, 1  # spawn keys of a study's seed
LARGE_REACTION = 1.2  # mean |reaction| over shapes, in wanders, that counts as a movement of median size


class Take(NamedTuple):
    """One recording with its events."""

    task: str
    frames: Frames
    events: pd.DataFrame
    start: str  # timecode HH:MM:SS:FF.sss of the first frame
    head_present: bool

    def recording(self) -> xr.Dataset:
        """The rows of the file as a Recording; stretches without tracking repeat a row, as the app writes them."""
        return make_recording(
            self.frames.time,
            self.frames.activation,
            NAMES,
            head=self.frames.head if self.head_present else None,
            format="live-link-face-csv",
            start=self.start,
            calibrated="no",
        )


class SimulatedPerson(NamedTuple):
    """The takes of one person, in the order of recording, and the person's row of participants.tsv."""

    takes: tuple[Take, ...]
    traits: dict[str, float | str]


def stimulus_effects_of(design: Design, truth: Truth, seed: int) -> StimulusEffects:
    """The stimulus set of the study with this seed."""
    return draw_stimulus_effects(design, truth, _stream(seed, STIMULI_STREAM))


def participant_of(
    design: Design, truth: Truth, effects: StimulusEffects, *, seed: int, participant: int
) -> SimulatedPerson:
    """Person number `participant` (from 0) of the study with this seed."""
    return simulate_person(design, truth, effects, _stream(seed, PERSONS_STREAM, participant))


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def simulate_person(
    design: Design,
    truth: Truth,
    effects: StimulusEffects,
    rng: np.random.Generator,
    *,
    swap_valence: bool = False,
) -> SimulatedPerson:
    """Draw a person and record one take a task.

    Parameters
    ----------
    design : what is shown.
    truth : latent numbers.
    effects : the stimuli's own effects, the same for all persons of a study.
    rng : the person's own stream.
    swap_valence : what was negative is positive, everything else drawn alike: the same person's mirror image,
        equally likely, in whom chance differences between the valences have the other sign.
    """
    person = draw_person(truth, rng)
    stimuli = stimuli_of(design, swap_valence=swap_valence)
    tasks = dict.fromkeys(stimulus.task for stimulus in stimuli)
    minute = rng.uniform(8 * 60, 20 * 60)
    takes = []
    for number, (task, stream) in enumerate(zip(tasks, rng.spawn(len(tasks)), strict=True)):
        order = [stimuli[i] for i in stream.permutation([s.number for s in stimuli if s.task == task])]
        start = _timecode(minute + 12.0 * number, stream)
        takes.append(_take(design, truth, effects, person, order, start=start, rng=stream))
    return SimulatedPerson(tuple(takes), person.traits)


def _timecode(minute: float, rng: np.random.Generator) -> str:
    hour, rest = divmod(minute % 1440, 60)
    return f"{int(hour):02d}:{int(rest):02d}:{int(rest % 1 * 60):02d}:{rng.integers(60):02d}.{rng.integers(1000):03d}"


def _take(
    design: Design,
    truth: Truth,
    effects: StimulusEffects,
    person: Person,
    order: Sequence[Stimulus],
    *,
    start: str,
    rng: np.random.Generator,
) -> Take:
    shown, cues, duration = _schedule(design, order, rng)
    rate = (rng.normal(truth.rows_per_second, truth.rate_sd)) * design.rate_hz / 60.0
    time = np.arange(int(duration * rate)) / rate
    size = reactions(person, order, effects, truth, rng)
    face = _face(person, shown, size, time, truth, rng)
    away, looks = glances(truth, time, rng)
    yaw, pitch = gaze(shown, effects, time, rng)
    closed = blinks(person, shown, cues, time, rng)
    activation = coefficients(face.signal, Eyes(closed, yaw + away, pitch), person, truth, rng)
    head = head_pose(person, away, rng)
    lost = lost_frames(face.frames, face.sizes, looks, len(time), truth, rng)
    frames = reported(time, activation, head, lost, truth=truth, rng=rng)
    points = ratings(person, order, size, effects, truth, rng)
    events = _events(design, order, shown, cues, points, truth=truth, rng=rng)
    return Take(order[0].task, frames, events, start, person.head_present)


class _Face(NamedTuple):
    signal: np.ndarray  # (blend_shape, frame) coefficient units, before clipping
    frames: np.ndarray  # of large movements
    sizes: np.ndarray


def _face(
    person: Person, shown: Sequence[Shown], size: np.ndarray, time: np.ndarray, truth: Truth, rng: np.random.Generator
) -> _Face:  # fmt: skip
    """Resting level, wandering, spontaneous movements and reactions, and where movements are large."""
    signal = wandering(truth.column("memory_frames"), len(time), rng)
    signal += (truth.column("rest") + person.tone).astype(np.float32)[:, None]
    movements = spontaneous_movements(truth, time, rng)
    signal += movements.signal
    heights = np.zeros(len(shown), dtype=np.int64)
    for trial, item in enumerate(shown):
        latency = max(0.1, person.latency_s + truth.latency_trial_sd_s * rng.standard_normal())
        first, last = np.searchsorted(
            time, (item.onset_s, item.onset_s + item.duration_s + 6 * truth.release_s)
        )
        shape = course(time[first:last] - item.onset_s, item.duration_s, latency, truth)
        signal[:, first:last] += size[trial].astype(np.float32)[:, None] * shape.astype(np.float32)
        heights[trial] = np.searchsorted(time, item.onset_s + latency + 2 * truth.rise_s)
    signal *= truth.column("wander").astype(np.float32)[:, None]
    large = np.abs(size).mean(1) / LARGE_REACTION
    return _Face(
        signal,
        np.concatenate([movements.frames, heights]).clip(0, len(time) - 1),
        np.concatenate([movements.sizes, large]),
    )


def _schedule(
    design: Design, order: Sequence[Stimulus], rng: np.random.Generator
) -> tuple[list[Shown], list[float], float]:
    """What is shown when, the moments of the blink cues, and the length of the take; s."""
    shown, now = [], design.lead_s
    for stimulus in order:
        shown.append(Shown(stimulus.number, now, stimulus.duration_s))
        now += stimulus.duration_s + rng.uniform(*design.pause_s)
    end = shown[-1].onset_s + shown[-1].duration_s
    return shown, [*CUES_S, *(end + 1.0 + cue for cue in CUES_S)], end + design.lead_s


def _events(
    design: Design,
    order: Sequence[Stimulus],
    shown: Sequence[Shown],
    cues: Sequence[float],
    points: np.ndarray,
    *,
    truth: Truth,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The presentation's log; on the stimulus computer's clock, that clock runs differently and starts elsewhere."""
    trials = pd.DataFrame(
        {
            "onset": [item.onset_s for item in shown],
            "duration": [item.duration_s for item in shown],
            "trial_type": "stimulus",
            "stimulus_id": [stimulus.stimulus_id for stimulus in order],
            "rating_empathy": points.astype(np.float64),
        }
    )
    cued = pd.DataFrame({"onset": cues, "duration": 0.3, "trial_type": "blink"})
    table = pd.concat([trials, cued], ignore_index=True).sort_values("onset", ignore_index=True)
    drift, offset = rng.normal(0.0, truth.stimulus_clock_ppm_sd), rng.uniform(20.0, 400.0)
    if design.clock == "stimulus":
        table["onset"] = offset + table["onset"] * (1.0 + drift * 1e-6)
    table["onset"] = table["onset"].round(4)
    return table
