"""Tables of a power report, as text: every cell, the null world, failures, what was assumed, frozen priors.

Shares have two digits (.81) and their Monte-Carlo standard errors three; numbers in units of the outcome have as many
as their error allows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from mien.power.plan import AXES, Goal
from mien.priors import FrozenPriors, prior_text
from mien.reports_app import power_words as words
from mien.reports_app.figures.power_curves import share_text, value_text
from mien.reports_app.power_sentences import interval_text, signed_share
from mien.reports_app.prior_words import SOURCE_WORDS, capital, parameter_words
from mien.reports_app.rows import Row, rows_of

if TYPE_CHECKING:
    from mien.power.plan import Plan

__all__ = [
    "WORLD_WORDS", "causes_table", "cells_table", "design_table", "designs_table", "failures_table", "goals_table",
    "losses_table", "noise_table", "null_table", "plain_table", "priors_table", "sequential_table", "truth_table",
    "varying",
]  # fmt: skip

WORLD_WORDS: Mapping[str, str] = {
    "alternative": "as assumed", "ceiling": "N → ∞", "null": "no effect", "check": "check at the answer",
}  # fmt: skip
NO_SOURCE = "none was written down"
HEADS = {
    "undecided": "undecided", "wrong": "false statement", "type_s": "Type S", "type_m": "Type M",
    "coverage": "coverage", "width": "interval width", "shapes_stated": "shapes that meet it",
    "shapes_false": "shapes told wrongly",
}  # fmt: skip
SHARES = ("undecided", "wrong", "type_s", "coverage")


def varying(plan: "Plan") -> list[str]:
    """Axes that have more than one value in the plan; participants always."""
    from mien.power.cells import truth_axes

    found = [name for name in AXES if name == "participants" or len(getattr(plan.design, name)) > 1]
    return [*found, *truth_axes(plan)]


def cells_table(estimates: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row a cell of one goal: what was simulated, and all that came out.

    Parameters
    ----------
    estimates : of one goal, as `mien.power.estimates` gives them. axes : that are shown.
    """
    known = [name for name in HEADS if name in estimates and not estimates[name].isna().to_numpy().all()]
    return pd.DataFrame([
        {"world": WORLD_WORDS.get(str(row["world"]), str(row["world"])),
         **{_head(name): value_text(float(row[name])) for name in axes},
         "studies": words.count_text(row["n"]), "failed": words.count_text(row["failed"]),
         "power": _with_error(row["power"], row["mcse"]), "95 % interval": _interval(row),
         **{HEADS[name]: _quantity(name, row) for name in known}}
        for row in rows_of(estimates)
    ])  # fmt: skip


def _head(axis: str) -> str:
    return {"missing": "trials lost"}.get(axis, axis)


def _error(value: float) -> str:
    return share_text(value, 3) if math.isfinite(value) else "–"


def _interval(row: Row, lower: str = "lower", upper: str = "upper") -> str:
    if not math.isfinite(row[lower]):
        return "–"
    return f"{share_text(row[lower])} to {share_text(row[upper])}"


def _with_error(value: float, error: float) -> str:
    """`.81 ± .012`."""
    return f"{share_text(value)} ± {_error(error)}" if error > 0 else share_text(value)


def _quantity(name: str, row: Row) -> str:
    value, error = float(row[name]), float(row.get(f"{name}_mcse", math.nan))
    if not math.isfinite(value):
        return "–"
    text = (
        share_text(value)
        if name in SHARES
        else f"{value:.2f}"
        if name != "width"
        else value_text(_rounded(value))
    )
    return f"{text} ± {_error(error) if name in SHARES else _plain_error(error)}" if error > 0 else text


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _plain_error(error: float) -> str:
    return value_text(float(f"{error:.1g}"))


