"""Whose seconds an onset is in: from the stimulus computer's clock to the recording's.

    recording = offset_s + (1 + drift_ppm / 1e6) · stimulus

The recording's clock begins with its first frame. Phones and computers also run at slightly different speeds
(a real take ran at 59.904 of 60 rows a second, 1,600 ppm), which moves an onset by 1.6 s over a quarter of an hour.

method   from                                                 offset  drift
utc      both clocks' time of day                             yes     no
sync     matching times; one pair, two or more                yes     from two pairs on
blinks   cued blinks at start and end, found in eyeBlink      yes     yes (blinks.py)
same     nothing: one clock wrote both                        0       0

`uncertainty_ms` is the half-width of a 95 % interval for an onset within the time that the method saw, as far as the
method can know it: docs/clocks.md says for each what it leaves out.
"""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.study.errors import StudyError

__all__ = [
    "MAX_DRIFT_PPM", "METHODS", "Alignment", "align_by_sync", "align_by_utc", "align_same", "apply", "fit_line",
    "to_recording", "to_stimulus",
]  # fmt: skip

METHODS = ("utc", "sync", "blinks", "same")
# Three times the largest drift measured in a real take; beyond it the pairs, not the clocks, are wrong.
MAX_DRIFT_PPM = 5_000.0
NORMAL_95 = 1.959964
DAY = 86_400.0
_TIMECODE = re.compile(r"^(\d{1,2}):(\d{2}):(\d{2}):(\d{1,3})(?:\.(\d+))?$")
TIMECODE_FRAMES = 60  # Live Link Face counts frames to 60 whatever the rate of the take


class Alignment(NamedTuple):
    """How a stimulus clock maps onto a recording's clock."""

    offset_s: float
    drift_ppm: float
    residual_ms: float  # root mean square over the pairs used; NaN where nothing is left over
    uncertainty_ms: float
    method: str
    pairs: int = 0  # matching times used
    rejected: tuple[int, ...] = ()  # pairs left out as wrong, numbered from 1

    def as_dict(self) -> dict[str, Any]:
        """For the events json: plain JSON types, None where nothing is known."""
        values = {**self._asdict(), "rejected": list(self.rejected)}
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in values.items()
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "Alignment":
        """The inverse of `as_dict`."""
        values = {key: float("nan") if value is None else value for key, value in given.items()}
        return cls(**{**values, "rejected": tuple(given.get("rejected", ()))})


def to_recording[T: (float, np.ndarray)](stimulus: T, alignment: Alignment) -> T:
    """Seconds of the recording from seconds of the stimulus clock."""
    return alignment.offset_s + (1 + alignment.drift_ppm * 1e-6) * stimulus


def to_stimulus[T: (float, np.ndarray)](recording: T, alignment: Alignment) -> T:
    """Seconds of the stimulus clock from seconds of the recording."""
    return (recording - alignment.offset_s) / (1 + alignment.drift_ppm * 1e-6)


def apply(
    events: pd.DataFrame, alignment: Alignment, *, previous: Alignment | None = None, where: str = "events"
) -> pd.DataFrame:
    """The events on the recording's clock; `onset_stimulus` keeps the stimulus computer's onsets.

    Parameters
    ----------
    events : with onset and duration (s). With `onset_stimulus` they were aligned before.
    previous : how they were aligned before, needed to take the drift out of the durations again.

    Returns
    -------
    A copy: onset = offset + (1 + drift) · onset_stimulus, duration · (1 + drift).

    Raises
    ------
    StudyError
        For events that were aligned before when `previous` is not given.
    """
    if "onset_stimulus" in events.columns and previous is None:
        raise StudyError(
            f"{where}: expected events that are not aligned yet, found the column onset_stimulus: give their "
            "ClockAlignment to align them anew, or remove the column."
        )
    before = 1 + (previous.drift_ppm if previous else 0.0) * 1e-6
    stimulus = events["onset_stimulus" if previous and "onset_stimulus" in events.columns else "onset"]
    onset_stimulus = stimulus.to_numpy(dtype=np.float64)
    duration = events["duration"].to_numpy(dtype=np.float64) / before
    return events.assign(
        onset=to_recording(onset_stimulus, alignment),
        duration=duration * (1 + alignment.drift_ppm * 1e-6),
        onset_stimulus=onset_stimulus,
    )


def align_same() -> Alignment:
    """One clock wrote both: onsets are seconds of the recording already."""
    return Alignment(0.0, 0.0, float("nan"), 0.0, "same")


def align_by_utc(recording_start: str, stimulus_zero: str, *, uncertainty_ms: float) -> Alignment:
    """From the time of day at which each clock began.

    Parameters
    ----------
    recording_start : when the first frame was taken: ISO 8601 with its time zone, or a Live Link Face timecode
        (HH:MM:SS:FF.sss, local time of day: taken as in the time zone of `stimulus_zero`, on the nearest day).
    stimulus_zero : when the stimulus clock was 0: ISO 8601 with its time zone.
    uncertainty_ms : how far apart the two clocks may be (95 %): nothing in the files says so, so it must be stated.

    Raises
    ------
    StudyError
    """
    if not (math.isfinite(uncertainty_ms) and uncertainty_ms > 0):
        raise StudyError(
            f"align by utc: expected the uncertainty of the two clocks in ms, above 0, found {uncertainty_ms!r}: "
            "state how well both were set (synchronised by NTP, some 50 ms; by hand, seconds)."
        )
    zero = _instant(stimulus_zero, "stimulus_zero")
    timecode = _TIMECODE.match(recording_start.strip())
    if timecode:
        midnight = zero.replace(hour=0, minute=0, second=0, microsecond=0)
        offset = (zero - midnight).total_seconds() - _seconds_of_day(timecode, recording_start)
        offset = (offset + DAY / 2) % DAY - DAY / 2
    else:
        offset = (zero - _instant(recording_start, "recording_start")).total_seconds()
    return Alignment(offset, 0.0, float("nan"), float(uncertainty_ms), "utc")


