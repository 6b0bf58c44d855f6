"""What every page is given: who looks, how, and the words."""

from typing import NamedTuple

from mien.reports_app.app.access import Visitor

__all__ = ["TITLES", "Context"]

TITLES = {
    "overview": "Overview", "effects": "Effects", "time": "Time", "task": "Films and pictures", "traits": "Traits",
    "together": "Co-activation", "person": "One person", "checks": "Checks", "power": "Power", "about": "About",
}  # fmt: skip


class Context(NamedTuple):
    """Of one visit.

    Parameters
    ----------
    page : its name in `access.PAGES`. view : "clinical" (plain words, the pages of a clinician) or "statistical".
    """

    visitor: Visitor
    page: str
    view: str

    @property
    def title(self) -> str:
        """The page's, which is also its name in the list of pages."""
        return TITLES[self.page]

    @property
    def statistical(self) -> bool:
        """Whether numbers and models are shown in full."""
        return self.view == "statistical"
