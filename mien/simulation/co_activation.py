"""Trials with known factors: shapes that move together within persons, and persons who differ together.

    y_pt = B x_pt + (Λ_b g_p + ζ_p) + (Λ_s h_s + ξ_s) + (Λ_w f_pt + ε_pt)        activation = location + scale · y
    f, g, h ~ N(0, I);  ε ~ N(0, Ψ_w), ζ ~ N(0, Ψ_b), ξ ~ N(0, Ψ_s),  Ψ diagonal variances

y is standardised: in a truth of `draw_truth` a shape's sd within persons is 1. Effects of stimuli (s) are left out
unless they are asked for. What x holds follows from the truth's terms: "Intercept", "valence" (±½ by stimulus), and
any other name is a z-score of the person.

| on paper | in code | dims |
|---|---|---|
| Λ_w, Ψ_w, Σ_w | loading, uniqueness, within_covariance | (shape, factor), (shape,), (shape, shape) |
| Λ_b, Ψ_b, Σ_b | between_loading, between_uniqueness, between_covariance | (shape, between_factor), … |
| B | coefficient | (shape, term) |
| f, g | scores, between_scores | (trial, factor), (participant, between_factor) |
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mien.study.blend_shapes import BILATERAL_NAMES, SET_APART
from mien.study.errors import SpecError
from mien.study.trials import MEDIA, VALENCES, validate_trials

__all__ = [
    "FactorData", "FactorTruth", "SimulatedFactors", "draw_truth", "factor_trials", "prior_truth", "simulate_factors",
    "simulate_values",
]  # fmt: skip

# Ranges that truths are drawn from, in within-person sds. Communalities and sds of persons are those of the
# prototypes' faces; scales are the sds of prepared activations within persons.
COMMUNALITY = (0.2, 0.9)
BETWEEN_SD = (0.3, 0.7)
STIMULUS_SD = (0.2, 0.5)
SCALE = (0.01, 0.1)  # coefficient units
LOCATION = (0.0, 0.1)  # coefficient units
COEFFICIENT_SD = {"Intercept": 0.5, "valence": 0.3}
PERSON_COEFFICIENT_SD = 0.2  # of z-scores of persons
ON_TWO = 0.25  # share of shapes on a second factor
SECOND = (0.4, 0.8)  # a second loading, relative to the main one
ELSEWHERE_SD = 0.05  # all other loadings, relative to the main one
NEGATIVE = 0.15  # share of loadings that are negative


class FactorTruth(NamedTuple):
    """What trials are drawn from; everything but `location` and `scale` is in standardised units.

    shapes, terms : names. loading : (shape, factor); uniqueness : (shape,) variances; the same between persons and
    between stimuli (zeros where stimuli have no effects). coefficient : (shape, term). location, scale : (shape,)
    coefficient units.
    """

    shapes: tuple[str, ...]
    terms: tuple[str, ...]
    loading: np.ndarray
    uniqueness: np.ndarray
    between_loading: np.ndarray
    between_uniqueness: np.ndarray
    stimulus_loading: np.ndarray
    stimulus_uniqueness: np.ndarray
    coefficient: np.ndarray
    location: np.ndarray
    scale: np.ndarray

    @property
    def within_covariance(self) -> np.ndarray:
        """Σ_w, (shape, shape)."""
        return _covariance(self.loading, self.uniqueness)

    @property
    def between_covariance(self) -> np.ndarray:
        """Σ_b, (shape, shape)."""
        return _covariance(self.between_loading, self.between_uniqueness)

    @property
    def stimulus_covariance(self) -> np.ndarray:
        """Σ_s, (shape, shape), zeros where stimuli have no effects."""
        return _covariance(self.stimulus_loading, self.stimulus_uniqueness)

    @property
    def communality(self) -> np.ndarray:
        """(shape,) share of the within variance that the factors carry, 0–1."""
        return _communality(self.loading, self.uniqueness)

    @property
    def between_communality(self) -> np.ndarray:
        """(shape,) share of the between variance that the between factors carry, 0–1."""
        return _communality(self.between_loading, self.between_uniqueness)

    @property
    def within_correlation(self) -> np.ndarray:
        """(shape, shape)."""
        return _correlation(self.within_covariance)

    @property
    def between_correlation(self) -> np.ndarray:
        """(shape, shape)."""
        return _correlation(self.between_covariance)

    @property
    def stimulus_correlation(self) -> np.ndarray:
        """(shape, shape); nan where stimuli have no effects."""
        with np.errstate(invalid="ignore"):
            return _correlation(self.stimulus_covariance)


class FactorData(NamedTuple):
    """Wide arrays, and what they were made of.

    standardised : (trial, shape) y; design : (trial, term); participant, stimulus : (trial,) codes.
    covariate : (participant, term), z-scores of persons, 0 for other terms.
    scores : (trial, factor) f; between_scores : (participant, between_factor) g; person_effects : (participant,
    shape) Λ_b g + ζ; stimulus_effects : (stimulus, shape) Λ_s h + ξ.
    """

    truth: FactorTruth
    standardised: np.ndarray
    design: np.ndarray
    participant: np.ndarray
    stimulus: np.ndarray
    covariate: np.ndarray
    scores: np.ndarray
    between_scores: np.ndarray
    person_effects: np.ndarray
    stimulus_effects: np.ndarray

    @property
    def activation(self) -> np.ndarray:
        """(trial, shape) in coefficient units."""
        return self.truth.location + self.truth.scale * self.standardised


class SimulatedFactors(NamedTuple):
    """trials : a Trials table; participants : participant_id and the z-scores; data : the same rows, wide."""

    trials: pd.DataFrame
    participants: pd.DataFrame
    data: FactorData


def draw_truth(
    rng: np.random.Generator,
    *,
    shapes: int | Sequence[str] = BILATERAL_NAMES,
    factors: int = 5,
    between: int = 2,
    stimulus: int = 0,
    terms: Sequence[str] = ("Intercept",),
) -> FactorTruth:
    """A truth with simple structure: every shape mainly on one factor, a quarter of them on a second one too.

    Parameters
    ----------
    shapes : names, or how many: gaze and blinks are the last to be taken.
    factors, between, stimulus : numbers of factors; with stimulus=0 stimuli have no effects at all.
    terms : "Intercept" first.

    Raises
    ------
    SpecError
        For terms without an Intercept, or more shapes than there are.
    """
    names, terms = _shape_names(shapes), _checked_terms(terms)
    size = len(names)
    loading, uniqueness = _simple_structure(rng, size, factors)
    levels = []
    for count, sds in ((between, BETWEEN_SD), (stimulus, STIMULUS_SD)):
        part, rest = _simple_structure(rng, size, count)
        sd = rng.uniform(*sds, size=size)
        levels.append((part * sd[:, None], rest * sd**2))
    if not stimulus:
        levels[1] = np.zeros((size, 0)), np.zeros(size)
    (between_loading, between_uniqueness), (stimulus_loading, stimulus_uniqueness) = levels
    return FactorTruth(
        names, terms, loading, uniqueness, between_loading, between_uniqueness, stimulus_loading, stimulus_uniqueness,
        _coefficients(rng, size, terms), _location(rng, size), _scale(rng, size),
    )  # fmt: skip


def prior_truth(
    rng: np.random.Generator,
    *,
    shapes: int | Sequence[str],
    factors: int,
    between: int,
    uniqueness: tuple[float, float],
    between_uniqueness: tuple[float, float],
    loading_sd: float | tuple[float, float] = 0.5,
    terms: Sequence[str] = ("Intercept",),
) -> FactorTruth:
    """A truth from the model's priors, for calibration.

    Coefficients have a flat prior there, and are integrated out: they are drawn as in `draw_truth`.

    Parameters
    ----------
    uniqueness, between_uniqueness : mean and sd of the variances' logarithm.
    loading_sd : sd of all loadings, or that within and that between.

    Raises
    ------
    SpecError
        As in `draw_truth`.
    """
    names, terms = _shape_names(shapes), _checked_terms(terms)
    size = len(names)
    within_sd, between_sd = np.broadcast_to(loading_sd, 2)
    return FactorTruth(
        names, terms, within_sd * rng.normal(size=(size, factors)), rng.lognormal(*uniqueness, size=size),
        between_sd * rng.normal(size=(size, between)), rng.lognormal(*between_uniqueness, size=size),
        np.zeros((size, 0)), np.zeros(size), _coefficients(rng, size, terms), _location(rng, size), _scale(rng, size),
    )  # fmt: skip


def simulate_values(
    truth: FactorTruth,
    rng: np.random.Generator,
    *,
    participants: int = 32,
    stimuli: int = 52,
    missing: float = 0.0,
) -> FactorData:
    """Every participant with every stimulus, as wide arrays.

    Parameters
    ----------
    missing : share of whole trials that are missing, whichever, 0–1.
    """
    covariate = _covariates(truth.terms, participants, rng)
    person, item = (
        part.ravel() for part in np.meshgrid(np.arange(participants), np.arange(stimuli), indexing="ij")
    )
    if missing:
        kept = np.sort(rng.permutation(len(person))[: round(len(person) * (1.0 - missing))])
        person, item = person[kept], item[kept]
    design = covariate[person]
    if "Intercept" in truth.terms:
        design[:, truth.terms.index("Intercept")] = 1.0
    if "valence" in truth.terms:
        design[:, truth.terms.index("valence")] = _valence(item)

    scores, values = _drawn(truth.loading, truth.uniqueness, len(person), rng)
    between_scores, person_effects = _drawn(
        truth.between_loading, truth.between_uniqueness, participants, rng
    )
    _, stimulus_effects = _drawn(truth.stimulus_loading, truth.stimulus_uniqueness, stimuli, rng)
    values += design @ truth.coefficient.T
    values += person_effects[person]
    values += stimulus_effects[item]
    return FactorData(
        truth, values, design, person, item, covariate, scores, between_scores, person_effects, stimulus_effects
    )  # fmt: skip


def simulate_factors(
    truth: FactorTruth,
    rng: np.random.Generator,
    *,
    participants: int = 32,
    stimuli: int = 52,
    missing: float = 0.0,
) -> SimulatedFactors:
    """The same as a Trials table; trials that are missing have no rows.

    Parameters
    ----------
    missing : share of whole trials that are missing, whichever, 0–1.
    """
    return factor_trials(
        simulate_values(truth, rng, participants=participants, stimuli=stimuli, missing=missing)
    )


def factor_trials(data: FactorData) -> SimulatedFactors:
    """Wide arrays as a Trials table."""
    truth, labels = data.truth, _labels("", len(data.covariate))
    table = pd.DataFrame({"participant_id": [f"sub-{label}" for label in labels]}, dtype="str")
    for place, term in enumerate(truth.terms):
        if term not in COEFFICIENT_SD:
            table[term] = data.covariate[:, place]
    return SimulatedFactors(validate_trials(_trials_table(data, labels)), table, data)


def _covariance(loading: np.ndarray, uniqueness: np.ndarray) -> np.ndarray:
    return loading @ loading.T + np.diag(uniqueness)


def _communality(loading: np.ndarray, uniqueness: np.ndarray) -> np.ndarray:
    common = (loading**2).sum(axis=1)
    return common / (common + uniqueness)


def _correlation(covariance: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)


def _shape_names(shapes: int | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(shapes, int):
        return tuple(shapes)
    if not 0 < shapes <= len(BILATERAL_NAMES):
        raise SpecError(
            f"shapes: expected 1 to {len(BILATERAL_NAMES)}, found {shapes}: give names for others."
        )
    order = sorted(BILATERAL_NAMES, key=lambda name: name in SET_APART)
    return tuple(name for name in BILATERAL_NAMES if name in order[:shapes])


def _checked_terms(terms: Sequence[str]) -> tuple[str, ...]:
    if "Intercept" not in terms[:1]:
        raise SpecError(
            f'terms: expected "Intercept" first, found {", ".join(terms) or "none"}: put it there.'
        )
    return tuple(terms)


def _simple_structure(rng: np.random.Generator, shapes: int, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """Loadings (shape, factor) and uniquenesses (shape,) that add up to a variance of 1."""
    if not factors:
        return np.zeros((shapes, 0)), np.ones(shapes)
    main, every = rng.permutation(np.arange(shapes) % factors), np.arange(shapes)
    pattern = ELSEWHERE_SD * rng.normal(size=(shapes, factors))
    if factors > 1:
        second = (main + rng.integers(1, factors, size=shapes)) % factors
        on_two = rng.random(shapes) < ON_TWO
        pattern[every[on_two], second[on_two]] = rng.uniform(*SECOND, size=shapes)[on_two]
    pattern[every, main] = 1.0
    pattern *= np.where(rng.random((shapes, factors)) < NEGATIVE, -1.0, 1.0)
    communality = rng.uniform(*COMMUNALITY, size=shapes)
    return pattern * np.sqrt(communality / (pattern**2).sum(axis=1))[:, None], 1.0 - communality


def _coefficients(rng: np.random.Generator, shapes: int, terms: Sequence[str]) -> np.ndarray:
    """(shape, term), standardised."""
    sds = np.array([COEFFICIENT_SD.get(term, PERSON_COEFFICIENT_SD) for term in terms])
    return sds * rng.normal(size=(shapes, len(terms)))


def _location(rng: np.random.Generator, shapes: int) -> np.ndarray:
    return rng.uniform(*LOCATION, size=shapes)


def _scale(rng: np.random.Generator, shapes: int) -> np.ndarray:
    return np.exp(rng.uniform(*np.log(SCALE), size=shapes))


def _covariates(terms: Sequence[str], participants: int, rng: np.random.Generator) -> np.ndarray:
    """(participant, term) z-scores; 0 for the intercept and valence."""
    covariate = np.zeros((participants, len(terms)))
    for place, term in enumerate(terms):
        if term not in COEFFICIENT_SD:
            drawn = rng.normal(size=participants)
            covariate[:, place] = (drawn - drawn.mean()) / drawn.std(ddof=1)
    return covariate


def _valence(stimulus: np.ndarray) -> np.ndarray:
    """±½; stimuli with an even code are negative."""
    return np.where(stimulus % 2 == 0, -0.5, 0.5)


def _drawn(
    loading: np.ndarray, uniqueness: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (unit, factor), and what they and the unique parts make, (unit, shape)."""
    scores = rng.normal(size=(count, loading.shape[1]))
    effects = rng.normal(size=(count, len(uniqueness)))
    effects *= np.sqrt(uniqueness)
    effects += scores @ loading.T
    return scores, effects


