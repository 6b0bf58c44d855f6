"""Simulated Trials without files: the generator and data_prep, nothing in between.

The same persons as in a raw study of this seed, so that a table made here differs from one made by
`mien import` and `mien prep` only by what the text of a file rounds away.
"""

from typing import NamedTuple

import pandas as pd
from joblib import Parallel, delayed

from mien.data_prep.recipe import Recipe
from mien.data_prep.trials import finish, prepare_recording
from mien.simulation.design import Design, stimuli_table
from mien.simulation.people import StimulusEffects
from mien.simulation.recordings import SimulatedPerson, participant_of, stimulus_effects_of
from mien.simulation.truth import Truth, default_truth
from mien.study.labels import RecordingId

__all__ = ["SimulatedTrials", "person_trials", "simulate_trials"]


class SimulatedTrials(NamedTuple):
    """A prepared study."""

    trials: pd.DataFrame
    participants: (
        pd.DataFrame
    )  # participant_id (sub-01), age, sex, group, empathy_affective, empathy_cognitive


def simulate_trials(
    design: Design,
    truth: Truth | None = None,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    workers: int = 1,
) -> SimulatedTrials:
    """The Trials table and the participants of the study with this seed.

    Parameters
    ----------
    design, truth : what is shown, and the latent numbers (default: default_truth()).
    seed : the study, as in write_raw_study.
    recipe : default Recipe().
    workers : processes.
    """
    truth, recipe = truth or default_truth(), recipe or Recipe()
    effects = stimulus_effects_of(design, truth, seed)
    found = Parallel(n_jobs=workers)(
        delayed(_simulated_person)(design, truth, effects, recipe, seed, number)
        for number in range(design.participants)
    )
    tables, traits = zip(*found, strict=True)
    trials, _ = finish(pd.concat(tables, ignore_index=True), recipe)
    return SimulatedTrials(trials, pd.DataFrame(traits))


def _simulated_person(
    design: Design, truth: Truth, effects: StimulusEffects, recipe: Recipe, seed: int, number: int
) -> tuple[pd.DataFrame, dict[str, float | str]]:
    person = participant_of(design, truth, effects, seed=seed, participant=number)
    label = f"{number + 1:02d}"
    table = person_trials(person, stimuli_table(design), recipe, label)
    return table, {"participant_id": f"sub-{label}", **person.traits}


def person_trials(
    person: SimulatedPerson, stimuli: pd.DataFrame, recipe: Recipe, participant: str
) -> pd.DataFrame:
    """All takes of one person, prepared but not finished."""
    tables = []
    for take in person.takes:
        name = RecordingId(participant, "1", take.task, "1")
        events = take.events
        tables.append(
            prepare_recording(
                take.recording(), events, stimuli, recipe, recording_id=name, aligned=True
            ).trials
        )
    return pd.concat(tables, ignore_index=True)
