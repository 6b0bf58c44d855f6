"""Simulated studies with films and pictures, traits, ratings and known effects; truth in `Truth`."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from mien.study.trials import MEDIA, VALENCES


class Truth(NamedTuple):
    """Effects and standard deviations in coefficient units; sigma of pictures, films scatter `films` times as much."""

    intercept: float = 0.05
    valence: float = 0.04
    medium: float = 0.01
    valence_medium: float = 0.02
    trait: float = 0.0
    valence_trait: float = 0.0
    rating: float = 0.0
    condition: float = 0.0
    valence_condition: float = 0.0
    session: float = 0.0
    sd_level: float = 0.02
    sd_valence: float = 0.012
    sd_medium: float = 0.008
    sd_valence_medium: float = 0.008
    sd_condition: float = 0.0
    sd_stimulus: float = 0.006
    sd_stimulus_condition: float = 0.0
    sigma: float = 0.03
    films: float = 1.4


class World(NamedTuple):
    trials: pd.DataFrame
    participants: pd.DataFrame
    truth: Truth


SIGN = {"negative": -0.5, "neutral": 0.0, "positive": 0.5}


def make_world(
    truth=None, *, persons=24, pictures=8, films=4, valences=("negative", "positive"), sessions=1, seed=0, replicate=0,
    shape="mouthSmile",
):  # fmt: skip
    """One shape; every person sees every stimulus once a session, in an order of their own.

    What is shown, who the persons are and how they rate follows `seed`; their faces follow `replicate` too. Condition
    alternates between the trials of a person and stimulus; `rating` is a person's number by trial.
    """
    truth, rng = truth or Truth(), np.random.default_rng(seed)
    faces = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(replicate,)))
    stimuli = pd.DataFrame(
        [
            (f"{medium}{valence}{number}", valence, medium)
            for medium, count in (("picture", pictures), ("film", films))
            for valence in valences
            for number in range(count)
        ],
        columns=["stimulus", "valence", "medium"],
    )
    person, session, item = (part.ravel() for part in np.indices((persons, sessions, len(stimuli))))
    valence, medium = (stimuli[name].to_numpy()[item] for name in ("valence", "medium"))
    x = np.array([SIGN[level] for level in valence])
    film = np.where(medium == "film", 0.5, -0.5)
    question = np.where((person + item + session) % 2 == 0, -0.5, 0.5)
    later = session - (sessions - 1) / 2
    trait = rng.normal(26.0, 5.0, persons)
    z = (trait - trait.mean()) / trait.std(ddof=1)
    own_rating, of_item = rng.normal(0.0, 1.0, persons), rng.normal(0.0, 1.0, len(stimuli))
    particular = rng.normal(0.0, 1.5, len(person))
    rating = 5.0 + x + own_rating[person] + of_item[item] + particular
    own = {
        name: faces.normal(0.0, 1.0, persons)[person]
        for name in ("level", "valence", "medium", "valence_medium", "condition", "valence_condition")
    }
    stimulus, other = faces.normal(0.0, 1.0, (2, len(stimuli)))[:, item]
    mean = (
        truth.intercept + truth.sd_level * own["level"]
        + (truth.valence + truth.valence_trait * z[person] + truth.sd_valence * own["valence"]) * x
        + (truth.medium + truth.sd_medium * own["medium"]) * film
        + (truth.valence_medium + truth.sd_valence_medium * own["valence_medium"]) * x * film
        + (truth.condition + truth.sd_condition * own["condition"] + truth.sd_stimulus_condition * other) * question
        + (truth.valence_condition + truth.sd_condition * own["valence_condition"]) * x * question
        + truth.trait * z[person] + truth.rating * particular + truth.session * x * later
        + truth.sd_stimulus * stimulus
    )  # fmt: skip
    sigma = np.where(medium == "film", truth.films, 1.0) * truth.sigma
    activation = mean + faces.normal(0.0, 1.0, len(mean)) * sigma
    order = rng.random(len(person))
    trial = pd.Series(order).groupby([person, session]).rank().to_numpy().astype(np.int32)
    baseline = 0.1 + rng.normal(0, 0.02, len(person))
    table = pd.DataFrame(
        {
            "participant": [f"{number + 1:02d}" for number in person],
            "session": (session + 1).astype(str),
            "task": "met",
            "run": "1",
            "trial": trial,
            "stimulus": stimuli["stimulus"].to_numpy()[item],
            "valence": valence,
            "medium": medium,
            "blend_shape": shape,
            "bin": np.int16(1),
            "time": np.float32(0.25),
            "activation": activation,
            "raw": activation + baseline,
            "baseline": baseline,
            "peak": 0.2,
            "n_frames": np.int32(30),
            "valid": np.float32(1.0),
            "excluded": "",
            "tracker": "arkit",
            "rating": np.round(rating, 3),
            "question": np.where(question < 0, "see", "feel"),
        }
    )
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{number + 1:02d}" for number in range(persons)],
            "empathy": trait,
            "age": rng.integers(19, 60, persons),
            "sex": np.where(rng.permutation(persons) % 2 == 0, "F", "M"),
            "group": np.where(rng.permutation(persons) % 2 == 0, "control", "patient"),
        }
    )
    return World(as_trials(table), people, truth)


def make_replicates(count, truth=None, **design):
    """Many studies of one design, each with faces of its own, as the shapes of one table."""
    worlds = [
        make_world(truth, replicate=number, shape=f"r{number:03d}", **design) for number in range(count)
    ]
    trials = pd.concat([one.trials.astype({"blend_shape": "str"}) for one in worlds], ignore_index=True)
    return World(trials.assign(blend_shape=trials["blend_shape"].astype("category")), *worlds[0][1:])


def as_trials(table):
    """The types of a Trials table."""
    for name in ("participant", "session", "task", "run", "stimulus", "blend_shape", "tracker", "question"):
        if name in table:
            table[name] = table[name].astype("category")
    table["valence"] = pd.Categorical(table["valence"], VALENCES, ordered=True)
    table["medium"] = pd.Categorical(table["medium"], MEDIA, ordered=True)
    for name in ("activation", "raw", "baseline", "peak"):
        table[name] = table[name].astype("float32")
    table["excluded"] = table["excluded"].astype("str")
    return table


def with_bins(trials, seconds=None):
    """Half-second bins of the same activation: 2 s of a picture, 4 s of a film, unless told by medium."""
    seconds = seconds or {"picture": 2.0, "film": 4.0}
    count = (trials["medium"].astype(str).map(seconds) / 0.5).astype(int).to_numpy()
    long = trials.loc[np.repeat(trials.index.to_numpy(), count)].reset_index(drop=True)
    number = np.arange(len(long)) - np.repeat(np.cumsum(count) - count, count)
    long["bin"] = (number + 1).astype(np.int16)
    long["time"] = (number * 0.5 + 0.25).astype(np.float32)
    return long


@pytest.fixture(scope="session")
def truth_type():
    return Truth


@pytest.fixture(scope="session")
def world_maker():
    return make_world


@pytest.fixture(scope="session")
def replicates_maker():
    return make_replicates


@pytest.fixture(scope="session")
def binned():
    return with_bins


@pytest.fixture(scope="session")
def world():
    return make_world(Truth(valence_trait=0.008, rating=0.004, sd_condition=0.006, condition=0.01), seed=3)
