"""Studies of the demo's size as Trials tables.

    make_study    32 persons, 24 pictures and 8 films, 34 shapes, trial means
    make_courses  32 persons, 52 pictures, 34 shapes, 12 bins of half a second; 3 % of the bins lost within trials

Scales are those of activation: a residual sd of .03, persons' levels .02. 3 % of the rows are excluded, other ones in
each shape (of courses: whole trials); a trial in 40 was lost in all of them.
"""

import numpy as np
import pandas as pd

from mien.study.blend_shapes import BILATERAL_NAMES
from mien.study.trials import MEDIA, VALENCES

__all__ = ["make_courses", "make_study"]

PERSONS, PICTURES, FILMS = 32, 12, 4  # stimuli of each valence
SIGMA, LOST, EXCLUDED = 0.03, 0.025, 0.03
STIMULI, BINS, WIDTH, RHO, HOLES = 52, 12, 0.5, 0.6, 0.03


def make_study(seed, shapes=BILATERAL_NAMES):
    """The trials and the participants table."""
    rng = np.random.default_rng(seed)
    kinds = [
        (v, m)
        for m, n in (("picture", PICTURES), ("film", FILMS))
        for v in ("negative", "positive")
        for _ in range(n)
    ]
    stimulus = np.tile(np.arange(len(kinds)), PERSONS)
    person = np.repeat(np.arange(PERSONS), len(kinds))
    x = np.array([-0.5 if v == "negative" else 0.5 for v, _ in kinds])[stimulus]
    film = np.array([-0.5 if m == "picture" else 0.5 for _, m in kinds])[stimulus]
    trait = rng.normal(26.0, 5.0, PERSONS)
    design = pd.DataFrame(
        {
            "participant": pd.Categorical.from_codes(person, [f"{p + 1:02d}" for p in range(PERSONS)]),
            "session": pd.Categorical(["1"] * len(person)),
            "task": pd.Categorical(["met"] * len(person)),
            "run": pd.Categorical(["1"] * len(person)),
            "trial": np.concatenate([rng.permutation(len(kinds)) + 1 for _ in range(PERSONS)]).astype(
                np.int32
            ),
            "stimulus": pd.Categorical.from_codes(stimulus, [f"s{s + 1:02d}" for s in range(len(kinds))]),
            "valence": pd.Categorical([kinds[s][0] for s in stimulus], VALENCES, ordered=True),
            "medium": pd.Categorical([kinds[s][1] for s in stimulus], MEDIA, ordered=True),
            "bin": np.int16(1),
            "time": np.float32(2.5),
            "n_frames": np.int32(300),
            "valid": np.float32(1.0),
            "tracker": pd.Categorical(["arkit"] * len(person)),
        }
    )
    lost = rng.random(len(person)) < LOST
    parts = [_shape(rng, design, name, (person, stimulus, x, film, trait), lost) for name in shapes]
    trials = pd.concat(parts, ignore_index=True)
    trials["blend_shape"] = pd.Categorical(trials["blend_shape"], list(shapes))
    trials["excluded"] = trials["excluded"].astype("str")
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{p + 1:02d}" for p in range(PERSONS)],
            "empathy": trait,
            "age": rng.integers(19, 60, PERSONS),
            "sex": rng.permutation(["F", "M"] * (PERSONS // 2)),
        }
    )
    return trials, people


def _shape(rng, design, name, columns, lost):
    person, stimulus, x, film, trait = columns
    z = (trait - trait.mean()) / trait.std()
    level, slope, medium, both = rng.normal(0, [[0.02], [0.012], [0.008], [0.008]], (4, PERSONS))
    item = rng.normal(0, 0.006, design["stimulus"].nunique())
    effects = rng.normal(0, [0.03, 0.01, 0.01, 0.004])
    mean = 0.05 + level[person] + (effects[0] + slope[person] + effects[3] * z[person]) * x
    mean += (effects[1] + medium[person]) * film + (effects[2] + both[person]) * x * film + item[stimulus]
    activation = mean + rng.normal(0, SIGMA, len(x)) * np.where(film > 0, 1.3, 1.0)
    baseline = rng.normal(0.1, 0.02, len(x))
    return design.assign(
        blend_shape=name,
        activation=activation.astype(np.float32),
        raw=(activation + baseline).astype(np.float32),
        baseline=baseline.astype(np.float32),
        peak=(activation + 0.1).astype(np.float32),
        excluded=np.where(lost, "tracking lost", np.where(rng.random(len(x)) < EXCLUDED, "outlier", "")),
    )


