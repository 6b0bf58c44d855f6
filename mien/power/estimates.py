"""What the replicates of a cell say: shares with their Monte-Carlo error, and how wrong the statements were.

Every share is met / n with MCSE √(p(1 − p)/n) and the Wilson interval, 95 %: it stays inside 0–1 and does not shrink to
a point where nothing or everything was met. Everything here is a function of plan, cells and rows.

power       share of studies that meet their goal; assurance where the truth is drawn for every replicate
wrong       share of studies that say something false: the other sign, an effect where there is none, none where one is
type S      share of wrong signs among statements of an effect
type M      mean |posterior mean| / mean |true effect| among statements of an effect
ceiling     power at N → ∞ in the same design: what more participants cannot change
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from mien.power.deciding import STATING, states_false
from mien.study.errors import StudyError

if TYPE_CHECKING:
    from mien.power.plan import Goal, Plan

__all__ = [
    "LEVEL", "GoalRows", "Share", "axes_of", "clean_rows", "counted", "estimates", "failures", "goal_rows",
    "ratio_of_means", "rows_by_cell", "share",
    "states_effect", "wilson",
]  # fmt: skip

LEVEL = 0.95  # of every interval here: a convention
OF_EFFECTS = (*STATING, "width")  # whose interval is one of the effect
KEYS = ("cell", "world", "cohort")
NOT_OF_CEILINGS = (
    "participants",
    "missing",
)  # of infinitely many participants a share lost leaves infinitely many
QUANTITIES = ("met", "decision", "value", "mean", "sd", "lower", "upper", "truth", "decided", "false")


class Share(NamedTuple):
    """A share with its Monte-Carlo standard error and its Wilson interval."""

    value: float
    mcse: float
    lower: float
    upper: float


class GoalRows(NamedTuple):
    """One goal in the replicates of some cell; failed ones are rows without numbers.

    failed : (replicate,) bool. met : 0, 1 or NaN. decision : −1, 0, 1 or NaN. decided, false : numbers of
    shapes. The rest as in the rows.
    """

    replicate: np.ndarray
    failed: np.ndarray
    met: np.ndarray
    decision: np.ndarray
    value: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    truth: np.ndarray
    decided: np.ndarray
    false: np.ndarray


# Rows


def clean_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by cell and replicate number, each once: the order in which they came has no say.

    Raises
    ------
    StudyError
        Where these are no rows of a power run.
    """
    missing = [name for name in ("cell", "replicate", "failure") if name not in rows]
    if missing:
        raise StudyError(
            f"rows: expected columns cell, replicate and failure of a power run, found no {', '.join(missing)}."
        )
    return rows.drop_duplicates(["cell", "replicate"]).sort_values(["cell", "replicate"], ignore_index=True)


