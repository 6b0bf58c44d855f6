"""What a fit with smooths says about time: courses, their differences, and the peak of a difference.

    curves    f(t) of every level of valence and of every difference, for an average person, stimulus and trial
    peaks     of the differences: size, when, latency, half-fade, area

A pointwise interval covers the curve at a time with its probability. A simultaneous band covers the whole curve with
it: mean ± c·sd(t), c the quantile of max |draw − mean| / sd over times. Peaks are told only where
P(|peak| > ROPE) > .9, since the largest of many noisy values is never 0; times are no finer than the bins.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.coding import level_columns
from mien.models.diagnostics import outcomes_of
from mien.models.effect_tables import CI_PROB, ROPE_OF_SIGMA
from mien.models.factors.spec import require_coefficients
from mien.models.refit import of_shape
from mien.models.smooths import POPULATION, SmoothBasis
from mien.study.errors import FitError

__all__ = ["CURVE_COLUMNS", "PEAK_COLUMNS", "PEAK_PROB", "course_draws", "curves", "peaks"]

PEAK_PROB = 0.9  # STATISTICS 2: peaks are told above it
HALF = 0.5
CURVE_COLUMNS = (
    "blend_shape", "curve", "kind", "time", "mean", "sd", "eti_lower", "eti_upper", "band_lower", "band_upper",
    "ci_prob", "p_direction", "band_excludes_0", "units", "verdict",
)  # fmt: skip
PEAK_COLUMNS = (
    "blend_shape", "curve", "quantity", "median", "eti_lower", "eti_upper", "ci_prob", "known", "p_peak", "rope",
    "resolution", "units", "verdict",
)  # fmt: skip


class Course(NamedTuple):
    """One curve of one outcome: draws (draw, time); kind "level" or "difference"."""

    name: str
    kind: str
    draws: np.ndarray


def course_draws(fit: xr.DataTree, times: np.ndarray, shape: str | None = None) -> list[Course]:
    """Draws of every course of an outcome at some times.

    Parameters
    ----------
    times : (time,) seconds from onset. shape : the blend shape, None for a single outcome.

    Returns
    -------
    The levels of valence in order, then the differences of the later levels from the first, all for an average
    person, stimulus and trial.

    Raises
    ------
    FitError
        For a fit without a smooth of time.
    """
    basis = _basis_of(fit)
    posterior = of_shape(fit["posterior"].dataset, shape)
    parts = dict(_parts(posterior, basis, times))
    levels = json.loads(str(fit.attrs["coding"])).get("valence", [])
    if not levels:
        return [Course("course", "level", parts[""])]
    codes = level_columns("valence", levels)
    courses = {
        level: sum((parts[name] * codes[name][place] for name in codes if name in parts), start=parts[""])
        for place, level in enumerate(levels)
    }
    found = [Course(level, "level", draws) for level, draws in courses.items()]
    first = levels[0]
    pairs = [(later, first) for later in levels[1:]]
    return [*found, *(Course(f"{a} − {b}", "difference", courses[a] - courses[b]) for a, b in pairs)]


def _parts(posterior: xr.Dataset, basis: SmoothBasis, times: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """("" or a coded column of valence, (draw, time)): what it adds to the course."""
    values = basis(times)
    count = posterior.sizes["chain"] * posterior.sizes["draw"]

    def drawn(name: str) -> np.ndarray:
        return posterior[name].to_numpy().reshape(count, -1)[:, :1].astype(np.float64)

    for column in ("", "valence", "neutral"):
        by = f":{column}" if column else ""
        level, lines = column or "Intercept", [f"{column}:time", f"time:{column}"] if column else ["time"]
        if level not in posterior:
            if not column:
                yield "", np.zeros((count, len(times)))
            continue
        total = drawn(level) * np.ones(len(times))
        for line in lines:
            if line in posterior:
                total = total + drawn(line) * times
        for k in range(1, values.shape[1]):
            name = f"s(time){by}[{k}]|{POPULATION}"
            if name in posterior:
                total = total + drawn(name) * values[:, k]
        yield column, total


def _basis_of(fit: xr.DataTree) -> SmoothBasis:
    """Of time; its knots are the bins' centres where there are 20 or fewer."""
    stored = json.loads(str(fit.attrs.get("smooths", "{}")))
    if "time" not in stored:
        raise FitError(
            f"curves: expected a fit with a smooth of time, found {fit.attrs['formula']!r} without: fit "
            "mien.models.time(), or give smooths=('s(time)', 's(time):valence')."
        )
    return SmoothBasis.from_dict(stored["time"])


def curves(
    fit: xr.DataTree, times: Sequence[float] | None = None, *, ci_prob: float = CI_PROB
) -> pd.DataFrame:
    """Courses with pointwise intervals and simultaneous bands, a row a shape, curve and time.

    Parameters
    ----------
    fit : of `mien.models.time()`, or any with a smooth of time.
    times : seconds from onset; None takes the bins' centres.
    ci_prob : of intervals (equal-tailed) and bands.

    Returns
    -------
    DataFrame with `CURVE_COLUMNS`; kind is "level" or "difference"; units are those of the outcome.

    Raises
    ------
    FitError
        For a fit without a smooth of time.
    """
    require_coefficients(fit, "curves")
    at = _basis_of(fit).knots if times is None else np.asarray(times, dtype=np.float64)
    failed = json.loads(fit.attrs["diagnostics_detail"])["failed"]
    tables = []
    for label in outcomes_of(fit):
        for course in course_draws(fit, at, label):
            mean, sd = course.draws.mean(axis=0), course.draws.std(axis=0, ddof=1)
            tails = np.quantile(course.draws, [(1 - ci_prob) / 2, (1 + ci_prob) / 2], axis=0)
            width = band_factor(course.draws, ci_prob) * sd
            positive = (course.draws > 0).mean(axis=0)
            tables.append(pd.DataFrame({
                "blend_shape": label or "", "curve": course.name, "kind": course.kind, "time": at, "mean": mean,
                "sd": sd, "eti_lower": tails[0], "eti_upper": tails[1], "band_lower": mean - width,
                "band_upper": mean + width, "ci_prob": ci_prob, "p_direction": np.maximum(positive, 1 - positive),
                "band_excludes_0": np.abs(mean) > width, "units": fit.attrs["units"],
                "verdict": "failed" if (label or "") in failed else "passed",
            }))  # fmt: skip
    return pd.concat(tables, ignore_index=True).reindex(columns=list(CURVE_COLUMNS))


