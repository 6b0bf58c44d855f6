"""Tables of priors for readers: what each is, why, what it says, what checking it found; every cell already text."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.models.prior_tables import prior_table
from mien.models.sensitivity import decision_range
from mien.models.sensitivity.scaling import DIAGNOSES
from mien.models.smooths import is_smooth_term
from mien.priors.resolution import UNSOURCED
from mien.reports_app import prior_words as words
from mien.reports_app import wording
from mien.reports_app.attributes import parsed
from mien.reports_app.rows import Row, rows_of
from mien.reports_app.tables import DECISION_WORDS
from mien.simulation.prior_predictive import LIMITS, REASONS, PriorPredictive
from mien.simulation.prior_predictive.judging import number
from mien.simulation.prior_predictive.result import EXPECTED

__all__ = [
    "NOT_CHECKED", "NO_SOURCE", "PriorRow", "answer_ranges", "diagnosis_table", "leaning_shapes", "limits_table",
    "looked_table", "predictive_table", "prior_rows", "scaling_of", "scaling_table", "widths_table",
]  # fmt: skip

NO_SOURCE, NOT_CHECKED = "no source", "not checked"
NOT_ALONE = "not looked at by itself"
NO_LEANING, CONFLICT, STRONG, UNRELIABLE = DIAGNOSES
DIAGNOSIS_WORDS: Mapping[str, str] = {
    NO_LEANING: "does not lean", CONFLICT: "prior–data conflict", STRONG: "strong prior or weak data",
    UNRELIABLE: "not reliable",
}  # fmt: skip
NOTHING = 1e-6  # told as 0
LONGEST = 300  # characters of a record that are told
OF_FACTORS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "loading_sd": (("loading", "communality", "correlation"), "within groups"),
    "uniqueness": (("communality", "Heywood", "scatter"), "within groups"),
    "between_loading_sd": (("loading", "communality", "correlation"), "between groups"),
    "between_uniqueness": (("communality", "Heywood", "scatter"), "between groups"),
}
FACTOR_LIMITS = ("communality", "correlation", "loading", "tight", "one_factor")


# What, why, from where


class PriorRow(NamedTuple):
    """One parameter. kind : of its source. read : the sentence that was read. implies : what it says about data."""

    what: str
    parameter: str
    prior: str
    kind: str
    sourced: bool
    why: str
    doi: str
    read: str
    record: str
    implies: str
    checked: str
    sensitive: str


def prior_rows(
    fit: Any, predictive: PriorPredictive | None = None, scaling: pd.DataFrame | None = None
) -> list[PriorRow]:
    """The priors of a fit, with what checks and sensitivity say of each; None is told as not checked."""
    entries, coding, found = parsed(fit, "prior_entries"), parsed(fit, "coding"), []
    told: dict[str, str] = {}
    for row in rows_of(prior_table(fit)):
        name, label = str(row["parameter"]), str(row["entry"])
        what, source = words.parameter_words(name), _source(entries, label)
        sourced = str(row["source"]) != UNSOURCED and bool(source)
        again = told.get(label, "") if sourced else ""
        told.setdefault(label, what)
        found.append(PriorRow(
            what=words.capital(what), parameter=name, prior=_prior_text(str(row["prior"])),
            kind=words.SOURCE_WORDS.get(str(row["source"]), str(row["source"])) if sourced else NO_SOURCE,
            sourced=sourced, why=_why(row, source, again), doi="" if again else str(source.get("doi", "")),
            read="" if again else str(source.get("sentence", "")),
            record="" if again else _record(source.get("record", {})),
            implies="" if again else str(row["implies"]),
            checked=_checked(name, predictive, coding), sensitive=_sensitive(name, str(row["prior"]), scaling),
        ))  # fmt: skip
    return found


def _source(entries: Any, label: str) -> Mapping[str, Any]:
    entry = entries.get(label, {}) if isinstance(entries, Mapping) else {}
    return entry.get("source", {})


def _prior_text(text: str) -> str:
    return text.replace("(-", "(−").replace(" -", " −")


def _why(row: Row, source: Mapping[str, Any], again: str) -> str:
    if again:
        return f"As for “{words.capital(again)}”."
    if not source:
        return "Nobody wrote down where it comes from."
    reason = words.capital(str(source.get("reason", row["reason"])))
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."


def _record(record: Any) -> str:
    """The record of an elicitation, a pilot or a reading, in short."""
    if not isinstance(record, Mapping) or not record:
        return ""
    text = "; ".join(f"{str(key).replace('_', ' ')}: {_plain(value)}" for key, value in record.items())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# What the check before the data says


def _checked(name: str, predictive: PriorPredictive | None, coding: Any) -> str:
    if predictive is None:
        return NOT_CHECKED
    concerns = _concerning(name, coding if isinstance(coding, Mapping) else {})
    if concerns is None:
        return NOT_ALONE
    shapes: dict[str, dict[str, None]] = {}
    for row in rows_of(predictive.table):
        if concerns(str(row["check"]), _bare(str(row["quantity"]))):
            shapes.setdefault(str(row["verdict"]), {})[str(row["blend_shape"])] = None
    if not shapes:
        return NOT_ALONE
    total = len({shape for found in shapes.values() for shape in found})
    return words.checked_text({verdict: list(found) for verdict, found in shapes.items()}, total)


def _concerning(name: str, coding: Mapping[str, Sequence[str]]) -> Callable[[str, str], bool] | None:
    """Which checks are of a parameter; None where none is."""
    if name in OF_FACTORS:
        checks, level = OF_FACTORS[name]
        return lambda check, quantity: check in checks and quantity.endswith(level)
    if name.startswith("sd:"):
        return _of_spread(name.removeprefix("sd:"), coding)
    if name.startswith("corr:") or name in ("rho", "nu"):
        return None
    if name.startswith("sigma"):
        return lambda check, quantity: check == "scatter"
    if name == "Intercept":
        return lambda check, quantity: check == "level"
    effect = _bare(words.quantity_words(name, coding))
    return lambda check, quantity: check == "effect" and quantity.partition(": ")[0] == effect


def _bare(quantity: str) -> str:
    """Without brackets, which the words of an interaction may have."""
    return quantity.replace("(", "").replace(")", "")


def _of_spread(rest: str, coding: Mapping[str, Sequence[str]]) -> Callable[[str, str], bool] | None:
    term, _, factor = rest.partition("|")
    if is_smooth_term(term) or term.startswith("s("):
        return (lambda check, quantity: check == "curve") if not factor else None
    if factor != "participant":
        return None
    what = "level" if term == "1" else _bare(words.quantity_words(term, coding))
    known = {
        f"sd between persons of {what}", f"share of persons whose {what} has the opposite sign to the mean",
        f"reliability of a person's {what}",
    }  # fmt: skip
    return lambda check, quantity: quantity in known


def predictive_table(predictive: PriorPredictive) -> pd.DataFrame:
    """One row a check: what a typical prior draw has, over shapes, and how many shapes are as expected."""
    found = []
    for (check, quantity), group in predictive.table.groupby(["check", "quantity"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        rows = rows_of(group)
        expected = sum(row["verdict"] == EXPECTED for row in rows)
        found.append({
            "check": str(check), "quantity": str(quantity), "median": _over([row["median"] for row in rows]),
            "95 % of the prior": _over([row["lower"] for row in rows] + [row["upper"] for row in rows]),
            "observed": _over([row["observed"] for row in rows]),
            EXPECTED: f"{expected} of {len(rows)}",
        })  # fmt: skip
    return pd.DataFrame(found)


def _over(values: Sequence[float]) -> str:
    """The range over shapes."""
    known = [float(value) if abs(value) >= NOTHING else 0.0 for value in values if math.isfinite(value)]
    if not known:
        return "–"
    texts = [number(value).replace("-", "−") for value in (min(known), max(known))]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def looked_table(predictive: PriorPredictive) -> pd.DataFrame:
    """What is not as expected."""
    return pd.DataFrame([
        {"blend shape": str(row["blend_shape"]) or "outcome", "check": str(row["check"]),
         "quantity": str(row["quantity"]), "median": _over([row["median"]]),
         "95 % of the prior": _over([row["lower"], row["upper"]]), "limit": str(row["limit"]).replace("-", "−"),
         "verdict": str(row["verdict"])}
        for row in rows_of(predictive.table) if row["verdict"] != EXPECTED
    ])  # fmt: skip


def limits_table(predictive: PriorPredictive) -> pd.DataFrame:
    """The limits that the check judged by, each with its kind and reason; changed ones are marked."""
    factors = "factors" in predictive.told
    shipped = asdict(LIMITS)
    return pd.DataFrame([
        {"limit": name.replace("_", " "),
         "value": f"{value:g}{'' if value == shipped[name] else ' (changed)'}",
         "kind": REASONS[name][0], "why": REASONS[name][1]}
        for name, value in asdict(predictive.limits).items() if name.startswith(FACTOR_LIMITS) == factors
        or name in ("impossible_rows", "scatter_wide")
    ])  # fmt: skip


# What sensitivity says


def scaling_of(name: str, scaling: pd.DataFrame) -> list[Row]:
    """The rows of power-scaling of one parameter that has a prior."""
    known: dict[str, Callable[[str], bool]] = {
        "uniqueness": lambda parameter: parameter == "communality within",
        "between_uniqueness": lambda parameter: parameter == "communality between",
    }
    kind, _, rest = name.partition(":")
    if name in known:
        mine = known[name]
    elif kind == "sd":
        mine = f"{rest}_sigma".__eq__
    elif kind == "corr":
        mine = lambda parameter: parameter.startswith(f"{rest}_corr[")  # noqa: E731
    elif kind == "sigma" and rest:
        mine = f"sigma[{rest}]".__eq__
    else:
        mine = name.__eq__
    return [row for row in rows_of(scaling) if mine(str(row["parameter"]))]


def leaning_shapes(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Diagnosis → shapes, once each, in order."""
    found: dict[str, dict[str, None]] = {name: {} for name in DIAGNOSES}
    for row in rows:
        found.setdefault(str(row["diagnosis"]), {})[str(row["blend_shape"])] = None
    return {name: list(shapes) for name, shapes in found.items()}


