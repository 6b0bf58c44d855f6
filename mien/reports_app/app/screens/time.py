"""How the answer unfolds: courses with bands, when it was largest, whether it fades from trial to trial."""

from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import chosen_fit
from mien.reports_app.app.context import Context
from mien.reports_app.app.screens.effects import of_fits
from mien.reports_app.fragments import fragment

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    placing.heading(context.title)
    fits = reading.stored_fits(context.visitor, context.page, "time")
    fit = chosen_fit(context, fits)
    if fit is None:
        return
    part = reading.courses_of(context.visitor, context.page, fit)
    if part is None:
        of_fits(context, [fit])
        return
    placing.warnings(list(fit.stale))
    placing.sheet(fragment("effects", "course", part, 1), key=fit.key)
