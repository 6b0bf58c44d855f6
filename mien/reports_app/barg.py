"""A filled checklist of the Bayesian Analysis Reporting Guidelines (`barg_items`): one rule an item.

    done             only from what is there: a verdict, a number, a table, a stored check; the evidence says where
    not done         says what to do
    not applicable   says why

Of a fit whose computation failed nothing about its posterior is done, whatever else there is. What only people can say
(why Bayesian, which goals, where the data are) is not done until they say it in mien.toml:

    [barg]
    goals = "To estimate how much more …"
    archive = "not applicable: the draws are made again in a minute from the seeds"
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import pandas as pd

from mien.models.factors.spec import is_factor_fit
from mien.models.prior_freezing import stored_priors
from mien.models.sensitivity import decision_range
from mien.priors import UNSOURCED
from mien.reports_app.attributes import is_weighted, parsed, verdict_detail
from mien.reports_app.barg_evidence import (
    NOT_APPLICABLE,
    NOT_DONE,
    CheckedPriors,
    Evidence,
    Found,
    OfFit,
    Rule,
    checked_priors,
    each_fit,
    failed,
    named,
    number,
    said,
)
from mien.reports_app.barg_items import DOI, ITEMS, READ, STATEMENTS, STEPS
from mien.reports_app.course_parts import has_course
from mien.reports_app.model_checks import model_checks
from mien.reports_app.rows import rows_of

__all__ = ["DOI", "READ", "STATEMENTS", "BargItem", "CheckedPriors", "Evidence", "barg", "checked_priors"]

AGAIN = "fit again with this version."
SENSITIVITY = "sensitivity was not computed: mien priors sensitivity."
UNRELIABLE = "not reliable"  # a word of the sensitivity tables
GIVEN = ("rule", "convention")  # kinds of sources of defaults
INFORMED = ("literature", "pilot", "elicited")
NO_BAYES_FACTORS = "no Bayes factors or model probabilities are used"
NO_SINGLE_EFFECT = "no single coefficient stands for its answer"
NO_DECISIONS = "nothing is decided, there are estimates only"
WITHOUT_FITS = ("why_bayesian", "goals", "loss_function")


class BargItem(NamedTuple):
    """One row of the checklist: status is "done", "not done" or "not applicable", evidence says where, what, or why."""

    step: str
    item: str
    title: str
    asks: str
    status: str
    evidence: str


def barg(evidence: Evidence) -> list[BargItem]:
    """The checklist, every item with its status and evidence, in the order of the guidelines.

    Parameters
    ----------
    evidence : what the report has.
    """
    rows = []
    for item in ITEMS:
        if evidence.fits or item.key in WITHOUT_FITS:
            found = RULES.get(item.key, said)(evidence, item.key)
        else:
            found = Found(NOT_DONE, "there is no fit to report: mien fit.")
        rows.append(BargItem(STEPS[item.step], item.item, item.title, item.asks, *found))
    return rows


# 1 The model


def _variables(_: Evidence, name: str, fit: Any) -> OfFit:
    formula, coding = str(fit.attrs.get("formula", "")), parsed(fit, "coding")
    if not formula:
        return OfFit(False, f"the fit stores no formula: {AGAIN}")
    shapes = fit["posterior"].sizes.get("blend_shape", 1)
    coded = f"coding of {', '.join(map(str, coding))}" if coding else "no categories"
    return OfFit(True, f"methods: {shapes} outcome{'s' if shapes != 1 else ''}, {formula}; {coded}")


def _likelihood(evidence: Evidence, name: str, fit: Any) -> OfFit:
    family, formula = str(fit.attrs.get("family", "")), str(fit.attrs.get("formula", ""))
    if is_factor_fit(fit):
        return OfFit(
            True, "methods: normal factors within and between; of interest: loadings and communalities"
        )
    if not (family and formula):
        return OfFit(False, f"the fit stores no likelihood or no formula: {AGAIN}")
    rows = rows_of(evidence.table(evidence.effects, name))
    if not rows:
        return OfFit(False, "no effects are reported, so that nothing says which parameters are of interest.")
    shown = named(list(dict.fromkeys(str(row["effect"]) for row in rows)))
    return OfFit(
        True, f"methods: {family}, hierarchy as in the formula; of interest: {shown} (effects table)"
    )


def _priors(_: Evidence, name: str, fit: Any) -> OfFit:
    kinds, bare = _sources(fit)
    if not kinds:
        return OfFit(False, f"the fit stores no priors: {AGAIN}")
    if bare:
        return OfFit(False, f"no source or reason for {named(bare)}: mien priors set … --source … --reason …")
    values = list(kinds.values())
    counted = ", ".join(f"{values.count(kind)} {kind}" for kind in dict.fromkeys(values))
    frozen = ", frozen before the fit" if fit.attrs.get("priors_frozen") else ""
    return OfFit(True, f"table of priors: {len(kinds)} parameters with reasons, by source {counted}{frozen}")


def _sources(fit: Any) -> tuple[dict[str, str], list[str]]:
    """Parameter → kind of its source, and the parameters without a source and reason."""
    if not fit.attrs.get("priors"):
        return {}, []
    entries = parsed(fit, "prior_entries")
    kinds: dict[str, str] = {}
    bare: dict[str, None] = {}
    for priors in stored_priors(fit).values():
        for parameter, resolved in priors.items():
            source = entries.get(resolved.id, {}).get("source", {}) if isinstance(entries, Mapping) else {}
            if resolved.source == UNSOURCED or not source.get("reason"):
                bare[parameter] = None
            kinds[parameter] = resolved.source
    return kinds, list(bare)


def _specification(_: Evidence, name: str, fit: Any) -> OfFit:
    missing = [key for key in ("model_spec", "priors", "mien_version") if not fit.attrs.get(key)]
    if missing:
        return OfFit(False, f"the fit stores no {', '.join(missing)}: {AGAIN}")
    return OfFit(
        True, f"attributes of the fit: model_spec and priors, as code for mien {fit.attrs['mien_version']}"
    )


def _prior_check(evidence: Evidence, name: str, fit: Any) -> OfFit:
    check = evidence.prior_checks.get(name)
    if check is None:
        return OfFit(False, "not run: mien priors check.")
    if not check.sha256 or check.sha256 != fit.attrs.get("priors_sha256"):
        return OfFit(False, "run with other priors than the fit’s: mien priors check, again.")
    odd = f"{check.unexpected} not as expected" if check.unexpected else "all as expected"
    return OfFit(
        True, f"prior predictive check: {check.checks} checks of {check.draws:,} simulated studies, {odd}"
    )


# 2 The computation


def _software(_: Evidence, name: str, fit: Any) -> OfFit:
    versions = parsed(fit, "versions")
    if not (isinstance(versions, Mapping) and versions):
        return OfFit(False, f"the fit stores no versions: {AGAIN}")
    return OfFit(True, "methods: " + ", ".join(f"{key} {value}" for key, value in versions.items()))


class _Worst(NamedTuple):
    """What a computation is judged by: keys of the gate's detail, columns of the effects table, which end is bad."""

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    end: Callable[[Sequence[float]], float]
    word: str


