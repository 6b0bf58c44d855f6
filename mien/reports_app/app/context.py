"""What every page is given: who looks, how, and the words."""

from typing import NamedTuple

from mien.reports_app.app.access import Visitor

__all__ = ["Context"]


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
    def statistical(self) -> bool:
        """Whether numbers and models are shown in full."""
        return self.view == "statistical"