def _labels(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number + 1:0{len(str(max(count, 10)))}d}" for number in range(count)]


def _trials_table(data: FactorData, participants: Sequence[str]) -> pd.DataFrame:
    """One bin a trial; all shapes of a trial stand together."""
    shapes = data.truth.shapes
    activation = data.activation.astype(np.float32).ravel()
    rows, size = len(activation), len(shapes)
    item = data.stimulus.repeat(size)

    def categories(codes: np.ndarray, labels: Sequence[str], ordered: bool = False) -> pd.Categorical:
        return pd.Categorical.from_codes(codes, list(labels), ordered=ordered)  # pyright: ignore[reportArgumentType]

    def same(label: str) -> pd.Categorical:
        return categories(np.zeros(rows, dtype=np.int8), [label])

    positive = (_valence(item) > 0).astype(np.int8)
    columns = {
        "participant": categories(data.participant.repeat(size), participants),
        "session": same("1"),
        "task": same("met"),
        "run": same("1"),
        "trial": (item + 1).astype(np.int32),
        "stimulus": categories(item, _labels("s", len(data.stimulus_effects))),
        "valence": categories(positive * (len(VALENCES) - 1), VALENCES, ordered=True),
        "medium": categories(np.zeros(rows, dtype=np.int8), MEDIA, ordered=True),
        "blend_shape": categories(np.tile(np.arange(size), len(data.design)), shapes),
        "bin": np.int16(0),
        "time": np.float32(0.5),
        "activation": activation,
        "raw": activation,
        "baseline": np.float32(0.0),
        "peak": activation,
        "n_frames": np.int32(60),
        "valid": np.float32(1.0),
        "excluded": pd.Series("", index=range(rows), dtype="str"),
        "tracker": same("arkit"),
    }
    return pd.DataFrame(columns)
