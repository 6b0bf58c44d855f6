"""From what a user says of one prior to the prior: an entry of the library, numbers with a source, answers, a pilot."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mien.priors import Entry, Prior, Source, prior_from_text, role_by_name
from mien.priors.answers import Details
from mien.priors.earlier_results import from_effect
from mien.priors.elicitation import from_quantiles, from_roulette, from_statement
from mien.study.errors import SpecError

__all__ = ["Answer", "prior_of_answer"]


@dataclass(frozen=True)
class Answer:
    """What was said, as the command line takes it; see `mien priors set --help`."""

    prior: str = ""
    source: str = ""
    reason: str = ""
    doi: str = ""
    sentence: str = ""
    interval: tuple[float, float] | None = None
    probability: float = 0.95
    people: bool = False
    quantiles: Sequence[str] = ()
    chips: str = ""
    pilot: Path | None = None
    shape: str = ""
    weight: float = 1.0
    effect: float | None = None
    units: str = "raw"


def prior_of_answer(parameter: str, answer: Answer) -> Prior | Entry | str:
    """The prior that was meant; the id of an entry, or "default", stays a text.

    Raises
    ------
    SpecError
        When nothing was said, or more than one thing.
    """
    ways = {
        "a prior": bool(answer.prior), "--interval": answer.interval is not None and answer.effect is None,
        "--quantile": bool(answer.quantiles), "--chips": bool(answer.chips), "--pilot": answer.pilot is not None,
        "--effect": answer.effect is not None,
    }  # fmt: skip
    given = [way for way, was in ways.items() if was]
    if len(given) != 1:
        raise SpecError(
            f"priors set {parameter}: expected one of {', '.join(ways)}, found {' and '.join(given) or 'none'}."
        )
    if answer.prior:
        return _written(parameter, answer)
    return _asked(parameter, answer)


def _written(parameter: str, answer: Answer) -> Prior | Entry | str:
    """An id as it stands; numbers, with their source where one was given."""
    if "(" not in answer.prior:
        if answer.source or answer.reason:
            raise SpecError(
                f"priors set {parameter}: expected no --source beside an entry of the library, which has its own."
            )
        return answer.prior
    prior = prior_from_text(answer.prior)
    if not answer.source:
        if answer.reason or answer.doi or answer.sentence:
            raise SpecError(
                f"priors set {parameter}: expected --source (literature, rule, convention) beside --reason, found none."
            )
        return prior
    source = Source(answer.source, answer.reason, answer.doi, answer.sentence)
    return Entry(f"own/{parameter}", "1", role_by_name(parameter), prior, "raw", "none", source)


def _asked(parameter: str, answer: Answer) -> Entry:
    """From answers to questions, a pilot's posterior, or a published effect."""
    name, role = re.sub(r"[^A-Za-z0-9_.-]+", "-", parameter).strip("-"), role_by_name(parameter)
    details: Details = {"units": answer.units, "date": datetime.now(UTC).date().isoformat()}
    if answer.reason:
        details["reason"] = answer.reason
    if answer.pilot is not None:
        return _of_pilot(parameter, name, answer)
    if answer.effect is not None:
        given = {"doi": answer.doi, "sentence": answer.sentence, "discount": answer.weight}
        return from_effect(name, answer.effect, interval=answer.interval, **given)
    if answer.quantiles:
        return from_quantiles(name, role, dict(map(_quantile, answer.quantiles)), **details)
    if answer.chips:
        edges, counts = _chips(answer.chips)
        return from_roulette(name, role, edges, counts, **details)
    assert answer.interval is not None
    low, high = answer.interval
    half = role in ("sd", "smooth", "sigma")
    bottom = None if half and low == 0.0 and not answer.people else low
    return from_statement(
        name,
        role,
        bottom,
        high,
        answer.probability,
        about="people" if answer.people else "average",
        **details,
    )


def _of_pilot(parameter: str, name: str, answer: Answer) -> Entry:
    from mien.models import load
    from mien.models.pilot_priors import pilot_prior

    assert answer.pilot is not None
    return pilot_prior(load(answer.pilot), parameter, answer.shape or None, name=name, weight=answer.weight)


def _quantile(text: str) -> tuple[float, float]:
    share, _, value = text.partition("=")
    try:
        return float(share), float(value)
    except ValueError:
        raise SpecError(
            f"--quantile: expected a probability and a value, 0.05=-0.1, found {text!r}."
        ) from None


def _chips(text: str) -> tuple[list[float], list[float]]:
    edges, _, counts = text.partition(":")
    try:
        return [float(edge) for edge in edges.split(",")], [float(count) for count in counts.split(",")]
    except ValueError:
        raise SpecError(
            f"--chips: expected edges and counts, '-0.2,-0.1,0,0.1: 2,9,4', found {text!r}."
        ) from None
