"""A small study with known structure, one fit of it for all tests that read a fit, and the check of agreement."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

SHAPES = ("mouthSmile", "mouthFrown", "browInnerUp")


def make_trials(participants=10, stimuli=12, shapes=SHAPES, seed=0, bins=1):
    """Trials with a valence effect of +.04 (smile), −.02 (frown) and 0 (brow), correlated persons and stimuli."""
    rng = np.random.default_rng(seed)
    effect = {"mouthSmile": 0.04, "mouthFrown": -0.02}
    person, stimulus = (
        column.ravel() for column in np.meshgrid(np.arange(participants), np.arange(stimuli), indexing="ij")
    )
    sign = np.where(stimulus % 2 == 0, -0.5, 0.5)
    tables = []
    for shape in shapes:
        level = rng.normal(0, 0.02, participants)
        answer = 0.6 * level + rng.normal(0, 0.012, participants)
        item = rng.normal(0, 0.006, stimuli)
        mean = 0.05 + (effect.get(shape, 0.0) + answer[person]) * sign + level[person] + item[stimulus]
        for number in range(bins):
            tables.append(
                pd.DataFrame(
                    {
                        "participant": [f"{p + 1:02d}" for p in person],
                        "session": "1",
                        "task": "met",
                        "run": "1",
                        "trial": stimulus.astype(np.int32) + 1,
                        "stimulus": [f"s{s:02d}" for s in stimulus],
                        "valence": np.where(sign < 0, "negative", "positive"),
                        "medium": "picture",
                        "blend_shape": shape,
                        "bin": np.int16(number),
                        "time": np.float32(number * 0.5 + 0.25),
                        "activation": (mean + rng.normal(0, 0.03, len(mean))).astype(np.float32),
                        "raw": np.float32(0.1),
                        "baseline": np.float32(0.1),
                        "peak": np.float32(0.2),
                        "n_frames": np.int32(30),
                        "valid": np.float32(1.0),
                        "excluded": "",
                        "tracker": "arkit",
                    }
                )
            )
    trials = pd.concat(tables, ignore_index=True)
    trials["excluded"] = trials["excluded"].astype("str")
    for name in ("participant", "session", "task", "run", "stimulus", "blend_shape", "medium", "tracker"):
        trials[name] = trials[name].astype("category")
    order = ["negative", "neutral", "positive"]
    trials["valence"] = pd.Categorical(trials["valence"], order, ordered=True)
    trials["medium"] = pd.Categorical(trials["medium"], ["picture", "film"], ordered=True)
    return trials


@pytest.fixture(scope="session")
def trials():
    return make_trials()


@pytest.fixture(scope="session")
def trials_maker():
    return make_trials


@pytest.fixture(scope="session")
def small_fit(trials):
    """The valence family on three shapes; one of them with other rows left out."""
    from mien.models import fit, valence

    data = trials.copy()
    mine = (data["blend_shape"] == "mouthFrown") & data["trial"].isin([3, 4])
    data.loc[mine, "excluded"] = "outlier"
    data.attrs["recipe_sha256"] = "ab" * 32
    return fit(valence(), data, draws=500, seed=3)


class Summary(NamedTuple):
    """What a posterior is compared by."""

    mean: float
    sd: float
    mcse: float


def summary_of(draws):
    """Mean, sd and Monte-Carlo error of (chain, draw)."""
    from arviz_stats.base import array_stats

    draws = np.asarray(draws, dtype=np.float64)
    return Summary(
        float(draws.mean()),
        float(draws.std(ddof=1)),
        float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean")),
    )


def disagreements(found, reference, sd_within=0.05):
    """Where two posteriors differ: means by more than 4 combined MCSE, or sds by more than 5 %.

    `found` and `reference` map names to Summary; the names of the reference are compared.
    """
    failures = []
    for name, wanted in reference.items():
        mine = found[name]
        allowed = 4 * np.hypot(mine.mcse, wanted.mcse)
        if not abs(mine.mean - wanted.mean) <= allowed:
            failures.append(f"mean of {name}: {mine.mean:.5g} against {wanted.mean:.5g} ± {allowed:.2g}")
        if wanted.sd > 0 and not abs(mine.sd / wanted.sd - 1) <= sd_within:
            failures.append(f"sd of {name}: {mine.sd:.5g} against {wanted.sd:.5g}")
    return failures


class Agreement(NamedTuple):
    Summary: type
    summary_of: object
    disagreements: object


@pytest.fixture(scope="session")
def agreement():
    return Agreement(Summary, summary_of, disagreements)