CONVERGENCE = _Worst(("max_r_hat",), ("r_hat",), max, "largest")
RESOLUTION = _Worst(("min_ess_bulk", "min_ess_tail"), ("ess_bulk", "ess_tail"), min, "smallest")
ACCURACY = {
    "max_khat": "largest Pareto k", "min_ess": "smallest effective sample size", "max_z": "largest |z| between runs",
}  # fmt: skip


def _chains(worst: _Worst) -> Callable[[Evidence, str, Any], OfFit]:
    """The worst number over all parameters, and over what is reported of them."""

    def of_fit(evidence: Evidence, name: str, fit: Any) -> OfFit:
        if reason := failed(fit):
            return OfFit(False, reason)
        if is_weighted(fit):
            return OfFit(
                None, "drawn by importance sampling and not by MCMC: see the item on what is not MCMC"
            )
        detail = verdict_detail(fit)
        if any(detail.get(key) is None for key in worst.keys):
            return OfFit(False, f"the fit stores no {', '.join(worst.keys)}: {AGAIN}")
        texts = [f"{key[4:]} {number(float(detail[key]))}" for key in worst.keys]
        text = f"all parameters: {worst.word} {', '.join(texts)}"
        rows = rows_of(evidence.table(evidence.effects, name))
        if not rows:
            return OfFit(is_factor_fit(fit), text if is_factor_fit(fit) else f"{text}; no effects table.")
        found = {
            column: worst.end([float(row.get(column, math.nan)) for row in rows]) for column in worst.columns
        }
        if any(math.isnan(value) for value in found.values()):
            return OfFit(False, f"effects table: {', '.join(found)} missing: {AGAIN}")
        shown = ", ".join(f"column {column}, {worst.word} {number(value)}" for column, value in found.items())
        return OfFit(True, f"effects table: {shown}; {text}")

    return of_fit


