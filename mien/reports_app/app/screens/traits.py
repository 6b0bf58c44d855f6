"""How the answer goes with traits, ratings, groups and sessions."""

from mien.reports_app.app import placing, reading
from mien.reports_app.app.context import Context
from mien.reports_app.app.screens.effects import of_fits

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    placing.heading(context.title)
    of_fits(context, reading.stored_fits(context.visitor, context.page, context.page))