def rows_by_cell(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Clean rows of every cell."""
    return {str(key): some for key, some in clean_rows(rows).groupby("cell", sort=False)}


def goal_rows(rows: pd.DataFrame, goal: "Goal") -> GoalRows:
    """One goal's columns as arrays.

    Raises
    ------
    StudyError
        Where the rows are of a plan without this goal.
    """
    missing = [name for name in QUANTITIES if f"{goal.name}:{name}" not in rows]
    if missing:
        raise StudyError(
            f"rows: expected the goal {goal.name!r} in them, found no column {goal.name}:{missing[0]}: "
            "are they of another plan?"
        )
    failed = has_failed(rows)
    columns = [_floats(rows[f"{goal.name}:{name}"]) for name in QUANTITIES]
    return GoalRows(rows["replicate"].to_numpy(), failed, *columns)


def has_failed(rows: pd.DataFrame) -> np.ndarray:
    """(row,) whether the fit failed."""
    cause: Any = rows["failure"]
    return (cause.fillna("") != "").to_numpy()


def _floats(column: Any) -> np.ndarray:
    """True, False and missing as 1, 0 and NaN."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def axes_of(cells: pd.DataFrame) -> list[str]:
    """Its columns that are axes of design or truth."""
    return [str(name) for name in cells.columns if name not in KEYS]


# Shares


def wilson(count: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """The Wilson interval of a share: those p that `count` lies within z standard errors of."""
    if n == 0:
        return math.nan, math.nan
    z2 = float(ndtri(0.5 + level / 2.0)) ** 2
    center = (count + z2 / 2.0) / (n + z2)
    half = math.sqrt(z2 * (count * (n - count) / n + z2 / 4.0)) / (n + z2)
    return max(0.0, center - half), min(1.0, center + half)


def share(hits: np.ndarray, n: int | None = None) -> Share:
    """Of `n` (all that are there), with those that are True or 1."""
    n = len(hits) if n is None else n
    count = float(np.sum(hits))
    if n == 0:
        return Share(math.nan, math.nan, math.nan, math.nan)
    value = count / n
    return Share(value, math.sqrt(value * (1.0 - value) / n), *wilson(count, n))


def counted(plan: "Plan", rows: pd.DataFrame, goal: "Goal") -> tuple[np.ndarray, int]:
    """Which replicates met the goal, of those whose fit succeeded; and how many count, by the plan's policy."""
    found = goal_rows(rows, goal)
    return found.met[~found.failed] == 1, len(found.failed) - _left_out(plan, found)


def _left_out(plan: "Plan", found: GoalRows) -> int:
    return int(found.failed.sum()) if plan.budget.failures == "left_out" else 0


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    if len(values) == 0:
        return math.nan, math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(np.mean(values)), error


# Statements


def states_effect(goal: "Goal", decision: np.ndarray) -> np.ndarray:
    """Which decisions state that there is an effect; a width, or factors found again, state nothing."""
    if goal.kind not in STATING:
        return np.zeros(len(decision), dtype=bool)
    return decision != 0 if goal.kind == "direction" else decision == 1


def in_region(goal: "Goal", truth: np.ndarray) -> np.ndarray:
    """Where the wanted decision is the right one: the region that more data lead to."""
    low, high = goal.rope if goal.kind == "rope" else (0.0, 0.0)
    inside = (low <= truth) & (truth <= high)
    regions = {
        "positive": truth > 0, "negative": truth < 0, "reject": ~inside, "effect": ~inside, "accept": inside,
        "null": inside,
    }  # fmt: skip
    either = truth != 0 if goal.kind == "direction" else np.ones(len(truth), dtype=bool)
    return regions.get(goal.wanted, either)


# Tables


def estimates(plan: "Plan", rows: pd.DataFrame, cells: pd.DataFrame | None = None) -> pd.DataFrame:
    """A cell and goal a row.

    Parameters
    ----------
    cells : as `cells_table` gives them; None takes those of the plan.

    Returns
    -------
    cell, world, cohort, the axes, goal, kind, n (studies that count), failed, then

    - power, mcse, lower, upper, half_width; assurance (whether the truth is drawn), in_region (the share of truths
      where the wanted decision is right, which is what assurance tends to);
    - undecided, wrong and their _mcse, over the same n: with power and failures they say what becomes of a study;
    - error, error_lower, error_upper: `wrong` in the null world; expected_error: what it must be, where that is known;
    - stated (studies that state an effect), type_s, type_m with _mcse; width, coverage with _mcse, of good fits;
    - shapes_stated, shapes_false (expected numbers) with _mcse, any_false, where there are several shapes;
    - ceiling, ceiling_lower, ceiling_upper: power at N → ∞ of the same design and truth, where it was simulated.
    """
    cells = _cells(plan, cells)
    rows = clean_rows(rows)
    table = pd.DataFrame(list(_lines(plan, rows, cells)))
    if table.empty:
        raise StudyError(
            "rows: expected results of this plan's cells, found none: run it first (mien power run)."
        )
    return _with_ceilings(table, axes_of(cells))


def _cells(plan: "Plan", cells: pd.DataFrame | None) -> pd.DataFrame:
    if cells is not None:
        return cells
    from mien.power.cells import cells_of, cells_table

    return cells_table(cells_of(plan))


def _lines(plan: "Plan", rows: pd.DataFrame, cells: pd.DataFrame) -> Iterator[dict[str, object]]:
    grouped = rows_by_cell(rows)
    for record in cells.to_dict("records"):
        some = grouped.get(str(record["cell"]))
        if some is None:
            continue
        for goal in plan.goals:
            line = {str(name): value for name, value in record.items()}
            line |= {"goal": goal.name, "kind": goal.kind}
            yield line | _of_goal(plan, goal, some, str(record["world"]))


def _of_goal(plan: "Plan", goal: "Goal", rows: Any, world: str) -> dict[str, object]:
    found = goal_rows(rows, goal)
    succeeded = GoalRows(*(column[~found.failed] for column in found))
    n = len(found.failed) - _left_out(plan, found)
    power = share(succeeded.met == 1, n)
    line: dict[str, object] = {
        "n": n, "failed": int(found.failed.sum()), "power": power.value, "mcse": power.mcse,
        "lower": power.lower, "upper": power.upper, "half_width": (power.upper - power.lower) / 2.0,
        "assurance": plan.truth.source != "fixed" and world != "null",
        "in_region": share(in_region(goal, succeeded.truth)).value,
    }  # fmt: skip
    line |= _statements(plan, goal, succeeded, n, world)
    line |= _sizes(goal, succeeded)
    return line | (_of_shapes(succeeded, n) if plan.shapes.count > 1 else {})


def _statements(plan: "Plan", goal: "Goal", found: GoalRows, n: int, world: str) -> dict[str, object]:
    """What was stated, and whether it was so."""
    undecided = share(found.decision == 0, n)
    wrong = share(states_false(goal, found.decision, found.truth, found.mean), n)
    if goal.kind not in STATING:
        undecided = wrong = share(np.empty(0))
    null = world == "null"
    return {
        "undecided": undecided.value, "undecided_mcse": undecided.mcse, "wrong": wrong.value,
        "wrong_mcse": wrong.mcse, "error": wrong.value if null else math.nan,
        "error_lower": wrong.lower if null else math.nan, "error_upper": wrong.upper if null else math.nan,
        "expected_error": expected_error(plan, goal, found) if null else math.nan,
    }  # fmt: skip


def _sizes(goal: "Goal", found: GoalRows) -> dict[str, object]:
    """Type S and M among statements of an effect where there is one; width and coverage in all."""
    stated = states_effect(goal, found.decision) & (found.truth != 0)
    mean, truth = found.mean[stated], found.truth[stated]
    wrong_sign = share(np.sign(mean) != np.sign(truth))
    ratio, ratio_error = ratio_of_means(np.abs(mean), np.abs(truth))
    width, width_error = _mean(found.upper - found.lower)
    covered = share((found.lower <= found.truth) & (found.truth <= found.upper))
    if goal.kind not in OF_EFFECTS:
        covered = share(np.empty(0))
    return {
        "stated": len(mean), "type_s": wrong_sign.value, "type_s_mcse": wrong_sign.mcse, "type_m": ratio,
        "type_m_mcse": ratio_error, "width": width, "width_mcse": width_error, "coverage": covered.value,
        "coverage_mcse": covered.mcse,
    }  # fmt: skip


def ratio_of_means(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """Ratio of means and its standard error.

    Not the mean of ratios: where the truth is drawn, some truths are next to 0, and that mean does not exist.
    """
    if len(above) < 2:
        return math.nan, math.nan
    ratio = float(above.mean() / below.mean())
    error = float(np.std(above - ratio * below, ddof=1)) / (float(below.mean()) * math.sqrt(len(above)))
    return ratio, error


def _of_shapes(found: GoalRows, n: int) -> dict[str, object]:
    """Expected numbers of shapes."""
    stated, stated_error = _mean(found.decided)
    wrong, wrong_error = _mean(found.false)
    return {
        "shapes_stated": stated, "shapes_stated_mcse": stated_error, "shapes_false": wrong,
        "shapes_false_mcse": wrong_error, "any_false": share(found.false > 0, n).value,
    }  # fmt: skip


def _with_ceilings(table: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Beside every row the power at N → ∞ of its design and truth."""
    same = [name for name in axes if name not in NOT_OF_CEILINGS] + ["goal"]
    names, nothing = ["ceiling", "ceiling_lower", "ceiling_upper"], (math.nan,) * 3
    lines = table.to_dict("records")
    found = {
        _key(line, same): (line["power"], line["lower"], line["upper"])
        for line in lines
        if line["world"] == "ceiling"
    }
    values = [nothing if line["world"] == "null" else found.get(_key(line, same), nothing) for line in lines]
    return pd.concat(
        [table, pd.DataFrame(values, columns=names, index=table.index, dtype=np.float64)], axis=1
    )


def _key(row: Mapping[Any, Any], names: Sequence[str]) -> tuple:
    return tuple(_same(row[name]) for name in names)


def _same(value: object) -> object:
    """As a key: NaN equals itself."""
    return "" if isinstance(value, float) and math.isnan(value) else value


def failures(plan: "Plan", rows: pd.DataFrame, cells: pd.DataFrame | None = None) -> pd.DataFrame:
    """Failed replicates of every cell by cause: cell, world, the axes, failure, count, of (replicates), share."""
    cells, rows = _cells(plan, cells), clean_rows(rows)
    every: Any = rows
    failed = every[has_failed(rows)]
    causes = failed.groupby(["cell", "failure"], sort=True).size().reset_index(name="count")
    counts = every.groupby("cell").size().reset_index(name="of")
    table = cells.merge(causes, on="cell", how="inner").merge(counts, on="cell", how="left")
    return table.assign(share=table["count"] / table["of"])


# The null world, where it is known


def expected_error(plan: "Plan", goal: "Goal", found: GoalRows) -> float:
    """Share of studies that state a direction where there is none, where that is known exactly; else NaN.

    With known variances, one effect with the prior N(0, s²) and a balanced design in which other coefficients have no
    say, the posterior sd is the same in every study, and with B = s²/(s² + se²) = 1 − sd²/s²

        P(P(direction) ≥ p) = 2 Φ(−Φ⁻¹(p)/√B)

    Everywhere else this is only near, and not told.
    """
    prior_sd = _known_prior_sd(plan, goal)
    if goal.kind != "direction" or math.isnan(prior_sd) or len(found.sd) == 0 or np.any(found.truth != 0):
        return math.nan
    share_of_data = 1.0 - (found.sd[0] / prior_sd) ** 2
    if np.ptp(found.sd) > 1e-9 * found.sd[0] or share_of_data <= 0.0:
        return math.nan
    return 2.0 * float(ndtr(-ndtri(goal.probability) / math.sqrt(share_of_data)))


def _known_prior_sd(plan: "Plan", goal: "Goal") -> float:
    """Of the goal's effect, where the analysis knows all variances as they are and the design is balanced; else NaN."""
    from mien.priors import Normal

    if plan.pipeline is not None or plan.recovery is not None:
        return math.nan
    design, truth = plan.design, plan.truth
    plain = plan.shapes.count == 1 and truth.source == "fixed" and not truth.formula
    balanced = not (any(design.missing) or design.dropout or design.covariates or design.groups)
    if not (plain and balanced and plan.analysis.spec.family == "gaussian"):
        return math.nan
    if set(plan.coefficients) != {"Intercept", goal.effect} or not _known_variances(plan):
        return math.nan
    prior = next(iter(plan.frozen.outcomes.values()))[goal.effect].prior
    return prior.sd if isinstance(prior, Normal) and prior.mean == 0.0 else math.nan


def _known_variances(plan: "Plan") -> bool:
    """Whether every prior of a variance is its true value; correlated effects tie the effect to the average level."""
    from mien.priors import Fixed

    known = {f"sd:{name}": value for name, value in plan.truth.sds.items()} | {"sigma": plan.truth.sigma}
    known |= {f"corr:{name}": value for name, value in plan.truth.correlations.items()}
    priors = {name: resolved.prior for name, resolved in next(iter(plan.frozen.outcomes.values())).items()}
    if any(plan.truth.correlations.values()):
        return False
    return all(
        isinstance(prior, Fixed) and prior.value == known.get(name, 0.0)
        for name, prior in priors.items()
        if name.startswith(("sd:", "corr:", "sigma"))
    )
