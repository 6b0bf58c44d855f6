"""How numbers of one person are written: intervals, percentiles, rows of dots, decimal commas inside pictures."""

import re

from mien.reports_app.figures.quantile_dots import DotRow
from mien.reports_app.rows import Row
from mien.reports_app.texts import Texts
from mien.reports_app.wording import decimals_for

__all__ = ["answer_text", "decimal_commas", "dot_row", "percentile_text", "reason_text", "value_text"]


def value_text(value: float, lower: float, upper: float, texts: Texts, *, spread: float) -> str:
    """`+0.041 (+0.020 to +0.062)`, with as many decimals as `spread` (an sd) asks for."""
    decimals = decimals_for(spread, digits=1)
    told = [texts.number(one, decimals, signed=True) for one in (value, lower, upper)]
    return texts("person.interval", value=told[0], lower=told[1], upper=told[2])


def answer_text(row: Row, texts: Texts) -> str:
    """The answer with its interval."""
    return value_text(row["mean"], row["eti_lower"], row["eti_upper"], texts, spread=float(row["sd"]))


def percentile_text(row: Row, texts: Texts) -> str:
    """`63 (12 to 97)`."""
    told = [texts.percentile(row[name]) for name in ("percentile", "percentile_lower", "percentile_upper")]
    return texts("person.interval", value=told[0], lower=told[1], upper=told[2])


def reason_text(row: Row, texts: Texts) -> str:
    """Why nothing is told of a movement: `cannot tell: too few valid trials`."""
    return texts("person.cannot_short", reason=texts(f"person.short_{row['reason']}"))


def dot_row(row: Row, texts: Texts) -> DotRow:
    """A movement's row of quantile dots, or why there is none."""
    label = texts.movement(str(row["blend_shape"]))
    if row["reason"]:
        return DotRow(label, reason=reason_text(row, texts))
    return DotRow(
        label, row["dots"], row["percentile_lower"], row["percentile_upper"], row["observed_percentile"]
    )


def decimal_commas(svg: str) -> str:
    """The numbers in an SVG's texts with decimal commas; coordinates stay."""
    return re.sub(r">[^<]+<", lambda found: re.sub(r"(\d?)\.(?=\d)", _comma, found[0]), svg)


def _comma(found: re.Match[str]) -> str:
    return f"{found[1] or '0'},"
