"""Simulated data of every benchmark of the engine: designs that stay, outcomes that are drawn anew.

Scales are those of activation (0-1): a residual sd of .03, a person's level .02, a valence effect of .04. All
functions take a `numpy.random.Generator`; the seeds stand where they are called, spawned from `SEED`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

SEED = 20261123
SLOPES = "activation ~ valence + (valence | participant) + (1 | stimulus)"
SLOPES_INDEPENDENT = "activation ~ valence + (valence || participant) + (1 | stimulus)"
JOINT = (
    "activation ~ valence + (valence || blend_shape) + (valence || participant) "
    "+ (valence || participant:blend_shape) + (1 | stimulus) + (1 | stimulus:blend_shape)"
)


class Truth(NamedTuple):
    """Of one shape; sds in units of activation."""

    intercept: float = 0.05
    valence: float = 0.04
    sd_level: float = 0.02
    sd_valence: float = 0.012
    corr: float = 0.5
    sd_stimulus: float = 0.006
    sigma: float = 0.03


class Design(NamedTuple):
    """Who saw what: codes of the kept rows."""

    participants: int
    stimuli: int
    person: np.ndarray
    stimulus: np.ndarray

    @property
    def sign(self):
        return np.where(self.stimulus % 2 == 0, -0.5, 0.5)

    def frame(self):
        """The columns of the design as a person would pass them; `activation` is to be filled in."""
        return pd.DataFrame(
            {
                "participant": categories("p", self.person, self.participants),
                "stimulus": categories("s", self.stimulus, self.stimuli),
                "valence": pd.Categorical.from_codes(
                    (self.stimulus % 2).astype(np.int8), ["negative", "positive"], ordered=True
                ),
            }
        )


def rng_of(*key):
    """A generator for one place of one benchmark."""
    return np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=key))


def categories(prefix, codes, count):
    width = len(str(count))
    return pd.Categorical.from_codes(codes, [f"{prefix}{code + 1:0{width}d}" for code in range(count)])


def make_design(rng, participants=32, stimuli=52, missing=0.1):
    """Everybody with every stimulus, less a share of the rows at random."""
    person, stimulus = (part.ravel() for part in np.indices((participants, stimuli)))
    kept = np.sort(rng.permutation(len(person))[: round(len(person) * (1 - missing))])
    return Design(participants, stimuli, person[kept], stimulus[kept])


def draw_activation(design, rng, truth=Truth()):  # noqa: B008  (a NamedTuple does not change)
    """One outcome on a design: correlated levels and slopes of persons, stimuli, independent residuals."""
    standard = rng.standard_normal((2, design.participants))
    level = truth.sd_level * standard[0]
    slope = truth.sd_valence * (truth.corr * standard[0] + np.sqrt(1 - truth.corr**2) * standard[1])
    item = rng.normal(0, 1, design.stimuli) * truth.sd_stimulus
    mean = truth.intercept + level[design.person] + item[design.stimulus]
    mean += (truth.valence + slope[design.person]) * design.sign
    return mean + rng.normal(0, truth.sigma, len(mean))


def slopes_data(rng, design, truth=Truth()):  # noqa: B008
    """(order of the rows, new y in the design's own order): every repetition gets both anew."""
    return rng.permutation(len(design.person)), draw_activation(design, rng, truth)


def paper_sized_truth(rng):
    """Anything a paper-size study may be: slopes and stimuli from nothing, correlations to ±.95."""
    sigma = 0.03
    return Truth(
        sd_level=sigma * rng.uniform(0, 1),
        sd_valence=sigma * rng.uniform(0, 0.4) * (rng.random() > 0.1),
        corr=rng.uniform(-0.95, 0.95),
        sd_stimulus=sigma * rng.uniform(0, 0.4) * (rng.random() > 0.1),
        sigma=sigma,
    )


def many_shapes(rng, names, excluded=0.03):
    """A Trials-like table: the shapes on one design, other rows excluded in each."""
    design = make_design(rng, missing=0.1)
    frame = design.frame()
    frame["trial"] = np.arange(len(frame), dtype=np.int32)
    parts = []
    for name in names:
        part = frame.assign(blend_shape=name, activation=draw_activation(design, rng))
        part["excluded"] = np.where(rng.random(len(part)) < excluded, "at random", "")
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    whole["blend_shape"] = pd.Categorical(whole["blend_shape"], names)
    return whole


class JointTruth(NamedTuple):
    """Sds of the joint model on the scale of its outcome, sigma about 0.8."""

    sd_shape: tuple[float, float] = (0.29, 0.17)
    sd_participant: tuple[float, float] = (0.05, 0.02)
    sd_participant_shape: tuple[float, float] = (0.5, 0.2)
    sd_stimulus: float = 0.05
    sd_stimulus_shape: float = 0.14
    sigma: float = 0.8


def joint_data(rng, *, shared, missing=0.1, shapes=52, participants=32, stimuli=52, truth=JointTruth()):  # noqa: B008
    """All shapes in one table; missing are whole trials (`shared`) or single rows."""
    shape, person, stimulus = (part.ravel() for part in np.indices((shapes, participants, stimuli)))
    sign = np.where(stimulus % 2 == 0, -0.5, 0.5)

    def effect(sds, *sizes):
        return [rng.normal(0, sd, sizes) for sd in sds]

    own = effect(truth.sd_shape, shapes)
    persons = effect(truth.sd_participant, participants)
    both = effect(truth.sd_participant_shape, participants, shapes)
    level = own[0][shape] + persons[0][person] + both[0][person, shape]
    slope = 0.2 + own[1][shape] + persons[1][person] + both[1][person, shape]
    level += effect([truth.sd_stimulus], stimuli)[0][stimulus]
    level += effect([truth.sd_stimulus_shape], stimuli, shapes)[0][stimulus, shape]
    y = level + slope * sign + rng.normal(0, truth.sigma, len(sign))
    if shared:
        kept = (rng.random((participants, stimuli)) >= missing)[person, stimulus]
    else:
        kept = rng.random(len(y)) >= missing
    frame = pd.DataFrame(
        {
            "activation": y,
            "blend_shape": categories("shape", shape, shapes),
            "participant": categories("p", person, participants),
            "stimulus": categories("s", stimulus, stimuli),
            "valence": np.where(sign < 0, "negative", "positive"),
        }
    )
    frame["valence"] = pd.Categorical(frame["valence"], ["negative", "positive"], ordered=True)
    return frame[kept].reset_index(drop=True)
