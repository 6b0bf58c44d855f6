"""Tables for readers: rounded, with units, every cell already text.

Each function returns a DataFrame of strings whose column names are the headings; a document or the app only places
it. Decimals follow the spread: two digits of the typical posterior sd, the same in a whole column.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from mien.models.factors.spec import is_factor_fit
from mien.reports_app import wording
from mien.reports_app.attributes import engine_verdicts, is_weighted, verdict_detail
from mien.reports_app.rows import Row, by_region, rows_of
from mien.study.blend_shapes import BILATERAL_NAMES, BLEND_SHAPES, bilateral_name, members

__all__ = [
    "clock",
    "computation_table",
    "diagnostics_table",
    "effects_table",
    "exclusion_table",
    "paper_table",
    "peaks_table",
    "pooled_table",
    "quality_table",
    "reasons_table",
]

DECISION_WORDS = {"inside": "practically none", "outside": "outside", "undecided": "undecided"}


def effects_table(effects: pd.DataFrame) -> pd.DataFrame:
    """The effects of one name, by region and size.

    Parameters
    ----------
    effects : rows of `mien.effects` of one effect.
    """
    decimals = _decimals(effects)
    return pd.DataFrame(
        [
            {
                "region": str(row["region"]),
                "movement": wording.movement(str(row["blend_shape"])),
                "blend shape": str(row["blend_shape"]),
                "mean": wording.number(row["mean"], decimals),
                f"{100 * float(row['ci_prob']):g} % {str(row['ci_kind']).upper()}": _range(
                    row, "eti", decimals
                ),
                "P(direction)": wording.probability_text(float(row["p_direction"])),
                "in ROPE": _share(float(row["in_rope"])),
                "decision": DECISION_WORDS.get(str(row["decision"]), str(row["decision"])),
                "β std": wording.number(row["beta_std"], 2),
                "β/σ": wording.number(row["beta_sigma"], 2),
            }
            for row in by_region(rows_of(effects))
        ]
    )


def computation_table(effects: pd.DataFrame, fit: Any = None) -> pd.DataFrame:
    """How well each effect of one name was computed, in the order of `effects_table`.

    Parameters
    ----------
    fit : where it was drawn by importance sampling, the measures of its weights stand in place of R-hat, which says
        nothing of resampled draws.
    """
    decimals = _decimals(effects)
    verdicts = engine_verdicts(fit) if fit is not None else {}
    return pd.DataFrame(
        [
            {
                "blend shape": str(row["blend_shape"]),
                "sd": f"{float(row['sd']):.{decimals}f}",
                "MCSE of the mean": f"{float(row['mcse_mean']):.2g}",
                "ROPE": f"±{float(row['rope']):.{decimals}f}",
                **_measures(row, verdicts),
                "checks": str(row["verdict"]),
            }
            for row in by_region(rows_of(effects))
        ]
    )


def _measures(row: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    if not verdicts:
        return {
            "R-hat": f"{float(row['r_hat']):.3f}",
            "bulk ESS": f"{float(row['ess_bulk']):.0f}",
            "tail ESS": f"{float(row['ess_tail']):.0f}",
        }
    verdict = verdicts.get(str(row["blend_shape"]), {})
    return {
        "Pareto k": _plain(verdict.get("khat_engine"), 2),
        "ESS": _plain(verdict.get("ess_min"), 0),
        "|z| between runs": _plain(verdict.get("max_z"), 1),
        "fallback": str(verdict.get("fallback") or "–"),
    }


def _decimals(effects: pd.DataFrame) -> int:
    return wording.decimals_for(median(float(row["sd"]) for row in rows_of(effects)))


def _range(row: Mapping[str, Any], stem: str, decimals: int) -> str:
    return f"{wording.number(row[f'{stem}_lower'], decimals)} to {wording.number(row[f'{stem}_upper'], decimals)}"


def _share(value: float) -> str:
    """A posterior share in percent; neither 0 % nor 100 % is ever certain."""
    if not math.isfinite(value):
        return "–"
    if 0 < value < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= value < 1 else f"{value:.0%}".replace("%", " %")


def pooled_table(effects: pd.DataFrame) -> pd.DataFrame:
    """The same effect alone and pooled over shapes, where it was pooled; no rows where it was not.

    Parameters
    ----------
    effects : rows of `mien.effects` of one effect.
    """
    rows = [
        row for row in by_region(rows_of(effects)) if math.isfinite(float(row.get("pooled_mean", math.nan)))
    ]
    decimals = _decimals(effects)
    return pd.DataFrame(
        [
            {
                "region": str(row["region"]),
                "blend shape": str(row["blend_shape"]),
                "alone": wording.number(row["mean"], decimals),
                "alone, interval": _range(row, "eti", decimals),
                "pooled": wording.number(row["pooled_mean"], decimals),
                "pooled, interval": _range(row, "pooled_eti", decimals),
                "P(direction), pooled": wording.probability_text(float(row["pooled_p_direction"])),
            }
            for row in rows
        ]
    )


def paper_table(findings: pd.DataFrame) -> pd.DataFrame:
    """The paper's findings on a simulated study: truth, posterior and classical estimate, a row a finding and shape.

    Parameters
    ----------
    findings : from `mien.workflow.paper_table`.
    """
    rows = []
    for row in rows_of(findings):
        known = math.isfinite(float(row["classical"]))
        low, high = float(row["eti_lower"]), float(row["eti_upper"])
        rows.append(
            {
                "finding": str(row["says"]),
                "blend shape": str(row["blend_shape"]),
                "truth (± MC error)": f"{wording.number(row['truth'], 4)} ± {float(row['truth_mc_se']):.4f}",
                "posterior, 95 % ETI": f"{wording.number(row['mean'], 4)} ({wording.number(low, 4)} to "
                f"{wording.number(high, 4)})",
                "classical, 95 % CI": f"{wording.number(row['classical'], 4)} "
                f"({wording.number(row['classical_lower'], 4)} to {wording.number(row['classical_upper'], 4)})"
                if known
                else "–",
                "truth inside": "yes" if low <= float(row["truth"]) <= high else "no",
                "P(direction)": wording.probability_text(float(row["p_direction"])),
                "β std": wording.number(row["beta_std"], 2),
            }
        )
    return pd.DataFrame(rows)


QUANTITIES = ("size", "time", "latency", "half-fade", "area")


def peaks_table(peaks: pd.DataFrame) -> pd.DataFrame:
    """One row a shape and difference: size, time, latency, half-fade and area of its peak, with intervals.

    Parameters
    ----------
    peaks : from `mien.models.peaks`.
    """
    return pd.DataFrame(
        [
            _peaks_row(rows_of(rows))
            for _, rows in peaks.groupby(["blend_shape", "curve"], sort=False, observed=True)
        ]
    )


def _peaks_row(rows: list[Row]) -> dict[str, str]:
    by = {str(row["quantity"]): row for row in rows}
    first = rows[0]
    cells = {}
    for quantity in QUANTITIES:
        row = by[quantity]
        in_seconds = str(row["units"]) == "s"
        heading = f"{quantity} (s)" if in_seconds else quantity
        if not math.isfinite(float(row["median"])):
            cells[heading] = "–"
            continue
        values = [float(row[name]) for name in ("median", "eti_lower", "eti_upper")]
        texts = [f"{value:.1f}" if in_seconds else wording.number(value) for value in values]
        cells[heading] = f"{texts[0]} ({texts[1]} to {texts[2]})"
    return {
        "blend shape": str(first["blend_shape"]),
        "difference": str(first["curve"]),
        "P(peak beyond ROPE)": wording.probability_text(float(first["p_peak"])),
        **cells,
        "fades by half in": _share(float(by["half-fade"]["known"])),
    }


def quality_table(quality: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a recording, from the quality reports (DESIGN 3.2)."""
    return pd.DataFrame(
        [
            {
                "recording": recording_label(str(one["source"])),
                "verdict": str(one["verdict"]),
                "length": clock(one["duration_s"]),
                "frames/s": _plain(one["rate_hz"], 1),
                "frames lost": f"{int(one['lost_frames'])} ({_share(_lost(one))})",
                "tracked": _share(float(one["tracked_share"])),
                "blinks/min": _plain(one["blinks_per_min"], 0),
                "remarks": _remarks(one),
            }
            for one in quality
        ]
    )


