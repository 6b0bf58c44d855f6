"""How a recording looks in numbers, to put simulated files beside real ones.

The ranges are those measured on real Live Link Face takes, or stated of them: a simulated study as a whole must
lie inside. A range-of-motion take moves more than a person who watches pictures, so means are not compared.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import xarray as xr

from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, members
from mien.study.tracking import frozen_frames

__all__ = ["RANGES", "autocorrelation_time", "figures", "side_correlations"]

# Measured on real recordings: zeros by frame and by 6 s mean, rows a second of timecode, dropped frames,
# autocorrelation time (median over moving shapes), blinks, highest coefficient.
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "zero_share": (0.22, 0.53),
        "zero_share_6s": (0.03, 0.20),
        "rows_per_second": (59.8, 60.0),
        "dropped_per_min": (1.5, 3.5),
        "autocorrelation_frames": (70.0, 170.0),
        "lids_squint_outer_brow_r": (0.98, 1.0),
        "highest": (1.0, 1.053),
        "lowest": (0.0, 0.0),
    }
)
NEARLY_ONE = ("eyeBlink", "eyeSquint", "browOuterUp")  # pairs that are nearly one signal


def autocorrelation_time(signal: np.ndarray) -> float:
    """Frames per independent value: 1 + 2 Σ r(lag), summed to five times itself; NaN for a constant."""
    centred = signal - signal.mean()
    if not np.any(centred):
        return float("nan")
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    covariance = np.fft.irfft(spectrum * spectrum.conj())[: len(centred)]
    times = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    return float(times[np.argmax(np.arange(len(times)) > 5 * times)])


def side_correlations(recording: xr.Dataset) -> dict[str, float]:
    """Bilateral name → correlation of left and right over tracked frames; pairs that do not move are left out."""
    values = _tracked(recording)
    pairs = {name: members(name) for name in BILATERAL_NAMES if len(members(name)) == 2}
    found = {}
    for name, (left, right) in pairs.items():
        both = values[:, [NAMES.index(left), NAMES.index(right)]]
        if both.std(0).min() > 1e-6:
            found[name] = float(np.corrcoef(both.T)[0, 1])
    return found


def _tracked(recording: xr.Dataset) -> np.ndarray:
    values = recording["activation"].to_numpy()
    return values[~(np.isnan(values).any(1) | frozen_frames(recording))]


def figures(recordings: Sequence[xr.Dataset]) -> dict[str, float]:
    """The figures of RANGES over all `recordings` (52 shapes each): shares pooled, times by median."""
    values = [_tracked(recording) for recording in recordings]
    sixes = [block[: len(block) // 360 * 360].reshape(-1, 360, block.shape[1]).mean(1) for block in values]
    times = [
        autocorrelation_time(column)
        for block in values
        for name, column in zip(NAMES, block.T, strict=True)
        if column.std() > 1e-3 and not name.startswith("eye")
    ]
    sides = [side_correlations(recording) for recording in recordings]
    return {
        "zero_share": float(np.mean(np.concatenate(values) == 0)),
        "zero_share_6s": float(np.mean(np.concatenate(sixes) == 0)),
        "rows_per_second": float(np.median([_rows_per_second(one["time"].values) for one in recordings])),
        "dropped_per_min": _dropped_per_min(recordings),
        "autocorrelation_frames": float(np.median(times)),
        "lids_squint_outer_brow_r": float(
            np.median([pair[n] for pair in sides for n in NEARLY_ONE if n in pair])
        ),
        "highest": float(max(block.max() for block in values)),
        "lowest": float(min(block.min() for block in values)),
    }


def _rows_per_second(time: np.ndarray) -> float:
    return 1.0 / float(np.median(np.diff(time)))


def _dropped_per_min(recordings: Sequence[xr.Dataset]) -> float:
    """Single lost rows; longer gaps are lost tracking."""
    single = minutes = 0.0
    for recording in recordings:
        steps = np.diff(recording["time"].values)
        single += np.sum(np.rint(steps / np.median(steps)) == 2)
        minutes += recording["time"].values[-1] / 60.0
    return float(single / minutes)
