"""How good a recording is: lost and frozen frames, still shapes, values out of range, blinks, and a verdict.

Live Link Face has no tracking flag, so tracking is read off the data: a hole in time is lost frames, and six or more
identical rows in succession (0.1 s at 60 fps; a living face never repeats ten decimals) are a frozen tracker. The
verdict comes from one table, LIMITS, printed with every report. Its limits are this project's conventions, chosen so
that ordinary takes (2-3 frames lost a minute, a dead shape or two) are good; they are no published norm.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.study.tracking import frozen_frames

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "LIMITS", "QUALITY_KEYS", "Limit", "blink_times", "mark_untracked", "quality_report", "render_limits",
    "render_quality",
]  # fmt: skip

GAP_STEP = 1.5  # a step of this many usual ones is a gap
STILL_RANGE = 1e-3  # a shape that stays within this never moves
BLINK_HEIGHT = 0.35  # eyeBlink, mean of both eyes: a closing lid passes it …
BLINK_PROMINENCE = 0.25  # … by a rise and a fall of this size, so that a look down is none …
BLINK_SIDE = 0.4  # s, each of them within this time; slower is a closed eye
MAX_SIDE = 500  # frames: 0.4 s at 1,250 a second
BLINK_APART = 0.3  # s between two blinks at least
QUALITY_KEYS = (
    "source", "format", "frames", "duration_s", "rate_hz", "lost_frames", "gaps", "frozen_frames", "tracked_share",
    "still_shapes", "above_one", "below_zero", "zero_share", "blinks_per_min", "head", "verdict", "warnings",
)  # fmt: skip


class Limit(NamedTuple):
    """One row of the table: up to which value a recording is good, and up to which usable."""

    measure: str
    value: Callable[[dict[str, Any]], float]
    good: float
    usable: float
    higher_is_better: bool
    why: str


def _longest_gap(report: dict[str, Any]) -> float:
    rate = report["rate_hz"] or 60.0
    return max((gap["lost"] / rate for gap in report["gaps"]), default=0.0)


def _out_of_range(report: dict[str, Any]) -> float:
    return float(report["below_zero"])


LIMITS: tuple[Limit, ...] = (
    Limit(
        "tracked share", lambda report: report["tracked_share"], 0.98, 0.90, True, "frames seen of frames due"
    ),
    Limit("longest gap (s)", _longest_gap, 0.5, 5.0, False, "a gap takes the trial in which it lies"),
    Limit(
        "duration (s)",
        lambda report: report["duration_s"],
        10.0,
        1.0,
        True,
        "too short for a trial with its baseline",
    ),
    Limit(
        "still shapes",
        lambda report: len(report["still_shapes"]),
        8,
        26,
        False,
        "a shape that never moves says nothing",
    ),
    Limit(
        "values below 0", _out_of_range, 0, 1000, False, "no tracker of faces gives them; generated files do"
    ),
)


def mark_untracked(recording: "xr.Dataset") -> "xr.Dataset":
    """The Recording with frozen stretches set to NaN (shapes and head).

    Applied on import, after the quality report has counted them, so that every later step sees `n/a`; the native file
    is unchanged.
    """
    frozen = frozen_frames(recording)
    if not frozen.any():
        return recording
    marked = recording.copy(deep=True)
    for name in ("activation", "head"):
        if name in marked:
            marked[name].values[frozen] = np.nan
    return marked


def blink_times(recording: "xr.Dataset") -> np.ndarray:
    """Times (s) of the blinks: peaks of eyeBlink, mean of both eyes, that rise and fall within BLINK_SIDE."""
    lids = [name for name in ("eyeBlinkLeft", "eyeBlinkRight") if name in recording["blend_shape"].values]
    if not lids:
        return np.empty(0)
    signal = recording["activation"].sel(blend_shape=lids).values.mean(axis=1)
    tracked = np.isfinite(signal)
    signal, time = signal[tracked], recording["time"].values[tracked]
    if len(time) < 3:
        return np.empty(0)
    before, after = _lowest(signal, time, BLINK_SIDE)
    deep = signal - np.maximum(before, after) >= BLINK_PROMINENCE
    lowest_around = np.minimum(*_lowest(-signal, time, BLINK_APART))
    peaks = time[deep & (signal >= BLINK_HEIGHT) & (-signal <= lowest_around)]
    return peaks[np.diff(peaks, prepend=-np.inf) > BLINK_APART]  # a flat top is one blink


def _lowest(signal: np.ndarray, time: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """The lowest value in the `seconds` up to each frame, and from it on; both (frames,)."""
    side = max(1, min(len(time), MAX_SIDE, round(seconds / _step(time))))
    windows = np.lib.stride_tricks.sliding_window_view
    none = np.full(side, np.inf)
    before = windows(np.concatenate([none, signal]), side + 1).min(axis=1)
    after = windows(np.concatenate([signal, none]), side + 1).min(axis=1)
    return before, after


def quality_report(recording: "xr.Dataset", *, source: str, format: str | None = None) -> dict[str, Any]:
    """What a recording is worth, in plain JSON types under QUALITY_KEYS.

    Parameters
    ----------
    source : what to call the recording; it is stored, so no name of a person or slate.
    format : overrides the Recording's own.

    Returns
    -------
    dict: `duration_s` and gap starts in s, `rate_hz` effective (None for one frame), `gaps` a list of
    {start_s, lost}, `tracked_share` of the frames due (seen and lost), `zero_share` of the tracked values,
    `still_shapes` the names that never move.
    """
    time = recording["time"].values
    frozen = frozen_frames(recording)
    marked = recording["activation"].values.copy()
    marked[frozen] = np.nan
    tracked = np.isfinite(marked).any(axis=1)
    gaps = _gaps(time)
    lost = sum(gap["lost"] for gap in gaps)
    seen = marked[tracked]
    minutes = float(tracked.sum()) * _step(time) / 60
    rate = float(recording.attrs["effective_rate"])
    report: dict[str, Any] = {
        "source": source,
        "format": format or str(recording.attrs["format"]),
        "frames": len(time),
        "duration_s": round(float(time[-1]), 3),
        "rate_hz": round(rate, 3) if np.isfinite(rate) else None,
        "lost_frames": lost,
        "gaps": gaps,
        "frozen_frames": int(frozen.sum()),
        "tracked_share": round(float(tracked.sum() / (len(time) + lost)), 4),
        "still_shapes": _still(seen, recording["blend_shape"].values),
        "above_one": int((seen > 1).sum()),
        "below_zero": int((seen < 0).sum()),
        "zero_share": round(float((seen == 0).mean()), 4) if seen.size else 0.0,
        "blinks_per_min": round(len(blink_times(mark_untracked(recording))) / minutes, 1) if minutes else 0.0,
        "head": "present" if "head" in recording else "missing",
    }
    report["verdict"] = verdict(report)
    report["warnings"] = _warnings(recording, report, frozen)
    return report


def _step(time: np.ndarray) -> float:
    return float(np.median(np.diff(time))) if len(time) > 1 else 0.0


def _gaps(time: np.ndarray) -> list[dict[str, Any]]:
    """Holes in time: where each begins (time of the last frame before it) and how many frames it lacks."""
    steps = np.diff(time)
    holes = np.flatnonzero(steps > GAP_STEP * _step(time)) if len(steps) else []
    return [
        {"start_s": round(float(time[at]), 3), "lost": round(steps[at] / _step(time)) - 1} for at in holes
    ]


def _still(seen: np.ndarray, shapes: np.ndarray) -> list[str]:
    if len(seen) < 2:
        return []
    return [
        str(name)
        for name, moves in zip(shapes, np.ptp(seen, axis=0) >= STILL_RANGE, strict=True)
        if not moves
    ]


def verdict(report: dict[str, Any]) -> str:
    """Tell a recording good, usable or to repeat: the worst that any row of LIMITS says."""
    worst = max((_grade(limit, limit.value(report)) for limit in LIMITS), default=0)
    return ("good", "usable", "repeat")[worst]


def _grade(limit: Limit, value: float) -> int:
    sign = 1 if limit.higher_is_better else -1
    return int(sign * value < sign * limit.good) + int(sign * value < sign * limit.usable)


def _warnings(recording: "xr.Dataset", report: dict[str, Any], frozen: np.ndarray) -> list[str]:
    """What a reader should know beside the numbers: the reader's notes, and every limit that was passed."""
    found = [line for line in str(recording.attrs.get("warnings", "")).split("\n") if line]
    for limit in LIMITS:
        value = limit.value(report)
        if _grade(limit, value):
            beyond = "below" if limit.higher_is_better else "above"
            found.append(f"{limit.measure} {value:.3g} is {beyond} {limit.good:g} ({limit.why})")
    if frozen.any():
        stretches = int((np.diff(np.concatenate([[0], frozen.astype(np.int8)])) == 1).sum())
        found.append(
            f"tracking froze {stretches} time{'s' if stretches > 1 else ''}: these frames count as not tracked"
        )
    if recording.attrs.get("calibrated") == "yes":
        found.append(
            "neutral calibration was on: values are relative to the person's neutral face, many are exactly 0"
        )
    if recording.attrs.get("tracker") == "mediapipe":
        found.append("MediaPipe is not ARKit: do not pool the two in one fit")
    if report["duration_s"] >= 60 and report["blinks_per_min"] < 1:
        found.append("fewer than one blink a minute: check that the eyes were visible")
    return found


