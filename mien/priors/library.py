"""The library of default priors: one entry a role, read from library.toml.

An entry names its family and numbers on the standardised scale, what they are multiplied by (`times`), and what
kind of source it has: "rule" (follows from the scale) or "convention" (common practice). No entry cites a paper.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mien.priors.distributions import Prior, prior_from_dict
from mien.study.errors import SpecError

__all__ = ["DEFAULT_LIBRARY", "ROLES", "SCALES", "SOURCES", "LibraryPrior", "read_library"]

ROLES = (
    "Intercept", "beta", "sd", "corr", "sigma", "rho", "link_Intercept", "link_beta", "link_sd", "parameter_beta",
    "log_sigma", "nu", "phi", "shape", "zi", "zoi", "coi", "hu", "cutpoint_zero", "cutpoint_one", "loading_sd",
    "uniqueness", "between_loading_sd", "between_uniqueness",
)  # fmt: skip
SCALES = ("outcome", "log_outcome", "per_unit", "per_column", "intercept", "none")
SOURCES = ("rule", "convention")


@dataclass(frozen=True)
class LibraryPrior:
    """One default: `prior` on the standardised scale, to be multiplied by `times`."""

    id: str
    version: str
    role: str
    prior: Prior
    times: str
    source: str
    reason: str


def _entry(data: Mapping[str, object], library: Mapping[str, str]) -> LibraryPrior:
    for key, allowed in (("role", ROLES), ("times", SCALES), ("source", SOURCES)):
        if data.get(key) not in allowed:
            raise SpecError(
                f"priors library, entry {data.get('id')!r}: expected {key} to be one of {', '.join(allowed)}, "
                f"found {data.get(key)!r}."
            )
    prior = prior_from_dict(data)  # type: ignore[arg-type]
    return LibraryPrior(
        f"{library['id']}/{data['id']}", library["version"], str(data["role"]), prior, str(data["times"]),
        str(data["source"]), str(data["reason"]),
    )  # fmt: skip


def read_library(text: str) -> Mapping[str, LibraryPrior]:
    """The entries of a library's TOML by role.

    Raises
    ------
    SpecError
        When a role is missing or occurs twice, or an entry is not understood.
    """
    data = tomllib.loads(text)
    entries = [_entry(item, data["library"]) for item in data["prior"]]
    roles = [entry.role for entry in entries]
    if sorted(roles) != sorted(ROLES):
        raise SpecError(
            f"priors library: expected each of {', '.join(ROLES)} once, found {', '.join(roles)}."
        )
    return {entry.role: entry for entry in entries}


@cache
def _default() -> Mapping[str, LibraryPrior]:
    return read_library(resources.files(__package__).joinpath("library.toml").read_text(encoding="utf-8"))


DEFAULT_LIBRARY = _default()
