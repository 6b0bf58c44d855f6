"""Priors with their sources: an `Entry` is a prior, what it is for, where it comes from and what it says.

    role      what it is a prior of: "beta", "sd", "corr" …
    prior     family and numbers, on the entry's scale
    scale     that scale in words; times: what the numbers are multiplied by to come onto the scale of the data
    source    kind and reason; of a publication the DOI and the sentence that was read, else no entry
    implies   what it says about data (`statements`)

`LIBRARY` holds the shipped ones (library.toml): the default of every role, and variants of it, "coefficient:sceptical".
A user's own entries have the same form (`elicitation`, or an `Entry` by hand).
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from mien.priors.distributions import Prior, prior_from_dict, prior_to_dict
from mien.priors.statements import QUANTITIES, Statement, statement_from_dict, statement_to_dict
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = [
    "LIBRARY", "ROLES", "SCALES", "SOURCES", "TIMES", "Entry", "Library", "Source", "entry_from_dict", "entry_to_dict",
    "read_library",
]  # fmt: skip

ROLES = (
    "Intercept", "beta", "sd", "smooth", "corr", "sigma", "rho", "link_Intercept", "link_beta", "link_sd",
    "parameter_beta", "log_sigma", "nu", "phi", "shape", "zi", "zoi", "coi", "hu", "cutpoint_zero", "cutpoint_one",
    "loading_sd", "uniqueness", "between_loading_sd", "between_uniqueness",
)  # fmt: skip
TIMES = ("outcome", "log_outcome", "per_unit", "per_column", "intercept", "none")
SCALES = ("raw", "standardised", "link", "log", "logit", "atanh", "correlation", "sds within persons")
SOURCES = ("literature", "pilot", "elicited", "rule", "convention")
RECORDED = ("pilot", "elicited")

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Source:
    """Where a prior comes from.

    Parameters
    ----------
    kind : "literature", "pilot" (a posterior), "elicited" (from a person), "rule" (follows from the scale) or
        "convention" (common practice).
    reason : in one sentence.
    doi, sentence : of literature, both: the sentence is the one that was read.
    record : of a pilot or an elicitation: what went in and what came out, plain data.
    """

    kind: str
    reason: str
    doi: str = ""
    sentence: str = ""
    record: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        if self.kind not in SOURCES:
            raise SpecError(
                f"source: expected one of {', '.join(SOURCES)}, found {self.kind!r}{nearest(str(self.kind), SOURCES)}."
            )
        if not self.reason.strip():
            raise SpecError("source: expected a reason, found none: say in a sentence why this prior.")
        read = bool(self.doi.strip()) and bool(self.sentence.strip())
        if self.kind == "literature" and not read:
            raise SpecError(
                "source: expected the DOI of a publication and the sentence that was read in it, found "
                f"doi {self.doi!r} and sentence {self.sentence!r}: what nobody read is a rule or a convention."
            )
        if self.kind in RECORDED and not self.record:
            raise SpecError(
                f"source: expected the record of what was asked and answered for kind {self.kind!r}, found none: use "
                "mien.priors.elicitation."
            )
        object.__setattr__(self, "record", MappingProxyType(dict(self.record)))

    def __reduce__(self):
        return (Source, (self.kind, self.reason, self.doi, self.sentence, dict(self.record)))


@dataclass(frozen=True)
class Entry:
    """A prior with its source; see the module.

    Parameters
    ----------
    id : "mien-weak/coefficient", of a variant "mien-weak/coefficient:sceptical"; a user's own "own/smile".
    scale : one of `SCALES`; times : one of `TIMES`.
    implies : None where nothing is said.
    """

    id: str
    version: str
    role: str
    prior: Prior
    scale: str
    times: str
    source: Source
    implies: Statement | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("role", self.role, ROLES), ("scale", self.scale, SCALES), ("times", self.times, TIMES),
        ):  # fmt: skip
            if value not in allowed:
                raise SpecError(
                    f"prior {self.id!r}: expected {name} to be one of {', '.join(allowed)}, found {value!r}"
                    f"{nearest(str(value), allowed)}."
                )
        if self.implies is not None and self.role not in QUANTITIES[self.implies.quantity].roles:
            raise SpecError(
                f"prior {self.id!r}: expected a statement about what a prior of role {self.role} decides, found one "
                f"about {self.implies.quantity!r}."
            )

    @property
    def variant(self) -> str:
        """Its name, such as sceptical; empty of a default."""
        return self.id.rpartition("/")[2].partition(":")[2]

    @property
    def label(self) -> str:
        """Id and version, as fits store it."""
        return f"{self.id} {self.version}"


def entry_to_dict(entry: Entry) -> dict[str, Any]:
    """Plain data: what `entry_from_dict` reads, with the statement's sentence."""
    own = {item.name: getattr(entry.source, item.name) for item in fields(Source)}
    source = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in own.items() if value
    }
    implies = {} if entry.implies is None else {"implies": statement_to_dict(entry.implies)}
    return {
        "id": entry.id, "version": entry.version, "role": entry.role, "prior": prior_to_dict(entry.prior),
        "scale": entry.scale, "times": entry.times, "source": source, **implies,
    }  # fmt: skip