def _not_mcmc(_: Evidence, name: str, fit: Any) -> OfFit:
    if not is_weighted(fit):
        return OfFit(None, "all draws are by MCMC")
    if reason := failed(fit):
        return OfFit(False, reason)
    detail = verdict_detail(fit)
    missing = [key for key in ACCURACY if detail.get(key) is None]
    if missing:
        return OfFit(False, f"the fit stores no {', '.join(missing)}: {AGAIN}")
    numbers = ", ".join(f"{words} {number(float(detail[key]))}" for key, words in ACCURACY.items())
    nuts = int((detail.get("fallbacks") or {}).get("nuts", 0))
    fell = f"; {nuts} outcome{'s' if nuts != 1 else ''} by NUTS instead, judged by R-hat" if nuts else ""
    return OfFit(True, f"importance sampling, verdict of the engine: {numbers}{fell}")


# 3 The posterior


def _posterior_check(_: Evidence, name: str, fit: Any) -> OfFit:
    if reason := failed(fit):
        return OfFit(False, reason)
    checks = model_checks(name, fit)
    if checks.missing:
        return OfFit(False, f"not there, {checks.missing.rstrip('.')}: mien fit stores them with a fit.")
    kinds, outside = len(checks.sentences), len(checks.outside)
    return OfFit(
        True, f"checks of the model: {kinds} of them, {outside} of their rows outside what is expected"
    )


def _posterior(evidence: Evidence, name: str, fit: Any) -> OfFit:
    if reason := failed(fit):
        return OfFit(False, reason)
    if is_factor_fit(fit):
        return OfFit(True, "part on co-activation: loadings and communalities with their intervals")
    rows = rows_of(evidence.table(evidence.effects, name))
    if not rows:
        return OfFit(False, "no effects are reported.")
    level = f"{100 * float(rows[0]['ci_prob']):g} % {str(rows[0]['ci_kind']).upper()}"
    return OfFit(True, f"effects table: {len(rows)} rows with mean, sd and {level}")


def _model_probabilities(evidence: Evidence, key: str) -> Found:
    if not evidence.bayes_factors:
        return Found(NOT_APPLICABLE, NO_BAYES_FACTORS)
    return said(evidence, key, "Bayes factors are shown. ")


# 4 Decisions


def _why_decide(evidence: Evidence, key: str) -> Found:
    if not evidence.decides:
        return Found(NOT_APPLICABLE, NO_DECISIONS)
    rule = "Rule: where the interval lies, inside, outside or across the limits of equivalence (column decision). "
    return said(evidence, key, rule)


