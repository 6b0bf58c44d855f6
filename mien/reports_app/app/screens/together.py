"""Which parts of the face move together: factors as faces, the network, the map of pairs, the trees."""

from mien.reports_app.app import placing, reading
from mien.reports_app.app.choosing import no_fit, one_of
from mien.reports_app.app.context import Context
from mien.reports_app.co_activation_part import part_order
from mien.reports_app.fragments import fragment

__all__ = ["show"]


def show(context: Context) -> None:
    """The page."""
    visitor, page = context.visitor, context.page
    placing.heading(context.title)
    fits = {one.name: one for one in reading.stored_fits(visitor, page) if reading.is_together(one)}
    if not fits:
        no_fit(context, "mien fit STUDY --model co_activation")
        return
    names = part_order(list(fits))
    fit = fits[one_of("Model", "model", names)]
    placing.warnings(list(fit.stale))
    part = reading.co_activation_of(visitor, page, fit, full=True)
    placing.sheet(
        fragment("co_activation", "co_activation", part, 1, True, reading.decisions()),
        key=f"together-{fit.key}",
    )
