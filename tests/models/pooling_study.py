"""Studies for tests of pooling: 34 shapes of which 4 react, with errors that persons, stimuli and trials share.

`simulate` gives rows; `known_fit` a fit whose standard deviations are the true ones, so that a study takes a tenth of
a second: its coefficients are drawn from their exact posterior under a flat prior. `true_covariance` is A C A'.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.design import Block, Design
from mien.models.engines.problem import Outcome
from mien.models.shape_errors import ShapeRows
from mien.priors import Flat, ResolvedPrior
from mien.study.blend_shapes import NAMES, SET_APART

SHAPES = tuple(name for name in NAMES if name not in SET_APART)[:34]
REACTING = {"mouthSmileLeft": 0.45, "mouthFrownLeft": -0.35, "browDownLeft": -0.3, "mouthPressLeft": 0.3}
PRIORS = {name: ResolvedPrior(Flat(), "user", "") for name in ("Intercept", "valence")}
COEFFICIENTS = ("Intercept", "valence")


class Study(NamedTuple):
    """True values: effects and residual sds (shape,), covariances across shapes in units of residual sds.

    persons : (2 · shape, 2 · shape), level and slope of each shape in turn; stimuli, trials : (shape, shape).
    """

    shapes: tuple[str, ...]
    effect: np.ndarray
    sigma: np.ndarray
    persons: np.ndarray
    stimuli: np.ndarray
    trials: np.ndarray
    participants: int
    items: int

    @property
    def person(self):
        return np.repeat(np.arange(self.participants), self.items)

    @property
    def item(self):
        return np.tile(np.arange(self.items), self.participants)

    @property
    def x(self):
        return np.where(self.item % 2 == 0, -0.5, 0.5)


def correlated(shapes, shared, rng, factors=2):
    """Correlations with mean `shared`, and a few factors on top."""
    loading = rng.normal(0, 0.35, (shapes, factors))
    own = np.full(shapes, 1.0 - shared)
    covariance = shared + loading @ loading.T + np.diag(own)
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)


def make_study(*, shapes=SHAPES, participants=32, items=40, shared=0.25, seed=0):
    """Shapes differ in residual sd; the effects of `REACTING` are in residual sds."""
    rng = np.random.default_rng(seed)
    count = len(shapes)
    sigma = np.exp(rng.uniform(np.log(0.01), np.log(0.1), count))
    effect = np.array([REACTING.get(name, 0.0) for name in shapes]) * sigma
    sds = np.tile([0.5, 0.3], count)
    persons = correlated(2 * count, shared, rng) * np.outer(sds, sds)
    stimuli = correlated(count, shared, rng) * 0.15**2
    trials = correlated(count, shared, rng)
    return Study(tuple(shapes), effect, sigma, persons, stimuli, trials, participants, items)


def simulate(study, rng):
    """Values (row, shape)."""
    count = len(study.shapes)
    persons = rng.multivariate_normal(np.zeros(2 * count), study.persons, study.participants)
    persons = persons.reshape(study.participants, count, 2)
    stimuli = rng.multivariate_normal(np.zeros(count), study.stimuli, study.items)
    trials = rng.multivariate_normal(np.zeros(count), study.trials, study.participants * study.items)
    x = study.x[:, None]
    values = persons[study.person, :, 0] + x * persons[study.person, :, 1] + stimuli[study.item] + trials
    return values * study.sigma + x * study.effect


def outcomes(study, values, keep=None):
    """One ShapeRows a shape; `keep` lists each shape's rows."""
    found = []
    for place, name in enumerate(study.shapes):
        at = np.arange(len(values)) if keep is None else keep[place]
        columns = np.column_stack([np.ones(len(at)), study.x[at]])
        labels = tuple(map(str, range(study.participants))), tuple(map(str, range(study.items)))
        blocks = (
            Block("participant", ("1", "valence"), columns, study.person[at], labels[0]),
            Block("stimulus", ("1",), columns[:, :1], study.item[at], labels[1]),
        )
        design = Design(COEFFICIENTS, columns, blocks, {})
        found.append(ShapeRows(Outcome(name, design, values[at, place], np.ones(len(at)), PRIORS), at))
    return found