def recording_label(source: str) -> str:
    """`sub-01 task-met run-1` for `sub-01_ses-1_task-met_tracksys-arkit_run-1`: words that may wrap."""
    return " ".join(part for part in source.split("_") if not part.startswith("tracksys-"))


def _remarks(one: Mapping[str, Any]) -> str:
    still = [str(name) for name in one["still_shapes"]]
    parts = [f"never moved: {', '.join(_paired(still))}"] if still else []
    return "; ".join([*map(str, one["warnings"]), *parts]) or "–"


def _paired(names: Sequence[str]) -> list[str]:
    """Shapes, with one name for a pair of which both sides are there."""
    bases = [bilateral_name(name) if name in BLEND_SHAPES else name for name in names]
    whole = {base for base in bases if base in BILATERAL_NAMES and set(members(base)) <= set(names)}
    return list(
        dict.fromkeys(base if base in whole else name for base, name in zip(bases, names, strict=True))
    )


def _lost(one: Mapping[str, Any]) -> float:
    return int(one["lost_frames"]) / max(int(one["frames"]) + int(one["lost_frames"]), 1)


def clock(seconds: float | None) -> str:
    """`14:07` min:s, or a dash."""
    if seconds is None or not math.isfinite(float(seconds)):
        return "–"
    whole = round(float(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def _plain(value: float | None, decimals: int) -> str:
    return "–" if value is None or not math.isfinite(float(value)) else f"{float(value):.{decimals}f}"


def exclusion_table(groups: Sequence[Mapping[str, Any]], by: Sequence[str]) -> pd.DataFrame:
    """What was kept in each group.

    Parameters
    ----------
    groups : one of the `by_…` lists of prep.json.
    by : its label columns, such as ("participant",).
    """
    return pd.DataFrame(
        [
            {
                **{column: str(one[column]) for column in by},
                "trials kept": f"{one['trials_kept']} of {one['trials']}",
                "rows kept": _share(int(one["rows_kept"]) / max(int(one["rows"]), 1)),
                "frames tracked": _share(float(one["valid_share"])),
                "most frequent reason": max(
                    one["by_reason"], key=lambda reason: one["by_reason"][reason]["rows"], default="–"
                ),
            }
            for one in groups
        ]
    )


def reasons_table(counts: Mapping[str, Any]) -> pd.DataFrame:
    """Rows and trials that each reason took out, from prep.json."""
    rows = max(int(counts["rows"]), 1)
    return pd.DataFrame(
        [
            {
                "reason": reason,
                "rows": f"{one['rows']:,}",
                "share of rows": _share(one["rows"] / rows),
                "trials touched": f"{one['trials']:,}",
            }
            for reason, one in sorted(counts["by_reason"].items(), key=lambda item: -item[1]["rows"])
        ],
        columns=["reason", "rows", "share of rows", "trials touched"],
    )


def diagnostics_table(effects: Mapping[str, pd.DataFrame], fits: Mapping[str, Any]) -> pd.DataFrame:
    """One row a fit: verdict, the worst of what decides it, draws; co-activation fits, without effects, come last.

    The extremes are over all hyperparameters and coefficients where the fit tells them (`diagnostics_detail`), else
    over the effects. A fit that was sampled has R-hat, effective sizes, BFMI and divergences; one by importance
    sampling has Pareto k, the effective size of its weights and z between its runs; a dash stands for the other's.
    """
    together = [name for name, fit in fits.items() if is_factor_fit(fit)]
    found = pd.DataFrame(
        [
            *(_diagnostics(name, rows_of(effects[name]), fits[name]) for name in effects),
            *(_diagnostics(name, [], fits[name]) for name in together),
        ],
        columns=list(DIAGNOSTICS),
    )
    weighted = {is_weighted(fits[name]) for name in (*effects, *together)}
    hidden = {*(OF_SAMPLING if False not in weighted else ()), *(OF_WEIGHTS if True not in weighted else ())}
    return found.drop(columns=list(hidden))


OF_SAMPLING = ("worst R-hat", "least bulk ESS", "least tail ESS", "least BFMI", "divergences")
OF_WEIGHTS = ("worst Pareto k", "least ESS", "largest |z|", "fallbacks")
DIAGNOSTICS = ("fit", "checks", *OF_SAMPLING, *OF_WEIGHTS, "draws", "shapes that failed")


def _diagnostics(name: str, rows: list[Row], fit: Any) -> dict[str, str]:
    sizes = fit["posterior"].to_dataset().sizes
    failed = sorted({str(row["blend_shape"]) for row in rows if row["verdict"] != "passed"})
    if is_factor_fit(fit) and fit.attrs.get("diagnostics") != "passed":
        failed = ["all, being fitted together"]
    return {
        **dict.fromkeys(DIAGNOSTICS, "–"),
        "fit": name,
        "checks": str(fit.attrs.get("diagnostics", "–")),
        **(_weighted(fit) if is_weighted(fit) else _sampled(rows, fit)),
        "draws": f"{sizes.get('chain', 1)} × {sizes.get('draw', 0)}",
        "shapes that failed": ", ".join(failed) or "–",
    }


def _sampled(rows: list[Row], fit: Any) -> dict[str, str]:
    detail = {
        "max_r_hat": max((float(row["r_hat"]) for row in rows), default=math.nan),
        "min_ess_bulk": min((float(row["ess_bulk"]) for row in rows), default=math.nan),
        "min_ess_tail": min((float(row["ess_tail"]) for row in rows), default=math.nan),
        **verdict_detail(fit),
    }
    return {
        "worst R-hat": f"{detail['max_r_hat']:.3f}",
        "least bulk ESS": f"{detail['min_ess_bulk']:.0f}",
        "least tail ESS": f"{detail['min_ess_tail']:.0f}",
        "least BFMI": _plain(detail.get("min_bfmi"), 2),
        "divergences": str(detail.get("divergences", "–")),
    }


def _weighted(fit: Any) -> dict[str, str]:
    detail = verdict_detail(fit)
    fallbacks = detail.get("fallbacks") or {}
    return {
        "worst Pareto k": _plain(detail.get("max_khat"), 2),
        "least ESS": _plain(detail.get("min_ess"), 0),
        "largest |z|": _plain(detail.get("max_z"), 1),
        "fallbacks": ", ".join(f"{word} {count}" for word, count in fallbacks.items()) or "none",
    }
