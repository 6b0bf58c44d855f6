"""Every limit and word that a report decides by, in one place.

All are *conventions* of this project: no threshold here has clinical validation, and every report says so. A study
changes them in the table [decisions] of its mien.toml.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mien.study.errors import SpecError

__all__ = ["CANNOT_TELL", "DEFAULTS", "Decisions"]

CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Decisions:
    """Limits of a report.

    Parameters
    ----------
    rope : half-width of the region of practical equivalence, residual sds of a trial.
    delta : a change of one person that counts, posterior-median sds between persons.
    clearly, probably, signs : least probability of a statement for "clearly", "probably", "there are signs that".
    flag : least P(direction) for a shape to be counted and named among those that answer.
    valid_trials : least number of valid trials a condition for a statement about one person.
    tracked_share : least share of frames tracked, 0-1.
    """

    rope: float = 0.1
    delta: float = 0.5
    clearly: float = 0.99
    probably: float = 0.95
    signs: float = 0.80
    flag: float = 0.95
    valid_trials: int = 8
    tracked_share: float = 0.8

    def __post_init__(self) -> None:
        if not 0.5 <= self.signs <= self.probably <= self.clearly <= 1:
            raise SpecError(
                "decisions: expected 0.5 ≤ signs ≤ probably ≤ clearly ≤ 1, "
                f"found {self.signs}, {self.probably}, {self.clearly}: correct them in mien.toml."
            )

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], *, where: str = "mien.toml, [decisions]") -> "Decisions":
        """Decisions from parsed TOML; keys left out keep their default.

        Raises
        ------
        SpecError
            For an unknown key or something that is no number.
        """
        known: dict[str, Any] = {one.name: one.default for one in fields(cls)}
        for key, value in given.items():
            if key not in known:
                raise SpecError(
                    f"{where}: expected one of {', '.join(known)}, found {key!r}: correct or remove it."
                )
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise SpecError(f"{where}: expected a number for {key}, found {value!r}: correct it.")
        return cls(**{key: type(known[key])(value) for key, value in given.items()})

    def word(self, probability: float) -> str:
        """The word for a statement of this probability."""
        if probability >= self.clearly:
            return "clearly"
        if probability >= self.probably:
            return "probably"
        return "there are signs that" if probability >= self.signs else CANNOT_TELL


DEFAULTS = Decisions()