def _rope(evidence: Evidence, key: str) -> Found:
    if not evidence.decides:
        return Found(NOT_APPLICABLE, NO_DECISIONS)
    return said(evidence, key, f"Limits: ±{evidence.decisions.rope:g} residual sds (column rope). ")


def _loss_function(evidence: Evidence, key: str) -> Found:
    if evidence.statements.get(key, "").strip():
        return said(evidence, key)
    return Found(NOT_APPLICABLE, "no costs are weighed: decisions are by limits of practical equivalence")


def _threshold(evidence: Evidence, key: str) -> Found:
    if not evidence.bayes_factors:
        return Found(NOT_APPLICABLE, NO_BAYES_FACTORS)
    return said(evidence, key, "Bayes factors are shown. ")


def _estimates(evidence: Evidence, name: str, fit: Any) -> OfFit:
    table = evidence.table(evidence.effects, name)
    if "decision" not in table.columns:
        return OfFit(None, NO_DECISIONS)
    if reason := failed(fit):
        return OfFit(False, reason)
    missing = [column for column in ("mean", "eti_lower", "eti_upper") if column not in table.columns]
    if missing:
        return OfFit(False, f"effects table: decisions stand there without {', '.join(missing)}.")
    return OfFit(True, "effects table: mean, eti_lower and eti_upper stand in the row of every decision")


# 5 Sensitivity


def _scaled(evidence: Evidence, name: str, fit: Any) -> OfFit:
    """Power-scaling of all quantities."""
    if reason := failed(fit):
        return OfFit(False, reason)
    rows = rows_of(evidence.table(evidence.scaling, name))
    if not rows:
        return OfFit(False, SENSITIVITY)
    bad = [
        f"{row['parameter']} {row['blend_shape']}".strip() for row in rows if row["diagnosis"] == UNRELIABLE
    ]
    if bad:
        return OfFit(False, f"table of sensitivity: {UNRELIABLE} for {named(bad)}: refit with other priors.")
    leaning = sum(row["diagnosis"] != "-" for row in rows)
    return OfFit(True, f"table of sensitivity: {leaning} of {len(rows)} quantities lean on their priors")


def _widths(evidence: Evidence, name: str, fit: Any) -> OfFit:
    """Effects under other prior sds."""
    if reason := failed(fit):
        return OfFit(False, reason)
    rows = rows_of(evidence.table(evidence.widths, name))
    if not rows:
        return OfFit(False, SENSITIVITY)
    bad = [f"{row['effect']} {row['blend_shape']}".strip() for row in rows if row["how"] == UNRELIABLE]
    if bad:
        names = named(list(dict.fromkeys(bad)))
        return OfFit(False, f"table of prior widths: {UNRELIABLE} for {names}: refit with other priors.")
    factors = [float(row["factor"]) for row in rows]
    shown = named(list(dict.fromkeys(str(row["effect"]) for row in rows)))
    return OfFit(
        True, f"table of prior widths: {shown} with prior sds × {min(factors):g} to × {max(factors):g}"
    )


def _without_effect(fit: Any) -> bool:
    """Whether no single coefficient stands for what a fit answers: loadings, and courses."""
    return is_factor_fit(fit) or has_course(fit)


def _broad(evidence: Evidence, name: str, fit: Any) -> OfFit:
    if _without_effect(fit):
        return _scaled(evidence, name, fit)
    found = _widths(evidence, name, fit)
    if found.good and max(float(row["factor"]) for row in rows_of(evidence.widths[name])) <= 1.0:
        return OfFit(
            False, "table of prior widths: none is wider than the fit’s own: mien priors sensitivity."
        )
    return found


def _of_sources(kinds: Sequence[str], none: str) -> Callable[[Evidence, str, Any], OfFit]:
    """Sensitivity where some prior's source is one of these kinds."""

    def of_fit(evidence: Evidence, name: str, fit: Any) -> OfFit:
        mine = [parameter for parameter, kind in _sources(fit)[0].items() if kind in kinds]
        if not mine:
            return OfFit(None, none)
        found = _scaled(evidence, name, fit)
        return OfFit(found.good, f"{found.text} (of {named(mine)})" if found.good else found.text)

    return of_fit


