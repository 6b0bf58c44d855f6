"""From what a user says of one prior to the prior: an entry of the library, numbers with a source, answers, a pilot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.priors import Entry, Prior, Source, prior_from_text
from mien.priors.library import ROLES
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


def prior_of_answer(parameter: str, answer: Answer) -> Prior | Entry | str:
    """The prior that was meant; the id of an entry, or "default", stays a text.

    Raises
    ------
    SpecError
        When nothing was said, or more than one thing.
    """
    ways = {
        "a prior": answer.prior, "--interval": answer.interval, "--quantile": answer.quantiles, "--chips": answer.chips,
        "--pilot": answer.pilot,
    }  # fmt: skip
    given = [way for way, value in ways.items() if value]
    if len(given) != 1:
        raise SpecError(
            f"priors set {parameter}: expected one of {', '.join(ways)}, found {' and '.join(given) or 'none'}."
        )
    if answer.prior:
        return _written(parameter, answer)
    return _asked(parameter, answer)


def role_of(parameter: str) -> str:
    """The role of a parameter by its name: "sd:valence|participant" is an sd."""
    if parameter in ROLES:
        return parameter
    first = parameter.partition(":")[0]
    return first if first in ("sd", "corr", "sigma") and (first == parameter or ":" in parameter) else "beta"


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
    return Entry(f"own/{parameter}", "1", role_of(parameter), prior, "raw", "none", source)


def _asked(parameter: str, answer: Answer) -> Entry:
    raise NotImplementedError
