"""Priors that do not move any more: numbers, sources and the model they are for, under one sha256.

    freeze before the data are looked at  →  a file  →  fits, reports and power plans carry its hash

The hash is over everything but the date: one number or one source changed is another hash, and a file that was changed
by hand is refused. A *registered* analysis takes frozen priors only, each of them with a source.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mien.priors.distributions import prior_from_dict
from mien.priors.resolution import UNSOURCED, ResolvedPrior
from mien.study.errors import SpecError

__all__ = ["FORMAT", "FrozenPriors", "resolved_from_dict"]

FORMAT = "mien-frozen-priors 1"


@dataclass(frozen=True, eq=False)
class FrozenPriors:
    """Frozen priors of one model.

    Parameters
    ----------
    name : of the fit. created : when, ISO 8601; neither is part of the hash.
    model : the specification as plain data, without its priors and its name.
    outcomes : blend shape → parameter → prior as numbers; "" where there is a single outcome.
    entries : id and version → the entry as plain data, of all that have a source.
    scaled_by : sha256 of the data that gave the scale, "" for none; not part of the hash, as its numbers are.
    """

    name: str
    created: str
    model: Mapping[str, Any]
    outcomes: Mapping[str, Mapping[str, ResolvedPrior]]
    entries: Mapping[str, Mapping[str, Any]]
    scaled_by: str = ""

    @property
    def sha256(self) -> str:
        """Of the model, every number and every source."""
        content = {"model": self.model, "outcomes": self._numbers(), "entries": dict(self.entries)}
        return _sha256(content)

    def outcome_sha256(self) -> dict[str, str]:
        """Outcome → sha256 of the model and this outcome's numbers: the same whichever other outcomes there are."""
        return {
            outcome: _sha256({"model": self.model, "priors": numbers})
            for outcome, numbers in self._numbers().items()
        }

    def _numbers(self) -> dict[str, dict[str, dict[str, float | str]]]:
        return {
            outcome: {name: resolved.to_dict() for name, resolved in priors.items()}
            for outcome, priors in self.outcomes.items()
        }

    @property
    def unsourced(self) -> tuple[str, ...]:
        """Parameters whose prior has no source."""
        found = {
            name: None
            for priors in self.outcomes.values()
            for name, resolved in priors.items()
            if resolved.source == UNSOURCED or resolved.id not in self.entries
        }
        return tuple(found)

    def check_registered(self) -> None:
        """Refuse priors without a source.

        Raises
        ------
        SpecError
        """
        if self.unsourced:
            raise SpecError(
                f"registered: expected every prior with a source, found none for {', '.join(self.unsourced)}: take an "
                "entry of the library, or write down a source and a reason (mien priors set --source … --reason …)."
            )

    def check_model(self, model: Mapping[str, Any]) -> None:
        """Refuse another model than the one that was frozen.

        Raises
        ------
        SpecError
        """
        differs = [
            f"{key} {self.model.get(key)!r}, not {model.get(key)!r}"
            for key in dict.fromkeys((*self.model, *model))
            if self.model.get(key) != model.get(key)
        ]
        if differs:
            raise SpecError(
                f"frozen priors {self.name!r}: expected the model that they were frozen for ({'; '.join(differs)}), "
                "found another: freeze the priors of this one."
            )

    def of(self, outcome: str, parameters: Mapping[str, object]) -> Mapping[str, ResolvedPrior]:
        """The priors of one outcome, which has these parameters.

        Raises
        ------
        SpecError
        """
        if outcome not in self.outcomes:
            raise SpecError(
                f"frozen priors {self.name!r}: expected outcomes that were frozen "
                f"({', '.join(self.outcomes) or 'none'}), found {outcome!r}: freeze it too, or leave it out."
            )
        mine = self.outcomes[outcome]
        missing = [name for name in parameters if name not in mine]
        surplus = [name for name in mine if name not in parameters]
        if missing or surplus:
            told = [f"no {name}" for name in missing] + [f"{name}, which it has not" for name in surplus]
            raise SpecError(
                f"frozen priors {self.name!r}: expected those of the model's parameters, found {', '.join(told)}: were "
                "they frozen with other columns or levels? Freeze them again."
            )
        return {name: mine[name] for name in parameters}

    def to_json(self) -> str:
        """The file's text; `from_json` reads it back to the last bit."""
        content = {
            "format": FORMAT, "name": self.name, "created": self.created, "sha256": self.sha256,
            "scaled_by": self.scaled_by,
            "model": dict(self.model), "outcomes": self._numbers(), "entries": dict(self.entries),
        }  # fmt: skip
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "frozen priors") -> "FrozenPriors":
        """Read a file's text; one that was changed after it was frozen is refused.

        Raises
        ------
        SpecError
        """
        data = _parsed(text, where)
        outcomes = {
            str(outcome): {str(name): resolved_from_dict(item) for name, item in priors.items()}
            for outcome, priors in data["outcomes"].items()
        }
        found = FrozenPriors(
            str(data["name"]), str(data["created"]), data["model"], outcomes, data["entries"],
            str(data.get("scaled_by", "")),
        )  # fmt: skip
        if found.sha256 != data["sha256"]:
            raise SpecError(
                f"{where}: expected the content that was frozen (sha256 {str(data['sha256'])[:8]}…), found another "
                f"({found.sha256[:8]}…): it was changed afterwards. Take the original, or freeze anew."
            )
        return found


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as problem:
        raise SpecError(
            f"{where}: expected a file of mien priors freeze, found no JSON ({problem})."
        ) from None
    wanted = ("format", "name", "created", "sha256", "model", "outcomes", "entries")
    missing = [key for key in wanted if not isinstance(data, dict) or key not in data]
    if missing or data["format"] != FORMAT:
        raise SpecError(
            f"{where}: expected a file of mien priors freeze ({FORMAT}), found "
            f"{'no ' + ', '.join(missing) if missing else repr(data['format'])}."
        )
    return data


def resolved_from_dict(data: Mapping[str, Any]) -> ResolvedPrior:
    """The reverse of `ResolvedPrior.to_dict`."""
    numbers = {key: value for key, value in data.items() if key not in ("source", "id")}
    return ResolvedPrior(prior_from_dict(numbers), str(data["source"]), str(data["id"]))
