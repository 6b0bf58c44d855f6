"""Do the engine's intervals cover the truth that was counted from prepared recordings?

20 small studies (seeds 0-19), 34 shapes each: the 95 % intervals of the valence effect must cover the expected
outcome in 93-97 % of cases, give or take two Monte-Carlo errors (counted over studies, since the shapes of a study
share its persons and stimuli). The same check must fail for intervals that are too narrow and for a truth that
ignores how the outcome is computed.
"""

from typing import NamedTuple

import numpy as np
import pytest

import mien
from mien.simulation.design import small_design
from mien.simulation.outcome_truth import outcome_truth
from mien.simulation.trials import simulate_trials
from mien.simulation.truth import default_truth
from mien.study.blend_shapes import BILATERAL_NAMES

pytestmark = [pytest.mark.slow, pytest.mark.statistical("engine")]

FORMULA = "activation ~ valence + (valence | participant) + (1 | stimulus)"
STUDIES = 20
BAND = (0.93, 0.97)


class Intervals(NamedTuple):
    """(study, blend_shape) each."""

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def narrowed(self, share: float) -> "Intervals":
        return Intervals(
            self.mean,
            self.mean - share * (self.mean - self.lower),
            self.mean + share * (self.upper - self.mean),
        )


def estimate(seed: int) -> np.ndarray:
    """(mean | lower | upper, blend_shape) of one study's valence effects; NaN where a shape moves in too few."""
    simulated = simulate_trials(small_design(), seed=seed, workers=2)
    fit = mien.fit(
        FORMULA, simulated.trials, participants=simulated.participants, seed=seed, group_effects=False
    )
    table = mien.effects(fit)
    table = table.loc[table["effect"] == "valence"].set_index("blend_shape").reindex(list(BILATERAL_NAMES))
    return table[["mean", "eti_lower", "eti_upper"]].to_numpy(dtype=float).T


@pytest.fixture(scope="module")
def intervals():
    found = np.stack([estimate(seed) for seed in range(STUDIES)], axis=1)
    return Intervals(*found)


@pytest.fixture(scope="module")
def truth():
    return outcome_truth(small_design())["contrast"].to_numpy()


def coverage(intervals: Intervals, truth: np.ndarray) -> tuple[float, float]:
    """Share of intervals that cover, and its Monte-Carlo error."""
    covers = (intervals.lower <= truth) & (truth <= intervals.upper)
    by_study = np.nanmean(np.where(np.isnan(intervals.mean), np.nan, covers), axis=1)
    return float(by_study.mean()), float(by_study.std(ddof=1) / np.sqrt(len(by_study)))


def in_band(share: float, error: float) -> bool:
    return BAND[0] - 2 * error <= share <= BAND[1] + 2 * error


def test_intervals_cover_the_outcomes_truth(intervals, truth):
    share, error = coverage(intervals, truth)
    print(f"coverage {share:.4f} (Monte-Carlo error {error:.4f})")
    assert in_band(share, error)


def test_narrow_intervals_are_found_out(intervals, truth):
    assert not in_band(*coverage(intervals.narrowed(0.7), truth))


def test_shifted_estimates_are_found_out(intervals, truth):
    half = (intervals.upper - intervals.lower) / 2
    shifted = Intervals(*(part + 0.5 * half for part in intervals))
    assert not in_band(*coverage(shifted, truth))


def test_the_latent_gains_are_not_what_is_estimated(intervals):
    latent = default_truth()
    pictures = 20 / 24
    gain = pictures * latent.column("gain_picture") + (1 - pictures) * latent.column("gain_film")
    assert not in_band(*coverage(intervals, gain * latent.column("wander")))


def test_estimates_centre_on_the_truth(intervals, truth):
    fitted = (~np.isnan(intervals.mean)).sum(axis=0)
    error = np.nanstd(intervals.mean, axis=0, ddof=1) / np.sqrt(fitted)
    z = ((np.nanmean(intervals.mean, axis=0) - truth) / error)[fitted >= STUDIES / 2]
    assert len(z) >= len(BILATERAL_NAMES) - 1
    assert np.abs(z).max() < 4.5
    assert np.mean(z**2) < 2.5