def _sensitive(name: str, prior: str, scaling: pd.DataFrame | None) -> str:
    if scaling is None:
        return NOT_CHECKED
    if prior.startswith(("Fixed", "Flat")):
        return "held fixed" if prior.startswith("Fixed") else "flat: nothing to lean on"
    rows = scaling_of(name, scaling)
    if not rows:
        return "not computed"
    by = leaning_shapes(rows)
    leaning = list(dict.fromkeys((*by[CONFLICT], *by[STRONG])))
    total = len({str(row["blend_shape"]) for row in rows})
    return words.leaning_text(leaning, by[CONFLICT], by[UNRELIABLE], total)


def diagnosis_table(fit: Any, scaling: pd.DataFrame) -> pd.DataFrame:
    """One row a parameter: how many shapes have each diagnosis."""
    found = []
    for name in prior_table(fit)["parameter"]:
        rows = scaling_of(str(name), scaling)
        if rows:
            counts = {
                text: str(sum(row["diagnosis"] == diagnosis for row in rows))
                for diagnosis, text in DIAGNOSIS_WORDS.items()
            }
            found.append({
                "parameter": str(name), **counts, "largest sensitivity to priors": _largest(rows),
            })  # fmt: skip
    return pd.DataFrame(found)


def _largest(rows: Sequence[Row]) -> str:
    known = [float(row["prior"]) for row in rows if math.isfinite(row["prior"])]
    return f"{max(known):.2f}" if known else "–"