def null_table(estimates: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row a cell without effect and goal: the share of studies that state something false.

    Parameters
    ----------
    estimates : of all goals.
    """
    null: Any = estimates[(estimates["world"] == "null") & estimates["error"].notna()]
    several = len(set(null["goal"])) > 1
    return pd.DataFrame([
        {**({"goal": str(row["goal"])} if several else {}),
         **{_head(name): value_text(float(row[name])) for name in axes}, "studies": words.count_text(row["n"]),
         "false statements": _with_error(row["error"], row["wrong_mcse"]),
         "95 % interval": _interval(row, "error_lower", "error_upper"),
         **({"expected": share_text(row["expected_error"])} if null["expected_error"].notna().any() else {}),
         **({"any shape": share_text(row["any_false"])} if "any_false" in null else {})}
        for row in rows_of(null)
    ])  # fmt: skip


def failures_table(failures: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row a cell and cause, most frequent first."""
    table = failures.sort_values("count", ascending=False, kind="stable")
    return pd.DataFrame([
        {"cause": str(row["failure"]), "world": WORLD_WORDS.get(str(row["world"]), str(row["world"])),
         **{_head(name): value_text(float(row[name])) for name in axes},
         "fits": words.count_text(row["count"]), "of": words.count_text(row["of"]), "share": share_text(row["share"])}
        for row in rows_of(table)
    ])  # fmt: skip


def causes_table(failures: pd.DataFrame) -> pd.DataFrame:
    """One row a cause, most frequent first."""
    counts: dict[str, int] = {}
    for row in rows_of(failures):
        counts[str(row["failure"])] = counts.get(str(row["failure"]), 0) + int(row["count"])
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return pd.DataFrame([{"cause": cause, "fits": words.count_text(count)} for cause, count in ordered])


# What follows from the cells


def designs_table(plan: "Plan", designs: pd.DataFrame) -> pd.DataFrame:
    """One row a design of the grid: the smallest number of participants, its interval, the ceiling."""
    axes = [axis for axis in varying(plan) if axis != "participants"]
    return pd.DataFrame([
        {**{_head(axis): value_text(float(row[axis])) for axis in axes},
         "participants": _smallest(row), "95 % interval": interval_text(row).strip(" ()") or "–",
         **({"price": _price(row["cost"])} if plan.cost else {}),
         "power there": share_text(row["power"]) if math.isfinite(row["participants"]) else "–",
         f"power at {value_text(float(row['largest']))}": share_text(row["largest_power"]),
         "ceiling": _interval_of_ceiling(row)}
        for row in rows_of(designs)
    ])  # fmt: skip


def _smallest(row: Row) -> str:
    status = str(row["status"])
    if status == "found":
        return value_text(float(row["participants"]))
    told = {"smallest": "≤ {}", "none": "none: ceiling", "falls": "none: power falls", "beyond": "> {}"}[
        status
    ]
    return told.format(value_text(float(row["participants" if status == "smallest" else "largest"])))


def _price(value: float) -> str:
    return words.count_text(value) if math.isfinite(value) else "–"


def _interval_of_ceiling(row: Row) -> str:
    if not math.isfinite(row["ceiling"]):
        return "–"
    return f"{share_text(row['ceiling'])} ({share_text(row['ceiling_lower'])}–{share_text(row['ceiling_upper'])})"


def losses_table(losses: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row a cell and goal: power with losses and exclusions, and without."""
    several = len(set(losses["goal"])) > 1
    return pd.DataFrame([
        {**({"goal": str(row["goal"])} if several else {}),
         "world": WORLD_WORDS.get(str(row["world"]), str(row["world"])),
         **{_head(name): value_text(float(row[name])) for name in axes},
         "studies": words.count_text(row["n"]), "trials left": share_text(row["kept_share"]),
         "persons left": f"{row['persons_left']:.1f}", "power": share_text(row["power"]),
         "without": share_text(row["power_clean"]),
         "difference": _signed(row),
         "shift of the estimate": f"{value_text(float(f'{row["shift"]:.2g}'))} ± {_plain_error(row['shift_mcse'])}"}
        for row in rows_of(losses)
    ])  # fmt: skip


def _signed(row: Row) -> str:
    value, low, high = (signed_share(row[name]) for name in ("difference", "lower", "upper"))
    return f"{value} ({low} to {high})"


def noise_table(noise: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row a goal and two neighbouring numbers."""
    several = len(set(noise["goal"])) > 1
    others = [axis for axis in axes if axis != "participants"]
    return pd.DataFrame([
        {**({"goal": str(row["goal"])} if several else {}),
         **{_head(axis): value_text(float(row[axis])) for axis in others},
         "from": value_text(float(row["participants"])), "to": value_text(float(row["participants_to"])),
         "studies": words.count_text(row["replicates"]),
         "difference of power": _with_error(row["difference"], row["difference_mcse"]),
         "noise, independent = 1": _with_error(row["noise_ratio"], row["noise_ratio_mcse"])}
        for row in rows_of(noise)
    ])  # fmt: skip


def sequential_table(table: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row a goal, world and design."""
    several = len(set(table["goal"])) > 1
    others = [axis for axis in axes if axis != "participants"]
    return pd.DataFrame([
        {**({"goal": str(row["goal"])} if several else {}),
         "world": WORLD_WORDS[str(row["world"])],
         **{_head(axis): value_text(float(row[axis])) for axis in others},
         "looks": str(int(row["looks"])), "studies": words.count_text(row["n"]),
         "mean N": f"{row['expected_n']:.1f} ± {_plain_error(row['expected_n_mcse'])}",
         "10, 50, 90 % by": ", ".join(value_text(float(row[name])) for name in ("n_10", "n_50", "n_90")),
         "as wanted": _with_error(row["power"], row["mcse"]),
         "one look": share_text(row["fixed_power"]), "undecided": share_text(row["undecided"]),
         "false": _with_error(row["wrong"], row["wrong_mcse"]),
         "Type S": share_text(row["type_s"]), "Type M": _ratio(row["type_m"])}
        for row in rows_of(table)
    ])  # fmt: skip


def _ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


# What was assumed


def plain_table(part: Any) -> pd.DataFrame:
    """The fields of a part of the plan; a recipe by its hash."""
    told = part.to_dict() if hasattr(part, "to_dict") else asdict(part)
    return pd.DataFrame(
        [{"what": str(name).replace("_", " "), "value": str(value)} for name, value in told.items()]
    )


def design_table(plan: "Plan") -> pd.DataFrame:
    """Who sees what."""
    design = plan.design
    told: dict[str, str] = {
        capital(words.AXIS_WORDS[name][2]): words.listed(
            [value_text(float(one)) for one in getattr(design, name)]
        )
        for name in AXES
    }
    told |= {
        "Share of participants who give no trials": value_text(design.dropout),
        "Valences": words.listed(design.valences),
        "Groups, taken in turn": words.listed(design.groups) or "one",
        "Numbers of persons, standard normal": words.listed(design.covariates) or "none",
    }
    if plan.shapes.count > 1:
        told |= {
            "Blend shapes, each fitted on its own": str(plan.shapes.count),
            "Blend shapes with the effect": str(plan.shapes.with_effect),
            "Spread (sd) of the effect between them": value_text(plan.shapes.spread),
            "Correlation of shapes in all that varies": value_text(plan.shapes.correlation),
        }
    told |= {f"Price of a {name}": value_text(value) for name, value in plan.cost.items()}
    return pd.DataFrame([{"design": name, "value": value} for name, value in told.items()])


def truth_table(plan: "Plan") -> pd.DataFrame:
    """The world that was assumed."""
    truth = plan.truth
    if truth.pilot is not None:
        rows = [
            {"parameter": str(name), "meaning": capital(_meaning(str(name))),
             "true value": f"drawn from a pilot’s posterior: mean {value_text(float(column.mean()))}, sd "
             f"{value_text(float(f'{column.std():.2g}'))}"}
            for name, column in truth.pilot.items() if name not in truth.coefficients
        ]  # fmt: skip
        rows += [
            {"parameter": name, "meaning": capital(_meaning(name)),
             "true value": f"{words.truth_text(values)}, in place of the pilot’s"}
            for name, values in truth.coefficients.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)
    told = [(name, words.truth_text(values)) for name, values in truth.coefficients.items()]
    if plan.pipeline is not None or plan.recovery is not None:
        return pd.DataFrame([{"parameter": name, "true value": value} for name, value in told])
    told += [(f"sd:{name}", value_text(value)) for name, value in truth.sds.items()]
    told += [(f"corr:{name}", value_text(value)) for name, value in truth.correlations.items()]
    told += [("sigma", value_text(truth.sigma))]
    told += [(name, value_text(value)) for name, value in truth.parameters.items()]
    return pd.DataFrame(
        [{"parameter": name, "meaning": capital(_meaning(name)), "true value": value} for name, value in told]
    )


def _meaning(name: str) -> str:
    """Its words; nothing where it has none."""
    found = parameter_words(name)
    return "" if found == name else found


def priors_table(frozen: FrozenPriors) -> pd.DataFrame:
    """The frozen priors of every fit."""
    outcome = next(iter(frozen.outcomes.values()))
    rows = []
    for name, resolved in outcome.items():
        source: Mapping[str, Any] = frozen.entries.get(resolved.id, {}).get("source", {})
        reason = capital(str(source.get("reason", "")))
        rows.append({
            "parameter": name, "meaning": capital(_meaning(name)),
            "prior": prior_text(resolved.prior).replace("(-", "(−").replace(" -", " −"),
            "source": SOURCE_WORDS.get(resolved.source, resolved.source) if source else NO_SOURCE, "why": reason or "–",
        })  # fmt: skip
    return pd.DataFrame(rows)


def goals_table(goals: Sequence[Goal]) -> pd.DataFrame:
    """What each goal asks."""
    return pd.DataFrame([{"goal": goal.name, "a study meets it when": words.asks(goal)} for goal in goals])
