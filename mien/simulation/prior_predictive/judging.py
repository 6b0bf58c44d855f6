"""From draws of a quantity to a row of the table: 95 % of the draws, the limit in words, the verdict."""

from typing import NamedTuple

import numpy as np

from mien.simulation.prior_predictive.result import CI_PROB, EXPECTED, Row

__all__ = ["Judge", "Summary", "number", "summary_of"]

HELD = "none: held fixed"
LARGEST = 1e30  # what is told of a number without end


class Summary(NamedTuple):
    """Over prior draws."""

    median: float
    lower: float
    upper: float

    @property
    def reach(self) -> float:
        """The farther end of the interval from 0."""
        return max(abs(self.lower), abs(self.upper))


def summary_of(draws: np.ndarray) -> Summary:
    """Median and 95 % equal-tailed interval; draws without end count as very large."""
    finite = np.nan_to_num(np.asarray(draws, dtype=np.float64), nan=LARGEST, posinf=LARGEST, neginf=-LARGEST)
    lower, median, upper = np.quantile(finite, [(1 - CI_PROB) / 2, 0.5, (1 + CI_PROB) / 2])
    return Summary(float(median), float(lower), float(upper))


def number(value: float) -> str:
    """Three digits, without an exponent where a person would not write one."""
    text = f"{value:.3g}" if 1e-4 <= abs(value) < 1e3 or value == 0 else f"{value:.1e}"
    return text.replace("-", "−", 1) if value < 0 else text


class Judge(NamedTuple):
    """Makes rows of one shape and check."""

    check: str
    blend_shape: str

    def row(
        self, quantity: str, told: Summary, units: str, limit: str = "", verdict: str = EXPECTED,
        observed: float = float("nan"),
    ) -> Row:  # fmt: skip
        """A row whose verdict is known."""
        return Row(
            self.check, self.blend_shape, quantity, told.median, told.lower, told.upper, observed, limit, verdict,
            units,
        )  # fmt: skip

    def share(
        self, quantity: str, draws: np.ndarray, most: float, verdict: str, *, observed: float = float("nan")
    ) -> Row:
        """A share whose median may be `most`."""
        told = summary_of(draws)
        found = verdict if told.median > most else EXPECTED
        return self.row(quantity, told, "share", f"median at most {number(most)}", found, observed)

    def size(
        self,
        quantity: str,
        draws: np.ndarray,
        units: str,
        narrow: float,
        wide: float,
        observed: float = float("nan"),
    ) -> Row:
        """A size above 0: its median may be `wide`, and the upper end of its interval must reach `narrow`."""
        told = summary_of(draws)
        if told.lower == told.upper:
            return self.row(quantity, told, units, HELD, observed=observed)
        limit = _ends("upper end", narrow, "median", wide)
        return self.row(
            quantity, told, units, limit, _between(told.upper, narrow, told.median, wide), observed
        )

    def effect(self, quantity: str, draws: np.ndarray, units: str, narrow: float, wide: float) -> Row:
        """Something of either sign: its interval must reach as far as `narrow` and may reach `wide`."""
        told = summary_of(draws)
        if told.lower == told.upper:
            return self.row(quantity, told, units, HELD)
        limit = _ends("reaches", narrow, "reaches", wide)
        return self.row(quantity, told, units, limit, _between(told.reach, narrow, told.reach, wide))

    def whole(self, quantity: str, draws: np.ndarray, units: str, narrow: float, wide: float) -> Row:
        """Something from 0 to 1 that should not be known beforehand: not all below `narrow` nor all above `wide`."""
        told = summary_of(draws)
        limit = f"not all below {number(narrow)} nor all above {number(wide)}"
        return self.row(quantity, told, units, limit, _between(told.upper, narrow, told.lower, wide))


def _between(reached: float, narrow: float, size: float, wide: float) -> str:
    if reached < narrow:
        return "narrow"
    return "wide" if size > wide else EXPECTED


def _ends(reached: str, narrow: float, size: str, wide: float) -> str:
    least = f"{reached} at least {number(narrow)}" if narrow > 0 else ""
    most = f"{size} at most {number(wide)}" if np.isfinite(wide) else ""
    return ", ".join(part for part in (least, most) if part)