def _instant(text: str, name: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise StudyError(
            f"align by utc: expected {name} as 2026-05-04T13:13:04.5+02:00, found {text!r}: correct it."
        ) from None
    if instant.tzinfo is None:
        raise StudyError(
            f"align by utc: expected {name} with its time zone (…+02:00 or …Z), found {text!r}: add it."
        )
    return instant


def _seconds_of_day(timecode: re.Match[str], text: str) -> float:
    hours, minutes, seconds, frame = (int(timecode[index]) for index in (1, 2, 3, 4))
    if hours > 23 or minutes > 59 or seconds > 59 or frame >= TIMECODE_FRAMES:
        raise StudyError(f"align by utc: expected a timecode HH:MM:SS:FF.sss, found {text!r}: correct it.")
    part = float(f"0.{timecode[5] or 0}")
    return hours * 3600 + minutes * 60 + seconds + (frame + part) / TIMECODE_FRAMES


def align_by_sync(
    stimulus: Sequence[float] | np.ndarray,
    recording: Sequence[float] | np.ndarray,
    *,
    precision_ms: float = 17.0,
    tolerance_ms: float = 50.0,
) -> Alignment:
    """From the times (s) of the same moments on both clocks: one pair gives the offset, more also the drift.

    A pair that is far from the line through all others is left out and reported, where the others agree and
    no other pair could be the wrong one.

    Parameters
    ----------
    stimulus, recording : (pair,) s.
    precision_ms : sd of a single matching time, ms; one frame at 60 Hz unless stated. The residuals replace it
        where they are larger.
    tolerance_ms : the largest root mean square residual at which pairs agree, ms.

    Raises
    ------
    StudyError
        For pairs that contradict each other.
    """
    x, y = _pairs(stimulus, recording)
    if len(x) == 1:
        return Alignment(float(y[0] - x[0]), 0.0, float("nan"), NORMAL_95 * precision_ms, "sync", 1)
    everything = fit_line(x, y, precision_ms=precision_ms, method="sync")
    if _agree(everything, tolerance_ms, x, precision_ms):
        return everything
    found = []
    for index in range(len(x)) if len(x) > 2 else ():
        keep = np.arange(len(x)) != index
        one = fit_line(x[keep], y[keep], precision_ms=precision_ms, method="sync")
        if _agree(one, tolerance_ms, x[keep], precision_ms):
            found.append(one._replace(rejected=(index + 1,)))
    found.sort(key=lambda one: one.residual_ms)
    # Two candidates that fit alike leave open which pair is wrong (always so with three pairs and a small error).
    if not found or (len(found) > 1 and found[1].residual_ms < 3 * max(found[0].residual_ms, 1.0)):
        raise StudyError(
            f"align by sync: expected pairs on one line within {tolerance_ms:g} ms and {MAX_DRIFT_PPM:g} ppm, found "
            f"{everything.residual_ms:.0f} ms and {everything.drift_ppm:.0f} ppm, and no single pair explains it: "
            "check the times, give more pairs, or state a larger tolerance."
        )
    return found[0]


def _agree(alignment: Alignment, tolerance_ms: float, x: np.ndarray, precision_ms: float) -> bool:
    # Two pairs close together say little about drift: their own imprecision must not make them contradict.
    slack = 3 * 1e3 * precision_ms * math.sqrt(2) / max(float(np.ptp(x)), 1e-9)
    return alignment.residual_ms <= tolerance_ms and abs(alignment.drift_ppm) <= MAX_DRIFT_PPM + slack


def _pairs(
    stimulus: Sequence[float] | np.ndarray, recording: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(stimulus, dtype=np.float64), np.asarray(recording, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise StudyError(
            "align by sync: expected as many times of the recording as of the stimulus clock, at least one, all "
            f"numbers, found {x.size} and {y.size}: correct the pairs."
        )
    if len(np.unique(x)) != len(x):
        raise StudyError("align by sync: expected each time of the stimulus clock once, found one twice.")
    return x, y


def fit_line(x: np.ndarray, y: np.ndarray, *, precision_ms: float, method: str) -> Alignment:
    """Least squares through two or more pairs (s); uncertainty at the worse end of the pairs."""
    n, centre = len(x), float(np.mean(x))
    spread = float(((x - centre) ** 2).sum())
    slope = float(((x - centre) * (y - y.mean())).sum()) / spread
    offset = float(y.mean()) - slope * centre
    residual = y - offset - slope * x
    sd = max(precision_ms, 1e3 * math.sqrt(float((residual**2).sum()) / (n - 2)) if n > 2 else 0.0)
    farthest = float(np.abs(x - centre).max())
    return Alignment(
        offset_s=offset,
        drift_ppm=(slope - 1) * 1e6,
        residual_ms=1e3 * math.sqrt(float((residual**2).mean())),
        uncertainty_ms=NORMAL_95 * sd * math.sqrt(1 / n + farthest**2 / spread),
        method=method,
        pairs=n,
    )
