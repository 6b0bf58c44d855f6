"""Who may see what: a role for every name, pages for every role; whoever and whatever is not listed is refused.

The check stands in every function that reads data (`reading`), not only where pages are listed: a page that is asked
for by its address, or a page's code that is called by mistake, gets nothing.

    clinician       the study at a glance, effects, one person, about
    planner         power, about: no person's data
    statistician    everything
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mien.reports_app.app.settings import Settings
from mien.study.errors import MienError, StudyError
from mien.study.tables import nearest

__all__ = [
    "LOCAL", "OF_PERSONS", "OF_POWER", "OF_STUDY", "PAGES", "ROLES", "NotAllowedError", "Visitor", "read_roles",
    "require", "visitor_of",
]  # fmt: skip

PAGES = ("overview", "effects", "time", "task", "traits", "together", "person", "checks", "power", "about")
ROLES: Mapping[str, frozenset[str]] = {
    "clinician": frozenset({"overview", "effects", "person", "about"}),
    "planner": frozenset({"power", "about"}),
    "statistician": frozenset(PAGES),
}
OF_STUDY = frozenset(PAGES) - {"power", "about"}  # pages that read what the study's people did
OF_POWER = frozenset({"power"})
OF_PERSONS = frozenset({"person"})
LOCAL = "this machine"  # who looks where nobody signs in


class NotAllowedError(MienError):
    """A page or its data, asked for by someone whose role does not have it."""


class Visitor(NamedTuple):
    """Who looks. name : as the provider verified it. role : one of ROLES; "" may see nothing."""

    name: str
    role: str

    def may(self, page: str) -> bool:
        """Whether the page is one of the role's."""
        return page in ROLES.get(self.role, frozenset())


def visitor_of(told: Settings) -> Visitor | None:
    """Who looks now; None for someone who has still to sign in."""
    if not told.sign_in:
        return Visitor(LOCAL, "statistician")
    name = told.identify()
    return Visitor(name, told.roles.get(_same(name), "")) if name else None


def require(visitor: Visitor | None, page: str, among: frozenset[str] = frozenset(PAGES)) -> None:
    """Refuse whoever may not see a page.

    Parameters
    ----------
    among : pages that have what is asked for, so that nothing is had by naming another page of one's role.

    Raises
    ------
    NotAllowedError
    """
    if visitor is None or not visitor.may(page) or page not in among:
        raise NotAllowedError(
            f"{page}: expected a role that has this page, found none: ask whoever keeps the list."
        )


def read_roles(path: Path) -> dict[str, str]:
    """The allow-list: a TOML file with a table [roles], name → role; names as the provider gives them (e-mail).

    Raises
    ------
    StudyError
        For a file that is missing, is no TOML, or has other roles.
    """
    if not path.is_file():
        raise StudyError(f"--roles: expected a file, found none at {path}.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise StudyError(f"{path}: expected TOML, found {problem}.") from None
    listed = data.get("roles")
    if not isinstance(listed, dict) or set(data) != {"roles"} or not listed:
        raise StudyError(
            f'{path}: expected one table [roles] with lines like "anna@example.org" = "clinician".'
        )
    for name, role in listed.items():
        if not isinstance(role, str) or role not in ROLES:
            raise StudyError(
                f"{path}: expected one of {', '.join(ROLES)} for {name}, found {role!r}{nearest(str(role), ROLES)}."
            )
    roles = {_same(name): role for name, role in listed.items()}
    if "" in roles or len(roles) < len(listed):
        raise StudyError(f"{path}: expected each name once, found one twice (or empty): remove one line.")
    return roles


def _same(name: str) -> str:
    return name.strip().casefold()