def cross_covariance(study, s, t):
    """(row, row) covariance of two shapes' values."""
    same_person = study.person[:, None] == study.person
    mine = study.persons.reshape(len(study.shapes), 2, len(study.shapes), 2)[s, :, t]
    columns = np.column_stack([np.ones(len(study.x)), study.x])
    shared = same_person * (columns @ mine @ columns.T)
    shared = shared + (study.item[:, None] == study.item) * study.stimuli[s, t]
    return (shared + np.eye(len(study.x)) * study.trials[s, t]) * study.sigma[s] * study.sigma[t]


def weights_of(study, keep=None):
    """A of every shape: estimates are A y, by generalised least squares at the true values."""
    found = []
    for place in range(len(study.shapes)):
        at = np.arange(len(study.x)) if keep is None else keep[place]
        columns = np.column_stack([np.ones(len(at)), study.x[at]])
        solved = np.linalg.solve(cross_covariance(study, place, place)[np.ix_(at, at)], columns)
        found.append(np.linalg.solve(columns.T @ solved, solved.T))
    return found


def true_covariance(study, weights, keep=None):
    """(shape, shape) covariance of the errors of the valence effects."""
    count = len(study.shapes)
    result = np.empty((count, count))
    for s in range(count):
        for t in range(s, count):
            both = cross_covariance(study, s, t)
            if keep is not None:
                both = both[np.ix_(keep[s], keep[t])]
            result[s, t] = result[t, s] = (weights[s] @ both @ weights[t].T)[1, 1]
    return result


def known_fit(study, values, weights, variances, rng, draws=400):
    """A DataTree with the true standard deviations, and coefficients from their posterior; values of each shape."""
    count = len(study.shapes)
    dims = ("chain", "draw", "blend_shape")
    scale = np.repeat(study.sigma, 2) ** 2
    persons = (study.persons * np.sqrt(np.outer(scale, scale))).reshape(count, 2, count, 2)
    own = persons[np.arange(count), :, np.arange(count)]
    sds = np.sqrt(np.diagonal(own, axis1=1, axis2=2))
    ones = np.ones((1, draws, 1))
    variables = {
        "1|participant_sigma": (dims, ones * sds[:, 0]),
        "valence|participant_sigma": (dims, ones * sds[:, 1]),
        "participant_corr": (
            (*dims, "participant_term", "participant_term_bis"),
            ones[..., None, None] * own / (sds[:, :, None] * sds[:, None]),
        ),
        "1|stimulus_sigma": (dims, ones * np.sqrt(np.diag(study.stimuli)) * study.sigma),
        "sigma": (dims, ones * study.sigma),
    }
    means = np.stack([own @ mine for own, mine in zip(weights, values, strict=True)])
    noise = np.stack([rng.multivariate_normal(np.zeros(2), variance, draws) for variance in variances])
    noise = noise - noise.mean(axis=1, keepdims=True)
    for place, name in enumerate(COEFFICIENTS):
        variables[name] = (dims, (means[:, None, place] + noise[:, :, place]).T[None])
    posterior = xr.Dataset(variables, coords={"blend_shape": list(study.shapes)})
    tree = xr.DataTree.from_dict({"posterior": posterior})
    tree.attrs = {"seed": 0, "diagnostics": "passed", "diagnostics_detail": '{"failed": {}}'}
    return tree


def posterior_variances(study, weights):
    """(shape, coefficient, coefficient) of the estimates' errors."""
    return [own @ cross_covariance(study, place, place) @ own.T for place, own in enumerate(weights)]


def trials_table(study, values):
    """The same as a table that `mien.fit` takes."""
    rows = len(values)
    base = pd.DataFrame(
        {
            "participant": pd.Categorical(study.person.astype("str")),
            "trial": study.item.astype(np.int32) + 1,
            "stimulus": pd.Categorical(study.item.astype("str")),
            "valence": pd.Categorical(np.where(study.x < 0, "negative", "positive")),
        }
    )
    tables = [base.assign(blend_shape=name, activation=values[:, k]) for k, name in enumerate(study.shapes)]
    assert len(base) == rows
    return pd.concat(tables, ignore_index=True).astype({"blend_shape": "category"})
