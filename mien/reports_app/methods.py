"""The methods paragraph: what was fitted and how, from the attributes that every fit carries.

A fit stores its formula, priors with their numbers and sources, coding, engine, seed and versions (DESIGN 3.4), so
the paragraph is written from what was run and from nothing else.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mien.models.factors.spec import is_factor_fit
from mien.reports_app.attributes import is_weighted, left_out, parsed, verdict_detail
from mien.study.trials import VALENCES

__all__ = [
    "baseline_statement",
    "checks_statement",
    "clock_statement",
    "engine_sentence",
    "methods_sentences",
    "priors_text",
]

FAMILY_WORDS = {"gaussian": "normal", "student_t": "Student-t"}
SOURCE_WORDS = {
    "rule": "scaled once to the data’s standard deviations by a stated rule",
    "convention": "common convention",
    "user": "set by the user",
}
LISTED = 8  # levels of a category
NUMBERS_FIRST = ("mean", "mu", "sd", "sigma", "df", "scale", "rate", "eta", "value")


def methods_sentences(name: str, fit: Any, *, rows: str = "trial means") -> list[str]:
    """The methods of one fit, a sentence each.

    Parameters
    ----------
    name : what the fit is called.
    fit : a Fit (`xarray.DataTree`) with the attributes of DESIGN 3.4.
    rows : what one row of the data was.
    """
    sentences = _factors_told(name, fit) if is_factor_fit(fit) else _outcomes_told(name, fit, rows)
    sentences.append(engine_sentence(fit))
    versions = parsed(fit, "versions")
    if isinstance(versions, Mapping) and versions:
        own = {"mien": fit.attrs["mien_version"]} if fit.attrs.get("mien_version") else {}
        versions = own | dict(versions)
        sentences.append("Software: " + ", ".join(f"{key} {value}" for key, value in versions.items()) + ".")
    hashes = [f"{label} {str(fit.attrs[key])[:12]}…" for key, label in HASHES.items() if fit.attrs.get(key)]
    sentences += [f"Fingerprints (sha256): {', '.join(hashes)}."] if hashes else []
    return sentences


def _outcomes_told(name: str, fit: Any, rows: str) -> list[str]:
    posterior = fit["posterior"].to_dataset()
    shapes = posterior.sizes.get("blend_shape", 1)
    family = str(fit.attrs.get("family", "gaussian"))
    likelihood = FAMILY_WORDS.get(family, family.replace("_", " "))
    sentences = [
        f"Model “{name}”: {shapes} outcome{'s' if shapes != 1 else ''}, each fitted to {rows} with a "
        f"{likelihood} likelihood and the formula {fit.attrs.get('formula', '–')}"
        f"{_groups(posterior)}.",
    ]
    sentences += _rows_told(fit)
    coding = _coding(parsed(fit, "coding"))
    sentences += [f"Coding: {coding}."] if coding else []
    priors = priors_text(parsed(fit, "priors"))
    sentences += (
        [f"Priors (numbers in the outcome’s units; ranges are over outcomes): {priors}."] if priors else []
    )
    return sentences


def _factors_told(name: str, fit: Any) -> list[str]:
    """What is its own in the methods of a co-activation fit."""
    sizes, groups, counts = fit["posterior"].dataset.sizes, parsed(fit, "groups"), parsed(fit, "counts")
    many, one = GROUP_WORDS[groups["role"]]
    within, between = sizes["factor"], sizes["between_factor"]
    trials, lacking = int(counts["trials"]), int(counts["incomplete_trials"])
    scores = "integrated out" if fit.attrs.get("engine") != "nuts" else "sampled"
    sentences = [
        f"Model “{name}”: {sizes['blend_shape']} shapes at once, on {trials - lacking:,} trial means of "
        f"{groups['count']} {many}, each shape divided by its standard deviation within {many}. How a trial departs "
        f"from the level of its {one} is Λf + ε with {within} factor{'s' if within != 1 else ''} f; how that level "
        f"departs from the mean is the same with {between} of its own. Scores and unique parts are normal; scores were "
        f"{scores}. Means and covariates follow the formula {fit.attrs['formula']}.",
        f"{lacking:,} of {trials:,} trials lacked one of the shapes and were left out." if lacking else
        f"None of {trials:,} trials lacked one of the shapes.",
    ]  # fmt: skip
    reasons: dict[str, list[str]] = {}
    for shape, reason in left_out(fit).items():
        reasons.setdefault(reason, []).append(shape)
    sentences += [f"Not in the model: {', '.join(names)} ({reason})." for reason, names in reasons.items()]
    coding = _coding(parsed(fit, "coding"))
    sentences += [f"Coding: {coding}."] if coding else []
    priors = parsed(fit, "priors")
    spread = "Loadings are normal around 0, with one standard deviation at each level, which is estimated. "
    sentences.append(
        f"{spread if 'loading_sd' in priors else ''}Priors (loadings in standard deviations within {many}, "
        f"uniquenesses as variances): {priors_text(priors)}."
    )
    sentences.append(
        "Each draw’s loadings were turned by varimax and then put in the order and signs that come nearest to the mean "
        "of all draws. The checks of the computation rest on what no rotation changes: communalities, uniquenesses and "
        "correlations."
    )
    return sentences


GROUP_WORDS = {"participant": ("persons", "person"), "stimulus": ("stimuli", "stimulus")}
HASHES = {"data_sha256": "data", "recipe_sha256": "recipe"}


def _groups(posterior: Any) -> str:
    sizes = [
        f"{posterior.sizes[dim]} {word}"
        for dim, word in (("participant", "participants"), ("stimulus", "stimuli"))
        if dim in posterior.sizes
    ]
    return f" ({', '.join(sizes)})" if sizes else ""


def _rows_told(fit: Any) -> list[str]:
    """How many rows became what, and which outcomes were not fitted."""
    counts = parsed(fit, "counts")
    told = [f"{number:,} {words}" for key, words in COUNTS.items() if (number := counts.get(key))]
    sentences = [f"Rows over all outcomes: {', '.join(told)}."] if told else []
    missing = [f"{name} ({reason})" for name, reason in left_out(fit).items()]
    return sentences + ([f"Not fitted: {', '.join(missing)}."] if missing else [])


COUNTS = {
    "bins": "bins",
    "rows": "rows",
    "excluded": "excluded",
    "missing": "with missing values",
    "in_dead_shapes": "of shapes that were not fitted",
    "modelled": "complete",
}


def _coding(coding: Any) -> str:
    """`valence: negative −½, positive +½`, from category → levels in order."""
    if not isinstance(coding, Mapping):
        return str(coding)
    return "; ".join(
        f"{name}: {_levels(str(name), [str(one) for one in levels])}" for name, levels in coding.items()
    )


def _levels(name: str, levels: list[str]) -> str:
    if len(levels) == 2:
        return f"{levels[0]} −½, {levels[1]} +½"
    if name == "valence" and tuple(levels) == VALENCES:
        return "positive − negative, and neutral − the mean of both"
    if len(levels) > LISTED:
        return f"deviations from the mean of {len(levels)} levels"
    return f"deviations from the mean of {', '.join(levels)}"


def priors_text(priors: Any) -> str:
    """Priors with their numbers and source kinds.

    Parameters
    ----------
    priors : {parameter: prior} or {outcome: {parameter: prior}}, a prior being plain data with "family", its
        numbers and "source".
    """
    by_source: dict[str, list[str]] = {}
    for name, many in _by_parameter(priors).items():
        by_source.setdefault(_source_text(many), []).append(f"{name} ~ {_prior_text(many)}")
    return "; ".join(f"{', '.join(texts)} [{source}]" for source, texts in by_source.items())


def _source_text(many: list[Mapping[str, Any]]) -> str:
    sources = dict.fromkeys(str(one.get("source", "source unknown")) for one in many)
    return " or ".join(SOURCE_WORDS.get(source, source) for source in sources)


def _by_parameter(priors: Any) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    if not isinstance(priors, Mapping):
        return found
    for key, value in priors.items():
        if not isinstance(value, Mapping):
            continue
        if "family" in value:
            found.setdefault(str(key), []).append(value)
            continue
        for name, many in _by_parameter(value).items():
            found.setdefault(name, []).extend(many)
    return found


def _prior_text(many: list[Mapping[str, Any]]) -> str:
    family = " or ".join(dict.fromkeys(str(one["family"]) for one in many))
    names = [name for name in NUMBERS_FIRST if all(name in one for one in many)]
    numbers = ", ".join(_range(_flat(one[name] for one in many)) for name in names)
    return f"{family}({numbers})"


def _flat(values: Iterable[Any]) -> list[float]:
    return [float(x) for value in values for x in (value if isinstance(value, list) else [value])]


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    texts = [f"{x:.3g}".replace("-", "−") for x in (low, high)]
    return (
        texts[0]
        if texts[0] == texts[1] or math.isclose(low, high, rel_tol=5e-3)
        else f"{texts[0]} to {texts[1]}"
    )


def engine_sentence(fit: Any) -> str:
    """Which engine drew how many draws from which seed, why it, and whether the checks were passed."""
    posterior = fit["posterior"].to_dataset()
    chains, draws = posterior.sizes.get("chain", 1), posterior.sizes.get("draw", 0)
    reason = str(fit.attrs.get("engine_reason", "")).strip().rstrip(".")
    verdict = str(fit.attrs.get("diagnostics", "unknown"))
    manner = (
        f"{chains} runs of importance sampling over the variance parameters, {draws} draws resampled from each"
        if is_weighted(fit)
        else f"{chains} chains of {draws} draws"
    )
    return (
        f"Engine “{fit.attrs.get('engine', '–')}”{f' ({reason})' if reason else ''}: {manner}, "
        f"seed {fit.attrs.get('seed', '–')}; the checks of the computation{_weights_told(fit)} were {verdict}."
    )


def _weights_told(fit: Any) -> str:
    """` (Pareto k at most 0.21, …)`: the numbers that decide, where the engine gives its own verdict."""
    if not is_weighted(fit):
        return ""
    detail = verdict_detail(fit)
    parts = [
        f"{words} {float(detail[key]):{form}}"
        for key, words, form in (
            ("max_khat", "Pareto k at most", ".2f"),
            ("min_ess", "effective sample sizes of at least", ".0f"),
            ("max_z", "|z| between runs at most", ".1f"),
        )
        if detail.get(key) is not None
    ]
    nuts = (detail.get("fallbacks") or {}).get("nuts", 0)
    parts += [f"{nuts} outcome{'s' if nuts != 1 else ''} sampled by NUTS instead"] if nuts else []
    return f" ({', '.join(parts)})" if parts else ""


CHECKS = {
    False: "R-hat at most 1.01, bulk and tail effective sample sizes of at least 400, no divergences",
    True: (
        "Pareto k of the importance weights at most 0.5, effective sample sizes of at least 400, independent runs that "
        "agree within 4 standard errors"
    ),
}


def checks_statement(fits: Mapping[str, Any]) -> str:
    """What the fits had to pass, for each way of drawing among them."""
    weighted = {name: is_weighted(fit) for name, fit in fits.items()}
    kinds = sorted(set(weighted.values()))
    if len(kinds) == 1:
        return CHECKS[kinds[0]] + (", in every fit" if len(fits) > 1 else "")
    return "; ".join(
        f"{CHECKS[kind]} ({', '.join(name for name, own in weighted.items() if own is kind)})"
        for kind in kinds
    )


BASELINES = {
    "subtract": (
        "Activation is a change score: the mean of each bin minus the mean of the trial’s own baseline window "
        "({window}). This adds the error of the baseline to every bin and invites regression to the mean; using the "
        "baseline as a covariate is recommended where the two differ."
    ),
    "none": "Activation is not corrected for the baseline: it is the mean of each bin as recorded.",
    "neutral": (
        "Activation is the mean of each bin minus the person’s neutral mean in the same recording; the eyelids are "
        "left as recorded."
    ),
}


def baseline_statement(recipe: Mapping[str, Any]) -> str:
    """Which treatment of the baseline the numbers rest on, and what it costs."""
    window = recipe.get("baseline", (-1.0, 0.0))
    if isinstance(window, Mapping):
        spelt = ", ".join(f"{key} {_seconds(value)}" for key, value in window.items())
        spelt = (
            _seconds(next(iter(window.values())))
            if len({str(one) for one in window.values()}) == 1
            else spelt
        )
    else:
        spelt = _seconds(window)
    return BASELINES[str(recipe.get("baseline_correction", "subtract"))].format(window=spelt)


def _seconds(window: Any) -> str:
    start, end = (
        f"{float(edge):g}".replace("-", "−") if not isinstance(edge, str) else edge for edge in window
    )
    return f"{start} to {end} s from stimulus onset"


def clock_statement(clock: str) -> str:
    """Whether the onsets were on the recording's own clock."""
    if clock == "assume_aligned":
        return (
            "The clocks were not aligned: onsets were taken as if the stimulus computer and the camera shared one "
            "clock. "
            "Every time in this report, and every baseline window, rests on that assumption."
        )
    return (
        "Stimulus onsets are on the recordings’ own clock; method, drift and residual stand beside the events of each "
        "recording."
    )