def _bayes_factor_sensitivity(evidence: Evidence, name: str, fit: Any) -> OfFit:
    if not evidence.bayes_factors:
        return OfFit(None, NO_BAYES_FACTORS)
    if _without_effect(fit):
        return OfFit(None, NO_SINGLE_EFFECT)
    found = _widths(evidence, name, fit)
    if not found.good:
        return found
    factors = [float(row["bayes_factor"]) for row in rows_of(evidence.widths[name])]
    factors = [value for value in factors if not math.isnan(value)]
    if not factors:
        return OfFit(None, "this family has no Bayes factors")
    return OfFit(
        True, f"{found.text}, Bayes factors {min(factors):.2g} to {max(factors):.2g} (column bayes_factor)"
    )


def _decision_sensitivity(evidence: Evidence, name: str, fit: Any) -> OfFit:
    if is_factor_fit(fit):
        return OfFit(None, NO_DECISIONS)
    if has_course(fit):
        return OfFit(None, NO_SINGLE_EFFECT)
    found = _widths(evidence, name, fit)
    if not found.good:
        return found
    stable = [
        bool(row["stable"]) for row in rows_of(decision_range(cast(pd.DataFrame, evidence.widths[name])))
    ]
    return OfFit(True, f"{found.text}: {sum(stable)} of {len(stable)} decisions stay at all of them")


# 6 Reproducibility


def _versions(_: Evidence, name: str, fit: Any) -> OfFit:
    version = str(fit.attrs.get("mien_version", ""))
    if not (version and parsed(fit, "versions")):
        return OfFit(False, f"the fit stores no versions: {AGAIN}")
    return OfFit(True, f"attributes of the fit: mien {version}, and the versions of what it stands on")


def _seeds(_: Evidence, name: str, fit: Any) -> OfFit:
    seed = str(fit.attrs.get("seed", ""))
    return (
        OfFit(True, f"attributes of the fit: seed {seed}")
        if seed
        else OfFit(False, f"the fit stores no seed: {AGAIN}")
    )


def _data_and_script(evidence: Evidence, key: str) -> Found:
    hashes = [str(fit.attrs.get("data_sha256", "")) for fit in evidence.fits.values()]
    known = ", ".join(f"{one[:12]}…" for one in dict.fromkeys(hashes) if one)
    return said(evidence, key, f"Data {known} (sha256). " if known else "")


RULES: Mapping[str, Rule] = MappingProxyType({
    "variables": each_fit(_variables), "likelihood": each_fit(_likelihood), "priors": each_fit(_priors),
    "specification": each_fit(_specification), "prior_check": each_fit(_prior_check),
    "software": each_fit(_software), "convergence": each_fit(_chains(CONVERGENCE)),
    "resolution": each_fit(_chains(RESOLUTION)), "not_mcmc": each_fit(_not_mcmc),
    "posterior_check": each_fit(_posterior_check), "posterior": each_fit(_posterior),
    "model_probabilities": _model_probabilities,
    "why_decide": _why_decide, "loss_function": _loss_function, "rope": _rope, "bayes_factor_threshold": _threshold,
    "estimates": each_fit(_estimates),
    "broad_priors": each_fit(_broad),
    "informed_priors": each_fit(_of_sources(INFORMED, "no prior is from literature, a pilot or answers")),
    "default_priors": each_fit(_of_sources(GIVEN, "no prior is a default")),
    "bayes_factor_sensitivity": each_fit(_bayes_factor_sensitivity),
    "decision_sensitivity": each_fit(_decision_sensitivity),
    "versions": each_fit(_versions), "seeds": each_fit(_seeds), "data_and_script": _data_and_script,
})  # fmt: skip