def scaling_table(scaling: pd.DataFrame, effects: Sequence[str]) -> pd.DataFrame:
    """Every shape of the effects that a fit is asked for, and whatever else leans on its priors."""
    rows = [row for row in rows_of(scaling) if row["parameter"] in effects or row["diagnosis"] != NO_LEANING]
    rows.sort(key=lambda row: row["parameter"] not in effects)
    return pd.DataFrame([
        {"blend shape": str(row["blend_shape"]) or "–", "parameter": str(row["parameter"]),
         "to priors": _digits(row["prior"]), "to the data": _digits(row["likelihood"]),
         "diagnosis": DIAGNOSIS_WORDS[str(row["diagnosis"])],
         "mean": _small(row["mean"], row["sd"]), "priors half": _small(row["mean_half"], row["sd"]),
         "priors twice": _small(row["mean_double"], row["sd"]), "by": str(row["how"])}
        for row in rows
    ])  # fmt: skip


def _digits(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _small(value: float, spread: float) -> str:
    return wording.number(value, wording.decimals_for(spread)) if math.isfinite(value) else "–"


# What other widths say


class AnswerRange(NamedTuple):
    """One shape: the widths, neighbours of the fit's own, over which the answer stays; whether over all of `tried`."""

    shape: str
    narrowest: float
    widest: float
    stays: bool


def answer_ranges(widths: pd.DataFrame, tried: tuple[float, float], flag: float) -> list[AnswerRange]:
    """Over which widths the answer stays: direction where P(direction) reaches `flag`, and the decision by the ROPE.

    Parameters
    ----------
    widths : rows of `mien.models.prior_widths` of one effect, the factor 1 among them. tried : factors for `stays`.
    """
    found = []
    for shape, group in widths.groupby("blend_shape", sort=False, observed=True):
        rows = sorted(rows_of(group), key=lambda row: row["factor"])
        factors = [float(row["factor"]) for row in rows]
        answers = [_answer(row, flag) for row in rows]
        own = factors.index(1.0)
        low = high = own
        while low > 0 and answers[low - 1] == answers[own]:
            low -= 1
        while high < len(rows) - 1 and answers[high + 1] == answers[own]:
            high += 1
        stays = factors[low] <= tried[0] and factors[high] >= tried[1]
        found.append(AnswerRange(str(shape), factors[low], factors[high], stays))
    return found


def _answer(row: Row, flag: float) -> tuple[str, int]:
    if not math.isfinite(row["p_direction"]):
        return "", 2
    return str(row["decision"]), int(row["direction"]) if row["p_direction"] >= flag else 0


def widths_table(widths: pd.DataFrame, flag: float) -> pd.DataFrame:
    """One row a shape: decision, the widths over which it and the whole answer stay, and what else moves."""
    decisions = {str(row["blend_shape"]): row for row in rows_of(decision_range(widths))}
    found = []
    for one in answer_ranges(widths, (1.0, 1.0), flag):
        of_decision = decisions[one.shape]
        rows = [row for row in rows_of(widths) if str(row["blend_shape"]) == one.shape]
        found.append({
            "blend shape": one.shape or "outcome",
            "decision": DECISION_WORDS.get(str(of_decision["decision"]), str(of_decision["decision"])) or "–",
            "decision stays": words.factors_text(of_decision["narrowest"], of_decision["widest"]),
            "answer stays": words.factors_text(one.narrowest, one.widest),
            "mean": _span(rows, "mean", float(np.nanmedian([row["sd"] for row in rows] or [math.nan]))),
            "P(direction)": _probabilities(rows),
            "Bayes factor": _over([row["bayes_factor"] for row in rows]),
        })  # fmt: skip
    return pd.DataFrame(found)


def _span(rows: Sequence[Row], column: str, spread: float) -> str:
    known = [float(row[column]) for row in rows if math.isfinite(row[column])]
    if not known:
        return "–"
    decimals = wording.decimals_for(spread)
    return f"{wording.number(min(known), decimals)} to {wording.number(max(known), decimals)}"


def _probabilities(rows: Sequence[Row]) -> str:
    known = [float(row["p_direction"]) for row in rows if math.isfinite(row["p_direction"])]
    if not known:
        return "–"
    texts = [wording.probability_text(value) for value in (min(known), max(known))]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"
