"""Alignment by cued blinks: "blink three times" at the start and at the end, found again in eyeBlink.

A person blinks a reaction time after each cue, blinks in between without being asked, and may be lost by the tracker
just then. So the cues are matched as a pattern: every offset that puts one cue of a group on some blink is
tried, start and end groups are combined where the drift between them is possible, and each combination is scored by
its log likelihood. A blink at a distance d from where its cue puts it counts log N(d; 0, REACTION_SD) against the
density of this person's other blinks, an unanswered cue log MISSED, a drift the log of a Cauchy density around 0.
The best wins, if every other offset is at least 100 times less likely.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.data_prep.clocks import MAX_DRIFT_PPM, NORMAL_95, Alignment, fit_line
from mien.study.errors import StudyError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["align_by_blinks", "find_blinks"]

# Half-closed to half-open, s. Faster is a glitch of one or two frames, slower is closing the eyes.
SHORTEST_BLINK, LONGEST_BLINK = 0.04, 0.6
SMALLEST_BLINK = 0.15  # rise of eyeBlink, 0-1, under which a movement of the lid is no blink
REACTION_SD = 0.1  # s: how much answering a cue varies from cue to cue; a convention
REACH = 0.3  # s: beyond three such sds a blink does not answer the cue
MISSED = 0.1  # share of cues that are not answered or not tracked; a convention
# Clocks of two devices differ by tens of ppm, and now and then by much more (1,600 in a real take): a Cauchy scale.
DRIFT_SCALE_PPM = 100.0
MARGIN = float(np.log(100))
MOST_SOLUTIONS = 500  # that are compared, the best first
SAME_OFFSET = 0.5  # s: two solutions closer than this are one


def find_blinks(recording: "xr.Dataset") -> np.ndarray:
    """When the eyes were closed in each blink, s: midway between half-closed and half-open.

    A blink is a peak of the mean of eyeBlinkLeft and eyeBlinkRight that rises by at least SMALLEST_BLINK and 40 % of
    the person's largest rises (98th percentile), and lasts between SHORTEST_BLINK and LONGEST_BLINK at half height.

    Raises
    ------
    StudyError
        When the recording has no eyeBlink.
    """
    from scipy.signal import find_peaks, peak_widths

    names = [str(name) for name in recording["blend_shape"].to_numpy() if str(name).startswith("eyeBlink")]
    if not names:
        raise StudyError(
            "align by blinks: expected eyeBlink in the recording, found none: use `sync` or `utc`."
        )
    closed = recording["activation"].sel(blend_shape=names).to_numpy().astype(np.float64).mean(axis=1)
    tracked = np.isfinite(closed)
    if tracked.sum() < 3:
        return np.empty(0)
    time, closed = recording["time"].to_numpy()[tracked], closed[tracked]
    peaks, found = find_peaks(closed, prominence=SMALLEST_BLINK)
    if not len(peaks):
        return np.empty(0)
    large = found["prominences"] >= 0.4 * np.quantile(found["prominences"], 0.98)
    prominence = (found["prominences"], found["left_bases"], found["right_bases"])
    _, _, left, right = peak_widths(closed, peaks, rel_height=0.5, prominence_data=prominence)
    begin, end = (np.interp(edge, np.arange(len(time)), time) for edge in (left, right))
    lasts = end - begin
    return ((begin + end) / 2)[large & (lasts >= SHORTEST_BLINK) & (lasts <= LONGEST_BLINK)]


class _Match(NamedTuple):
    cue: np.ndarray  # (matched,) s of the stimulus clock
    blink: np.ndarray  # (matched,) s of the recording
    score: float  # log likelihood, up to a constant


def align_by_blinks(
    recording: "xr.Dataset",
    cues: Sequence[float] | np.ndarray,
    *,
    reaction_s: float = 0.0,
    near: tuple[float, float] | None = None,
    max_drift_ppm: float = MAX_DRIFT_PPM,
) -> Alignment:
    """From blinks on command.

    Parameters
    ----------
    recording : a Recording with eyeBlink.
    cues : (cue,) s of the stimulus clock, usually three at the start and three at the end. The longest pause divides
        them; a single group gives the offset without drift.
    reaction_s : mean time from cue to closed eye, s; 0 where the cue is a rhythm that people blink along with.
        An error here goes into the offset in full.
    near : (smallest, largest) offset to look for, s, where it is roughly known.
    max_drift_ppm : the largest drift to look for. With evenly spaced cues, and one of them unanswered, a group
        fits one cue later nearly as well; only a smaller limit, or uneven spacing, tells the two apart.

    Raises
    ------
    StudyError
        When fewer than two blinks of a group are found, or another offset explains the blinks nearly as well.
    """
    groups = _groups(np.sort(np.asarray(cues, dtype=np.float64)))
    blinks = find_blinks(recording) - reaction_s
    ranked = _solutions(groups, blinks, near, max_drift_ppm, rate=_rate(blinks, recording))
    total = sum(len(group) for group in groups)
    if not ranked:
        raise StudyError(
            f"align by blinks: expected blinks at {total} cues, at least two in each group, found {len(blinks)} blinks "
            "in the recording and no offset at which they fit: check the cue times, or use `sync`."
        )
    best = ranked[0]
    offset = _offset(best)
    others = [one for one in ranked[1:] if abs(_offset(one) - offset) > SAME_OFFSET]
    if others and others[0].score > best.score - MARGIN:
        raise StudyError(
            f"align by blinks: expected one offset that fits the cues, found {offset:.2f} s and "
            f"{_offset(others[0]):.2f} s that fit alike: give the range of offsets or the largest drift, or use `sync`."
        )
    return _aligned(best, drifts=len(groups) > 1)


def _groups(cues: np.ndarray) -> list[np.ndarray]:
    if len(cues) < 2 or not np.isfinite(cues).all() or not (np.diff(cues) > 0).all():
        raise StudyError(
            f"align by blinks: expected the times of at least two cues, each once, found {cues.tolist()}: correct them."
        )
    pauses = np.diff(cues)
    longest = int(np.argmax(pauses))
    is_one = len(cues) < 4 or pauses[longest] < 3 * np.median(pauses)
    groups = [cues] if is_one else [cues[: longest + 1], cues[longest + 1 :]]
    if min(len(group) for group in groups) < 2:
        raise StudyError(
            "align by blinks: expected at least two cues at the start and at the end, found one."
        )
    return groups


def _solutions(
    groups: list[np.ndarray],
    blinks: np.ndarray,
    near: tuple[float, float] | None,
    max_drift_ppm: float,
    *,
    rate: float,
) -> list[_Match]:
    """Every way to explain the cues, the best first."""
    matches = [_matches(group, blinks, rate) for group in groups]
    if near is not None:
        # Drift moves the last group: allow for it, relative to the first.
        slack = [max_drift_ppm * 1e-6 * float(group[-1] - groups[0][0]) + REACH for group in groups]
        matches = [
            [one for one in some if near[0] - more <= _offset(one) <= near[1] + more]
            for some, more in zip(matches, slack, strict=True)
        ]
    if len(groups) == 1:
        return sorted(matches[0], key=lambda one: -one.score)
    apart = float(groups[1].mean() - groups[0].mean())
    offsets = [np.array([_offset(one) for one in some]) for some in matches]
    scores = [np.array([one.score for one in some]) for some in matches]
    drift = (offsets[1][None, :] - offsets[0][:, None]) / apart * 1e6
    scale = np.hypot(DRIFT_SCALE_PPM, 1e6 * REACTION_SD / apart)
    score = scores[0][:, None] + scores[1][None, :] - np.log1p((drift / scale) ** 2)
    first, second = np.nonzero(np.abs(drift) <= max_drift_ppm + 1e6 * REACH / apart)
    best = np.argsort(-score[first, second], kind="stable")[:MOST_SOLUTIONS]
    return [
        _both(matches[0][i], matches[1][j], float(score[i, j]))
        for i, j in zip(first[best], second[best], strict=True)
    ]


def _both(start: _Match, end: _Match, score: float) -> _Match:
    return _Match(np.append(start.cue, end.cue), np.append(start.blink, end.blink), score)


def _rate(blinks: np.ndarray, recording: "xr.Dataset") -> float:
    """Blinks a second, never taken as fewer than one in 20 s."""
    return max(len(blinks) / max(float(recording["time"].to_numpy()[-1]), 1.0), 0.05)


def _matches(cues: np.ndarray, blinks: np.ndarray, rate: float) -> list[_Match]:
    """The distinct offsets at which at least two cues of a group meet blinks of their own."""
    if not len(blinks):
        return []
    found: dict[tuple[int, ...], _Match] = {}
    for offset in np.unique((blinks[:, None] - cues[None, :]).ravel()):
        nearest = np.abs(blinks[None, :] - (cues + offset)[:, None]).argmin(axis=1)
        met = np.abs(blinks[nearest] - cues - offset) <= REACH
        if met.sum() < 2 or len(set(nearest[met])) < met.sum():
            continue
        apart = blinks[nearest[met]] - cues[met]
        far = (apart - apart.mean()) / REACTION_SD
        answered = -0.5 * far**2 - np.log(REACTION_SD * np.sqrt(2 * np.pi) * rate) + np.log(1 - MISSED)
        score = float(answered.sum() + (len(cues) - met.sum()) * np.log(MISSED))
        found[tuple(np.where(met, nearest, -1))] = _Match(cues[met], blinks[nearest[met]], score)
    return list(found.values())


def _offset(match: _Match) -> float:
    return float((match.blink - match.cue).mean())


def _aligned(match: _Match, *, drifts: bool) -> Alignment:
    precision = 1e3 * REACTION_SD
    if drifts:
        return fit_line(match.cue, match.blink, precision_ms=precision, method="blinks")
    apart = match.blink - match.cue
    return Alignment(
        offset_s=float(apart.mean()),
        drift_ppm=0.0,
        residual_ms=1e3 * float(apart.std()),
        uncertainty_ms=NORMAL_95 * precision / float(np.sqrt(len(apart))),
        method="blinks",
        pairs=len(apart),
    )