def make_courses(seed, shapes=BILATERAL_NAMES):
    """Time bins of pictures that rise to a plateau, later for some persons than for others."""
    rng = np.random.default_rng(seed)
    person, stimulus = np.repeat(np.arange(PERSONS), STIMULI), np.tile(np.arange(STIMULI), PERSONS)
    trial = np.concatenate([rng.permutation(STIMULI) + 1 for _ in range(PERSONS)])
    lost = rng.random(len(person)) < LOST
    hole = rng.random((len(person), BINS)) < HOLES
    rows = np.repeat(np.arange(len(person)), BINS)
    positive = stimulus % 2 == 1
    design = pd.DataFrame(
        {
            "participant": pd.Categorical.from_codes(person[rows], [f"{p + 1:02d}" for p in range(PERSONS)]),
            "session": pd.Categorical(["1"] * len(rows)),
            "task": pd.Categorical(["met"] * len(rows)),
            "run": pd.Categorical(["1"] * len(rows)),
            "trial": trial[rows].astype(np.int32),
            "stimulus": pd.Categorical.from_codes(stimulus[rows], [f"s{s + 1:02d}" for s in range(STIMULI)]),
            "valence": pd.Categorical(
                np.where(positive, "positive", "negative")[rows], VALENCES, ordered=True
            ),
            "medium": pd.Categorical(["picture"] * len(rows), MEDIA, ordered=True),
            "bin": np.tile(np.arange(1, BINS + 1, dtype=np.int16), len(person)),
            "time": np.tile((np.arange(BINS) + 0.5) * WIDTH, len(person)).astype(np.float32),
            "n_frames": np.int32(30),
            "valid": np.float32(1.0),
            "tracker": pd.Categorical(["arkit"] * len(rows)),
        }
    )
    parts = []
    for name in shapes:
        activation = _courses(rng, person, stimulus, positive, trial).ravel()
        excluded = lost | (rng.random(len(person)) < EXCLUDED)
        baseline = rng.normal(0.1, 0.02, len(person))[rows]
        parts.append(
            design.assign(
                blend_shape=name,
                activation=activation.astype(np.float32),
                raw=(activation + baseline).astype(np.float32),
                baseline=baseline.astype(np.float32),
                peak=(activation + 0.1).astype(np.float32),
                excluded=np.where(excluded[rows], "outlier", np.where(hole.ravel(), "tracking lost", "")),
            )
        )
    trials = pd.concat(parts, ignore_index=True)
    trials["blend_shape"] = pd.Categorical(trials["blend_shape"], list(shapes))
    trials["excluded"] = trials["excluded"].astype("str")
    return trials, None


def _courses(rng, person, stimulus, positive, trial):
    """(trial, bin) of one shape."""
    x, late = np.where(positive, 0.5, -0.5), (trial - trial.mean()) / trial.std()
    level, slope, pace = rng.normal(0, [[0.02], [0.012], [0.3]], (3, PERSONS))
    item = rng.normal(0, 0.006, STIMULI)
    size = 0.03 * rng.standard_t(4) / np.sqrt(2.0)
    time = (np.arange(BINS) + 0.5) * WIDTH
    rise = 1.0 / (1.0 + np.exp(-2.0 * (time - 1.5 - pace[person, None])))
    noise = np.empty((len(person), BINS))
    noise[:, 0] = rng.normal(0, SIGMA, len(person))
    for k in range(1, BINS):
        noise[:, k] = RHO * noise[:, k - 1] + rng.normal(0, SIGMA * np.sqrt(1 - RHO**2), len(person))
    whole = rng.normal(0, 0.02, len(person))  # what a trial's bins share, the baseline's error among it
    mean = (level[person] + item[stimulus] + whole - 0.004 * late)[:, None]
    return mean + (size * (1 - 0.1 * late) + slope[person])[:, None] * x[:, None] * rise + noise