def band_factor(draws: np.ndarray, ci_prob: float) -> float:
    """Factor c of the band mean ± c·sd that holds this share of whole curves, draws (draw, time)."""
    sd = draws.std(axis=0, ddof=1)
    apart = np.abs(draws - draws.mean(axis=0)) / np.where(sd > 0, sd, 1.0)
    return float(np.quantile(apart.max(axis=1), ci_prob))


def peaks(
    fit: xr.DataTree,
    *,
    rope: float | Mapping[str, float] | None = None,
    ci_prob: float = CI_PROB,
    points: int = 201,
) -> pd.DataFrame:
    """The largest difference of the courses: how large, when, how soon, how long.

    Parameters
    ----------
    rope : half-width in units of the outcome, for all or by shape; None is 0.1 posterior-mean residual sd.
    points : of the grid between the first and the last bin.

    Returns
    -------
    DataFrame with `PEAK_COLUMNS`, one row a shape, difference and quantity:

    size      the difference where it is largest in size, signed
    time      when (s)
    latency   when it first has half that size (s)
    half-fade from the peak until it has half that size again (s); `known` is the share of draws that fade so far
    area      the difference summed over time (units · s)

    All but p_peak are missing where P(|peak| > ROPE) ≤ .9; times have the bins' width as `resolution`.
    """
    require_coefficients(fit, "peaks")
    times = _basis_of(fit).knots
    grid = np.linspace(times[0], times[-1], points)
    resolution = float(np.median(np.diff(times)))
    failed = json.loads(fit.attrs["diagnostics_detail"])["failed"]
    rows = []
    for label in outcomes_of(fit):
        sigma = of_shape(fit["posterior"].dataset, label)["sigma"].to_numpy()
        own = rope.get(label or "") if isinstance(rope, Mapping) else rope
        limit = ROPE_OF_SIGMA * float(sigma.mean()) if own is None else float(own)
        for course in course_draws(fit, grid, label):
            if course.kind != "difference":
                continue
            found = peak_draws(course.draws, grid)
            probability = float((np.abs(found["size"]) > limit).mean())
            for quantity, draws in found.items():
                told = draws[np.isfinite(draws)] if probability > PEAK_PROB else np.zeros(0)
                low, middle, high = (
                    np.quantile(told, [(1 - ci_prob) / 2, 0.5, (1 + ci_prob) / 2])
                    if len(told)
                    else (np.nan, np.nan, np.nan)
                )
                rows.append({
                    "blend_shape": label or "", "curve": course.name, "quantity": quantity, "median": middle,
                    "eti_lower": low, "eti_upper": high, "ci_prob": ci_prob,
                    "known": float(np.isfinite(draws).mean()), "p_peak": probability, "rope": limit,
                    "resolution": resolution, "units": _units(quantity, str(fit.attrs["units"])),
                    "verdict": "failed" if (label or "") in failed else "passed",
                })  # fmt: skip
    return pd.DataFrame(rows, columns=list(PEAK_COLUMNS))


def _units(quantity: str, units: str) -> str:
    if quantity == "size":
        return units
    return f"{units} s" if quantity == "area" else "s"


def peak_draws(draws: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """Size, time, latency, half-fade and area of every curve, draws (draw, time) on a fine grid."""
    rows = np.arange(len(draws))
    at = np.abs(draws).argmax(axis=1)
    size = draws[rows, at]
    relative = draws / np.where(size == 0.0, 1.0, size)[:, None]  # 1 at the peak
    above = relative >= HALF
    index = np.arange(len(times))
    before = np.where((index <= at[:, None]) & above, index, len(times)).min(axis=1)
    fallen = np.where((index > at[:, None]) & ~above, index, len(times)).min(axis=1)
    fade = np.full(len(draws), np.nan)
    fades = fallen < len(times)
    fade[fades] = _crossing(relative[fades], times, fallen[fades]) - times[at[fades]]
    latency = np.where(before > 0, _crossing(relative, times, np.maximum(before, 1)), times[0])
    area = np.trapezoid(draws, times, axis=1)
    return {"size": size, "time": times[at], "latency": latency, "half-fade": fade, "area": area}


def _crossing(relative: np.ndarray, times: np.ndarray, after: np.ndarray) -> np.ndarray:
    """When each curve passes one half between the grid point before `after` and that point."""
    rows = np.arange(len(relative))
    low, high = relative[rows, after - 1], relative[rows, after]
    apart = np.where(high == low, 1.0, high - low)
    share = np.clip((HALF - low) / apart, 0.0, 1.0)
    return times[after - 1] + share * (times[after] - times[after - 1])