def render_limits() -> str:
    """The table that verdicts come from, as text."""
    rows = [f"{'measure':<16} {'good':>8} {'usable':>8}  else: repeat"]
    for limit in LIMITS:
        sign = "≥" if limit.higher_is_better else "≤"
        rows.append(f"{limit.measure:<16} {sign} {limit.good:>6g} {sign} {limit.usable:>6g}  {limit.why}")
    return "\n".join(rows)


def render_quality(report: dict[str, Any]) -> str:
    """A report as text for a terminal."""
    rate = "unknown" if report["rate_hz"] is None else f"{report['rate_hz']:.2f} frames a second"
    lines = [
        f"{report['source']}: {report['verdict']}  ({report['format']})",
        f"  {report['frames']:,} frames in {report['duration_s']:.1f} s, {rate}; head {report['head']}",
        f"  tracked {report['tracked_share']:.1%}: {report['lost_frames']} frames lost in {len(report['gaps'])} gaps, "
        f"{report['frozen_frames']} frozen",
        f"  values: {report['zero_share']:.1%} exactly 0, {report['above_one']} above 1, {report['below_zero']} "
        f"below 0; {report['blinks_per_min']:g} blinks a minute",
    ]
    if report["still_shapes"]:
        lines.append(f"  never moved: {', '.join(report['still_shapes'])}")
    return "\n".join([*lines, *(f"  ! {warning}" for warning in report["warnings"])])