def entry_from_dict(data: Mapping[str, Any]) -> Entry:
    """Read plain data.

    Raises
    ------
    SpecError
        For what is missing or not understood.
    """
    identity = str(data.get("id", ""))
    missing = [name for name in ("id", "role", "prior", "scale", "times", "source") if name not in data]
    if missing:
        raise SpecError(
            f"prior {identity!r}: expected id, role, prior, scale, times and source, found no "
            f"{', '.join(missing)}."
        )
    source = data["source"]
    if not isinstance(source, Mapping):
        raise SpecError(f"prior {identity!r}: expected source with a kind and a reason, found {source!r}.")
    unknown = sorted(set(source) - {"kind", "reason", "doi", "sentence", "record"})
    if unknown or not {"kind", "reason"} <= set(source):
        raise SpecError(
            f"prior {identity!r}: expected source with kind, reason, doi, sentence and record, found "
            f"{', '.join(map(str, source)) or 'nothing'}."
        )
    implies = data.get("implies")
    return Entry(
        identity, str(data.get("version", "1")), str(data["role"]), prior_from_dict(data["prior"]), str(data["scale"]),
        str(data["times"]), Source(**source), None if implies is None else statement_from_dict(implies),
    )  # fmt: skip


class Library:
    """Entries by id: the default of every role, each followed by its variants."""

    def __init__(self, name: str, version: str, entries: tuple[Entry, ...]) -> None:
        self.name, self.version = name, version
        self._entries = {entry.id: entry for entry in entries}
        if len(self._entries) < len(entries):
            raise SpecError("priors library: expected ids that differ, found one twice.")
        self._defaults = {entry.role: entry for entry in entries if not entry.variant}
        roles = [entry.role for entry in entries if not entry.variant]
        if sorted(roles) != sorted(ROLES):
            raise SpecError(
                f"priors library: expected a default for each of {', '.join(ROLES)} once, found {', '.join(roles)}."
            )

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def default(self, role: str) -> Entry:
        """What a role has where nobody said anything."""
        return self._defaults[role]

    def variants(self, role: str) -> tuple[Entry, ...]:
        """The alternatives to a role's default."""
        return tuple(entry for entry in self if entry.role == role and entry.variant)

    def find(self, text: str) -> Entry:
        """An entry by its id, "mien-weak/coefficient:sceptical", or without the library's name.

        Raises
        ------
        SpecError
        """
        identity = text if "/" in text else f"{self.name}/{text}"
        if identity not in self._entries:
            known = [entry.id.partition("/")[2] for entry in self]
            raise SpecError(
                f"prior: expected an entry of the library (mien priors list), found {text!r}"
                f"{nearest(text.rpartition('/')[2], known)}."
            )
        return self._entries[identity]


def read_library(text: str) -> Library:
    """A library from TOML: [library] with id and version, [[prior]] with [[prior.variant]].

    Raises
    ------
    SpecError
        When a role is missing or occurs twice, or an entry is not understood.
    """
    data = tomllib.loads(text)
    name, version = str(data["library"]["id"]), str(data["library"]["version"])
    entries: list[Entry] = []
    for item in data["prior"]:
        common = {"version": version, **{key: value for key, value in item.items() if key != "variant"}}
        entries.append(entry_from_dict(_spelt(common, name)))
        shared = {key: common[key] for key in ("version", "role", "scale", "times")}
        for variant in item.get("variant", ()):
            own = {**shared, **variant, "id": f"{item['id']}:{variant['name']}"}
            entries.append(entry_from_dict(_spelt(own, name)))
    return Library(name, version, tuple(entries))


def _spelt(item: Mapping[str, Any], library: str) -> dict[str, Any]:
    """The file's short form: the kind of the source as `source`, the rest of it beside it."""
    own = {key: item[key] for key in ("reason", "doi", "sentence", "record") if key in item}
    return {**item, "id": f"{library}/{item['id']}", "source": {"kind": item.get("source"), **own}}


@cache
def _shipped() -> Library:
    return read_library(resources.files(__package__).joinpath("library.toml").read_text(encoding="utf-8"))


LIBRARY = _shipped()
