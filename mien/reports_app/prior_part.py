"""The part of a report on priors: what, why, from where, what they imply, how they were checked, what leans on them.

Everything is read from a fit and from what was computed of it: a prior predictive check, power-scaling, and the effects
under other prior widths. Each of the three may be missing, which is told with the command that makes it, or be of
another model than the fit, which is told too, and then nothing of it is used.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from mien.models.diagnostics import outcomes_of
from mien.models.effect_tables import coefficient_names
from mien.models.factors.spec import is_factor_fit
from mien.models.prior_freezing import stored_priors
from mien.priors import Flat, Normal
from mien.reports_app import prior_tables as tables
from mien.reports_app import prior_words as words
from mien.reports_app import wording
from mien.reports_app.attributes import failures
from mien.reports_app.course_parts import has_course
from mien.reports_app.defaults import DEFAULTS, Decisions
from mien.reports_app.figures.prior_predictive import prior_predictive_figures
from mien.reports_app.figures.prior_widths import bayes_factors, largest, width_curves, width_strip
from mien.reports_app.figures.theme import themed, to_svg
from mien.reports_app.prior_tables import PriorRow
from mien.reports_app.rows import Row, rows_of
from mien.simulation.prior_predictive import PriorPredictive

__all__ = ["Expected", "Figure", "PriorPart", "Robustness", "Sensitivity", "prior_part"]

TRIED = (0.25, 4.0)  # widths that the lead speaks of
STUDY = "STUDY"  # in commands
SAME = 1e-6  # relative difference of two prior sds that are the same


class Figure(NamedTuple):
    """A picture with what a screen reader says, its caption and its class in the page."""

    svg: Markup
    label: str
    caption: str
    kind: str = ""


class Expected(NamedTuple):
    """The check before the data. missing : why there is none, and command, which makes it; then the rest is empty.

    verdict : "passed" or "look". table : a row a check. looked : what is not as expected. limits : it was judged by.
    """

    missing: str = ""
    command: str = ""
    verdict: str = ""
    sentences: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    table: pd.DataFrame = pd.DataFrame()
    looked: pd.DataFrame = pd.DataFrame()
    limits: pd.DataFrame = pd.DataFrame()


class Sensitivity(NamedTuple):
    """What leans on priors. counts : a row a parameter. table : each shape of the effects asked for, and what leans."""

    missing: str = ""
    command: str = ""
    sentences: Sequence[str] = ()
    counts: pd.DataFrame = pd.DataFrame()
    table: pd.DataFrame = pd.DataFrame()


class Robustness(NamedTuple):
    """One effect under other prior widths."""

    effect: str
    title: str
    sentences: Sequence[str]
    figures: Sequence[Figure]
    table: pd.DataFrame


class PriorPart(NamedTuple):
    """The priors of one fit, ready to be placed.

    lead : for people without statistics. status : (what, short, in full) of freezing. frozen : the same in sentences.
    unsourced : parameters. warnings : for the head of a report. widths_missing : why `robustness` is empty, and the
    command. made : when the fit was made, ISO 8601.
    """

    fit: str
    formula: str
    lead: str
    status: Sequence[tuple[str, str, str]]
    frozen: str
    rows: Sequence[PriorRow]
    scale: str
    unsourced: Sequence[str]
    expected: Expected
    sensitivity: Sensitivity
    robustness: Sequence[Robustness]
    widths_missing: tuple[str, str]
    warnings: Sequence[str]
    made: str


def prior_part(
    name: str,
    fit: Any,
    *,
    predictive: PriorPredictive | None = None,
    scaling: pd.DataFrame | None = None,
    widths: pd.DataFrame | None = None,
    decisions: Decisions = DEFAULTS,
    full: bool = True,
) -> PriorPart:
    """The part of one fit.

    Parameters
    ----------
    name : of the fit. fit : with or without frozen priors.
    predictive : `mien.simulation.prior_predictive` of the same model. scaling : `mien.models.power_scaling` of the fit.
    widths : `mien.models.prior_widths` of the fit, of one or several effects. None of each: it was not made.
    full : whether there are pictures; they are most of the weight.
    """
    why = _Stale(fit, predictive, scaling, widths)
    predictive, scaling = (None if why.predictive else predictive, None if why.scaling else scaling)
    widths = None if why.widths or widths is None or not len(widths) else widths
    effects = _effects(fit, widths)
    rows = tables.prior_rows(fit, predictive, scaling)
    expected = _expected(name, predictive, why.predictive, full=full)
    sensitivity = _sensitivity(name, fit, scaling, effects, why.scaling)
    robustness = _robustness(widths, decisions, full=full)
    unsourced = [row.parameter for row in rows if not row.sourced]
    return PriorPart(
        fit=name, formula=str(fit.attrs.get("formula", "–")),
        lead=" ".join(filter(None, _lead(fit, effects, expected, sensitivity, robustness))),
        status=_status(fit),
        frozen=words.frozen_sentence(
            str(fit.attrs.get("priors_frozen", "")), str(fit.attrs.get("created", "")),
            registered=fit.attrs.get("registered") == "yes",
        ),
        rows=rows, scale=_scale(fit), unsourced=unsourced, expected=expected, sensitivity=sensitivity,
        robustness=robustness, widths_missing=_widths_missing(name, fit, widths, why.widths),
        warnings=_warnings(fit, unsourced, expected, why), made=str(fit.attrs.get("created", "")),
    )  # fmt: skip


# What is of another model


class _Stale:
    """Why something that was computed is not of this fit; "" where it is, or where there is none."""

    def __init__(
        self,
        fit: Any,
        predictive: PriorPredictive | None,
        scaling: pd.DataFrame | None,
        widths: pd.DataFrame | None,
    ) -> None:
        self.predictive = _stale_check(fit, predictive) if predictive is not None else ""
        self.scaling = _stale_scaling(fit, scaling) if scaling is not None else ""
        self.widths = _stale_widths(fit, widths) if widths is not None and len(widths) else ""


def _stale_check(fit: Any, predictive: PriorPredictive) -> str:
    formula, family = str(fit.attrs.get("formula", "")), str(fit.attrs.get("family", "gaussian"))
    if predictive.family != family or str(predictive.told.get("formula", formula)) != formula:
        return "the check that is there is of another model"
    return ""


def _stale_scaling(fit: Any, scaling: pd.DataFrame) -> str:
    if is_factor_fit(fit):
        shapes = {str(name) for name in fit["posterior"].dataset["blend_shape"].to_numpy()} | {""}
        found = set(map(str, scaling["blend_shape"]))
        return "" if found <= shapes else "what is there is of other shapes"
    shapes = {shape or "" for shape in outcomes_of(fit)}
    same = set(map(str, scaling["blend_shape"])) == shapes
    return "" if same else "what is there is of other shapes"


def _stale_widths(fit: Any, widths: pd.DataFrame) -> str:
    own = [row for row in rows_of(widths) if row["factor"] == 1.0]
    if not own:
        return "what is there does not have the width of the fit’s own prior"
    priors = stored_priors(fit)
    for row in own:
        prior = priors.get(str(row["blend_shape"]), {}).get(str(row["effect"]))
        known = prior.prior if prior is not None else None
        if not isinstance(known, Normal) or not math.isclose(known.sd, row["prior_sd"], rel_tol=SAME):
            return "what is there is of other priors"
    return ""


# Freezing


def _status(fit: Any) -> list[tuple[str, str, str]]:
    sha256 = str(fit.attrs.get("priors_sha256", ""))
    frozen = str(fit.attrs.get("priors_frozen", ""))
    registered = "yes" if fit.attrs.get("registered") == "yes" else "no"
    return [
        ("frozen", words.date_text(frozen) if frozen else "no", ""),
        ("registered", registered, ""),
        ("sha256 of the priors", f"{sha256[:12]}…" if sha256 else "not stored", sha256),
        ("fit made", words.date_text(str(fit.attrs.get("created", ""))), ""),
    ]


def _scale(fit: Any) -> str:
    if is_factor_fit(fit):
        return "Loadings are in standard deviations of a shape within groups, uniquenesses are variances on that scale."
    ranges = "; ranges are over shapes" if len(outcomes_of(fit)) > 1 else ""
    return (
        f"Numbers are {_units_of(fit, 'in ')}, a coefficient’s per unit of its column{ranges}. Defaults are given in "
        "standard deviations of the outcome and were put on the scale of the data once, which looks at how much data "
        "scatter and at no effect. A half-normal’s number is the sd of the normal before it is folded."
    )


# Before the data


def _expected(name: str, predictive: PriorPredictive | None, stale: str, *, full: bool) -> Expected:
    if predictive is None:
        command = f"mien priors check {STUDY} --model {name.partition('-')[0]}"
        return Expected(
            missing=stale or "it was not looked at what these priors expect before the data", command=command
        )
    figures = _predictive_figures(predictive) if full else []
    return Expected(
        verdict=predictive.verdict, sentences=list(predictive.sentences), figures=figures,
        table=tables.predictive_table(predictive), looked=tables.looked_table(predictive),
        limits=tables.limits_table(predictive),
    )  # fmt: skip


CAPTIONS = {
    "activations": "What the model simulates from its priors alone, and what was observed.",
    "effects": "How large each effect may be before the data, shape by shape.",
    "curves": "How a difference may unfold before the data.",
    "persons": "How much persons may differ before the data, and how reliably this test would tell them apart.",
    "co_activation": "How much shapes may move together before the data.",
}


def _predictive_figures(predictive: PriorPredictive) -> list[Figure]:
    """Those that have a name of their own; further effects are in the table."""
    return [
        Figure(
            _drawn(chart, CAPTIONS[name]), CAPTIONS[name], CAPTIONS[name], "" if name == "effects" else "wide"
        )
        for name, chart in prior_predictive_figures(predictive).items()
        if name in CAPTIONS
    ]


def _drawn(chart: Any, label: str) -> Markup:
    """Markup that this package made itself; its figures escape the texts in them."""
    return Markup(themed(to_svg(chart, label=label)))  # noqa: S704


# What leans on priors


def _effects(fit: Any, widths: pd.DataFrame | None) -> list[str]:
    """The effects that the fit is asked for."""
    if widths is not None:
        return [str(name) for name in dict.fromkeys(widths["effect"])]
    if is_factor_fit(fit):
        return []
    names = coefficient_names(fit)
    return [name for name in ("valence", "neutral") if name in names] or [
        n for n in names if n != "Intercept"
    ]


def _sensitivity(
    name: str, fit: Any, scaling: pd.DataFrame | None, effects: Sequence[str], stale: str
) -> Sensitivity:
    if scaling is None:
        return Sensitivity(
            missing=stale or "it was not computed which answers lean on their priors",
            command=f"mien priors sensitivity {STUDY} --model {name}",
        )
    return Sensitivity(
        sentences=_leaning_sentences(scaling, effects), counts=tables.diagnosis_table(fit, scaling),
        table=tables.scaling_table(scaling, effects),
    )  # fmt: skip


def _leaning_sentences(scaling: pd.DataFrame, effects: Sequence[str]) -> list[str]:
    found = []
    for effect in effects:
        rows = tables.scaling_of(effect, scaling)
        if rows:
            found.append(_leaning_sentence(words.noun(effect), rows))
    by: dict[str, list[Row]] = {}
    for row in rows_of(scaling):
        if row["parameter"] not in effects:
            by.setdefault(str(row["parameter"]), []).append(row)
    return [*found, *_others_sentences(by, beside=bool(found))]


def _others_sentences(by: dict[str, list[Row]], *, beside: bool) -> list[str]:
    """Of quantities that no effect is; beside : whether an effect was told before."""
    leaning = {name: sum(len(x) for x in _leaning(rows)[:2]) for name, rows in by.items()}
    most = max(leaning, key=lambda name: leaning[name], default="")
    if not most:
        return []
    if not leaning[most]:
        return [f"{'No other quantity' if beside else 'No quantity'} leans on priors."]
    kinds = sum(count > 0 for count in leaning.values())
    total = len({str(row["blend_shape"]) for row in by[most]})
    where = f", in {words.of(leaning[most], total)}" if total > 1 else ""
    return [
        f"Of {len(by)} {'other quantities' if beside else 'quantities'}, {kinds} lean{'s' if kinds == 1 else ''} on "
        f"priors{' in some shapes' if total > 1 else ''}; most of all “{words.posterior_words(most)}”{where}."
        + (
            " All priors were scaled together, so that what is told above holds beside that."
            if beside
            else ""
        )
    ]


def _leaning(rows: Sequence[Row]) -> tuple[list[str], list[str], list[str]]:
    """Shapes with a conflict, with a strong prior or weak data, and those where it cannot be told."""
    found = tables.leaning_shapes(rows)
    conflict = found["prior-data conflict"]
    strong = [name for name in found["strong prior or weak likelihood"] if name not in conflict]
    return conflict, strong, found["not reliable"]


def _leaning_sentence(what: str, rows: Sequence[Row]) -> str:
    conflict, strong, unreliable = _leaning(rows)
    total, leaning = len({str(row["blend_shape"]) for row in rows}), len(conflict) + len(strong)
    if len(unreliable) == total:
        return f"Whether {what} leans on priors cannot be told: the weights fail in {words.of(total, total)}."
    verb = "leans on the priors" if leaning else "does not lean on the priors"
    where = f" in {words.of(leaning, total)}" if leaning else f" in any of {total} shapes"
    text = f"{words.capital(what)} {verb}{where if total > 1 else ''}"
    named = [
        f"{label}: {words.few(shapes) or 'yes'}"
        for label, shapes in (
            ("prior–data conflict", conflict),
            ("strong prior or weak data", strong),
            ("cannot be told", unreliable),
        )
        if shapes
    ]
    return f"{text}{f' ({"; ".join(named)})' if named else ''}."


# Other widths


def _widths_missing(name: str, fit: Any, widths: pd.DataFrame | None, stale: str) -> tuple[str, str]:
    if widths is not None:
        return "", ""
    if is_factor_fit(fit):
        return "A co-activation model has no single effect whose prior could be made narrower or wider.", ""
    if has_course(fit):
        return (
            "The answer of this model is a course: no single coefficient stands for it, nor a single prior.",
            "",
        )
    return (
        f"{words.capital(stale or 'it was not computed whether the answer stays under narrower and wider priors')}.",
        f"mien priors sensitivity {STUDY} --model {name}",
    )


def _robustness(widths: pd.DataFrame | None, decisions: Decisions, *, full: bool) -> list[Robustness]:
    if widths is None:
        return []
    found = []
    for effect in dict.fromkeys(map(str, widths["effect"])):
        mine: Any = widths[widths["effect"] == effect].reset_index(drop=True)
        title = wording.effect_title(effect)
        found.append(Robustness(
            effect, title, _width_sentences(mine, decisions),
            _width_figures(mine, title, decisions.flag) if full and not found else [],
            tables.widths_table(mine, decisions.flag),
        ))  # fmt: skip
    return found


def _tried(widths: pd.DataFrame) -> tuple[float, float]:
    """The widths that the lead speaks of: those tried within `TRIED`."""
    inside = [float(x) for x in widths["factor"] if TRIED[0] <= float(x) <= TRIED[1]]
    return min(inside), max(inside)


def _answer_sentence(widths: pd.DataFrame, decisions: Decisions) -> str:
    tried = _tried(widths)
    ranges = tables.answer_ranges(widths, tried, decisions.flag)
    return words.range_sentence(len(ranges), [one.shape for one in ranges if not one.stays], tried)


def _width_sentences(widths: pd.DataFrame, decisions: Decisions) -> list[str]:
    found = [_answer_sentence(widths, decisions), words.answer_definition(decisions.flag)]
    rows, factors = rows_of(widths), sorted({float(x) for x in widths["factor"]})
    ranges = tables.answer_ranges(widths, (factors[0], factors[-1]), decisions.flag)
    staying = sum(one.stays for one in ranges)
    stays = f"stays in {words.of(staying, len(ranges))}"
    if len(ranges) == 1:
        stays = "stays" if staying else "does not stay"
    found.append(
        f"Over all widths tried ({words.factors_text(factors[0], factors[-1])} times the fit’s own) it {stays}."
    )
    failed = list(dict.fromkeys(str(row["blend_shape"]) for row in rows if row["how"] == "not reliable"))
    if failed:
        found.append(
            f"At some widths nothing reliable can be told of {words.few(failed) or 'the outcome'}; they end the range."
        )
    return found + _bayes_sentence(rows, largest(widths, 1))


def _bayes_sentence(rows: Sequence[Row], shapes: Sequence[str]) -> list[str]:
    mine = [r for r in rows if r["blend_shape"] in shapes and math.isfinite(r["bayes_factor"])]
    if not mine:
        return ["There is no Bayes factor here: this family has no closed form for it."]
    by = {float(row["factor"]): float(row["bayes_factor"]) for row in mine}
    widest = max(by)
    name = shapes[0] or "the outcome"
    own = f"{_factor_text(by[1.0])} under the fit’s own prior and " if 1.0 in by else ""
    return [
        f"The Bayes factor of an effect over none hangs on the prior’s width by its nature: for {name} it is {own}"
        f"{_factor_text(by[widest])} with one {words.widths_words(widest, widest).partition(' and ')[0]} as wide. That "
        "is why none is told elsewhere."
    ]  # fmt: skip


def _factor_text(value: float) -> str:
    if value > 1e6:
        return "above a million"
    return f"{value:.2g}" if value >= 0.001 else "below 1/1000"


def _width_figures(widths: pd.DataFrame, title: str, flag: float) -> list[Figure]:
    units = _units(str(widths["units"].iloc[0]))
    made = [
        (
            width_strip(widths, flag), f"P(direction) of {title} by shape and width of the prior",
            "Each row is a shape, each column a width of the prior of the effect; the frame is the fit’s own. Number: "
            f"P(direction) with the sign; filled from {flag:g} on. ● the whole 95 % interval lies outside the "
            "region of practical equivalence, ○ inside it. A row that does not change from left to right does not hang "
            "on the prior. A question mark: nothing reliable can be told.",
            "",
        ),
        (
            width_curves(widths, units=units), f"Mean and interval of {title} over the width of the prior",
            f"The largest effects ({title}): posterior mean and 95 % equal-tailed interval under each width, on one "
            "scale. Grey band: region of practical equivalence. Flat to the right: the data decide. A narrow prior, to "
            "the left, draws the effect towards the prior’s mean.",
            "wide",
        ),
        (
            bayes_factors(widths), f"Bayes factor of {title} over none, over the width of the prior",
            "Bayes factor of the effect over none: above 1 the data speak for an effect under that prior, below 1 for "
            "none. Towards wide priors it falls, whatever the data say, so that a single one tells of the prior as "
            "much as of the data. The largest effects have names.",
            "wide",
        ),
    ]  # fmt: skip
    return [
        Figure(_drawn(chart, label), label, caption, kind)
        for chart, label, caption, kind in made
        if chart is not None
    ]


# The lead


def _lead(
    fit: Any,
    effects: Sequence[str],
    expected: Expected,
    sensitivity: Sensitivity,
    robustness: Sequence[Robustness],
) -> list[str]:
    found = [_told_of(fit, effects[0])] if effects else [FACTORS_LEAD] if is_factor_fit(fit) else []
    if robustness:
        found.append(robustness[0].sentences[0])
    if sensitivity.missing:
        found.append("Whether answers lean on their priors was not computed.")
    else:
        found += sensitivity.sentences[:1]
    return [*found, _expected_lead(expected)]


FACTORS_LEAD = (
    "Before the data, the model was told how strongly factors may move a shape and how much a shape may do by itself, "
    "the same for all shapes; of which shapes go together it was told nothing."
)


def _expected_lead(expected: Expected) -> str:
    if expected.missing:
        return "What the priors expect before the data was not checked."
    if expected.verdict == "passed":
        return "What the priors expect before the data lies within the limits stated below."
    kinds: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows_of(expected.looked):
        kinds.setdefault((str(row["check"]), str(row["verdict"])), {})[str(row["blend shape"])] = None
    told = [
        f"“{check}” is {verdict} in {len(shapes)} shape{'' if len(shapes) == 1 else 's'}"
        for (check, verdict), shapes in kinds.items()
    ]
    return f"Some of what the priors expect before the data lies outside the limits stated below: {words.spoken(told)}."


def _told_of(fit: Any, effect: str) -> str:
    """How much the model was told of an effect; "" where it is no coefficient with normal or flat priors."""
    posterior, known = fit["posterior"].dataset, []
    priors = {outcome: mine[effect].prior for outcome, mine in stored_priors(fit).items() if effect in mine}
    if effect not in posterior or not all(isinstance(prior, (Normal, Flat)) for prior in priors.values()):
        return ""
    draws = posterior[effect]
    spread = draws.std([dim for dim in draws.dims if dim != "blend_shape"])
    for outcome, prior in priors.items():
        single = "blend_shape" not in spread.dims
        if isinstance(prior, Normal) and (single or outcome in spread["blend_shape"].to_numpy()):
            after = float(spread if single else spread.sel(blend_shape=outcome))
            known += [(prior.mean, prior.sd, after)] if after > 0 else []
    if not known and any(isinstance(prior, Normal) for prior in priors.values()):
        return ""
    told = words.Told(*map(tuple, zip(*known, strict=True))) if known else words.Told((), (), ())
    return words.prior_of_effect(effect, told, _units_of(fit))


def _units_of(fit: Any, before: str = "") -> str:
    """`coefficient units`, with a word before it; of a family with a link `on the link`."""
    linked = str(fit.attrs.get("family", "gaussian")) not in ("gaussian", "student_t")
    return "on the link" if linked else before + _units(str(fit.attrs.get("units", "outcome")))


def _units(units: str) -> str:
    return "units of the outcome" if units == "outcome" else wording.units_text(units)


def _warnings(fit: Any, unsourced: Sequence[str], expected: Expected, why: _Stale) -> list[str]:
    found = []
    if unsourced:
        priors = "A prior has" if len(unsourced) == 1 else f"{len(unsourced)} priors have"
        found.append(f"{priors} no source: {', '.join(unsourced)}.")
    if any(row["verdict"] == "impossible" for row in rows_of(expected.looked)):
        found.append("The priors expect mostly what cannot occur in some shapes.")
    stale = [text for text in (why.predictive, why.scaling, why.widths) if text]
    if stale:
        found.append(f"Not everything is of this fit, and was left out: {'; '.join(dict.fromkeys(stale))}.")
    failed = failures(fit)
    if fit.attrs.get("diagnostics") == "failed":
        where = f" for {', '.join(failed)}" if failed and "" not in failed else ""
        found.append(
            f"The checks of the computation failed{where}: what is told of sensitivity there rests on draws that "
            "cannot be trusted."
        )
    return found
