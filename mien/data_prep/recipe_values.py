"""One checker for each kind of value that a recipe holds.

Each takes what came and the key it came under, and returns the value in its one canonical type, or raises a
SpecError that says what was expected under this key, what was found, and which valid word is nearest.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, members
from mien.study.errors import SpecError
from mien.study.tables import nearest
from mien.study.trials import MEDIA

__all__ = [
    "ASYMMETRIC_NAMES", "Window", "baseline", "bin_width", "by_medium", "choice", "contrasts",
    "known_keys", "limit", "outcome_names", "switch", "table", "window",
]  # fmt: skip

type Window = tuple[float, float | Literal["end"]]

ASYMMETRIC_NAMES = tuple(name for name in BILATERAL_NAMES if len(members(name)) == 2)
LONGEST_WINDOW = 86_400.0  # s: a day, beyond which a number is a slip (milliseconds, say)
SHORTEST_BIN = 0.01  # s: below any camera's frame


def outcome_names(sides: str) -> tuple[str, ...]:
    """The blend shapes that a table of trials can hold with this treatment of left and right."""
    return {"mean": BILATERAL_NAMES, "both": NAMES, "asymmetry": ASYMMETRIC_NAMES}[sides]


def known_keys(given: Mapping[str, Any], valid: Iterable[str], prefix: str) -> None:
    """Refuse keys that mean nothing here."""
    valid = list(valid)
    for key in given:
        if key not in valid:
            raise _wrong(f"{prefix}{key}", f"a known key ({', '.join(valid)})", key, nearest(str(key), valid))


def table(given: object, key: str) -> dict[str, Any]:
    """A TOML table."""
    if not isinstance(given, Mapping):
        raise _wrong(key, "a table of keys", given)
    return {str(name): value for name, value in given.items()}


def choice(given: object, valid: tuple[str, ...], key: str) -> None:
    """One of a few words."""
    if given not in valid or not isinstance(given, str):
        raise _wrong(key, " or ".join(f"'{one}'" for one in valid), given, nearest(str(given), valid))


def switch(given: object, key: str) -> None:
    """True or false."""
    if not isinstance(given, bool):
        raise _wrong(key, "true or false", given)


def limit(given: object, key: str, *, at_most: float = math.inf) -> float | None:
    """A positive number, or None for "off"."""
    if given is None or given is False or given == "off":
        return None
    expected = f"a number above 0{f' and at most {at_most:g}' if math.isfinite(at_most) else ''}, or 'off'"
    number = _number(given, key, expected)
    if not 0 < number <= at_most:
        raise _wrong(key, expected, given)
    return number


def window(given: object, key: str) -> Window:
    """A response window: it begins at or after onset and ends later, or at the stimulus' "end"."""
    expected = "[start, end] in seconds from onset with 0 <= start < end, or [start, 'end']"
    start, end = _pair(given, key, expected)
    start = _number(start, key, expected)
    if end == "end":
        last: float | Literal["end"] = "end"
    else:
        last = _number(end, key, expected)
    if not 0 <= start < (LONGEST_WINDOW if last == "end" else min(last, LONGEST_WINDOW + 1)):
        raise _wrong(key, expected, given)
    if last != "end" and last > LONGEST_WINDOW:
        raise _wrong(key, expected + f", at most {LONGEST_WINDOW:g} s", given)
    return start, last


def baseline(given: object, key: str) -> Window:
    """A window before the stimulus."""
    expected = "[start, end] in seconds from onset with start < end <= 0"
    start, end = (_number(one, key, expected) for one in _pair(given, key, expected))
    if not -LONGEST_WINDOW <= start < end <= 0:
        raise _wrong(key, expected, given)
    return start, end


def bin_width(given: object, key: str) -> float:
    """The width of a bin."""
    expected = f"seconds between {SHORTEST_BIN:g} and {LONGEST_WINDOW:g}"
    number = _number(given, key, expected)
    if not SHORTEST_BIN <= number <= LONGEST_WINDOW:
        raise _wrong(key, expected, given)
    return number


def by_medium[T](given: object, default: T, read: Callable[[object, str], T], key: str) -> dict[str, T]:
    """One value for all, or a table by medium and task, as a table that has both media.

    A value of `task-x` that says what its medium says anyway is kept: it may differ by medium.
    """
    if not isinstance(given, Mapping):
        value = read(given, key)
        return dict.fromkeys(MEDIA, value)
    values: dict[str, T] = dict.fromkeys(MEDIA, default)
    for name, value in given.items():
        if name not in MEDIA and not re.fullmatch(r"task-[A-Za-z0-9]+", str(name)):
            expected = "'picture', 'film' or 'task-LABEL' (letters and digits)"
            raise _wrong(f"{key}.{name}", expected, name, nearest(str(name), MEDIA))
        values[name] = read(value, f"{key}.{name}")
    return values


def contrasts(given: object, sides: str) -> dict[str, dict[str, float]]:
    """Named weights of blend shapes that this treatment of left and right has."""
    valid = outcome_names(sides)
    result: dict[str, dict[str, float]] = {}
    for name, weights in table(given, "contrasts").items():
        key = f"contrasts.{name}"
        if not name.strip() or name in {*NAMES, *BILATERAL_NAMES} or "/" in name:
            raise _wrong(key, "a name of its own without '/', not that of a blend shape", name)
        result[name] = {}
        for shape, weight in table(weights, key).items():
            if shape not in valid:
                expected = f"one of the {len(valid)} blend shapes that sides = '{sides}' has"
                raise _wrong(f"{key}.{shape}", expected, shape, nearest(shape, valid))
            result[name][shape] = _number(weight, f"{key}.{shape}", "a weight, a number other than 0")
            if result[name][shape] == 0:
                raise _wrong(f"{key}.{shape}", "a weight, a number other than 0", weight)
        if not result[name]:
            raise _wrong(key, "at least one blend shape with its weight", weights)
    return result


def _pair(given: object, key: str, expected: str) -> tuple[object, object]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise _wrong(key, expected, given)
    return given[0], given[1]


def _number(given: object, key: str, expected: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise _wrong(key, expected, given)
    return float(given) + 0.0  # + 0.0 turns -0.0 into 0.0


def _wrong(key: str, expected: str, found: object, hint: str = "") -> SpecError:
    shown = repr(found)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return SpecError(f"key '{key}': expected {expected}, found {shown}{hint}.")
