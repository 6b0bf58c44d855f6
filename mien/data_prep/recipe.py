"""A Recipe: every decision between a recording and a table of trials, as plain data.

A recipe is frozen, is written and read as TOML, and has one sha256 of its canonical form, in which the order
of keys, `0` or `0.0`, and a default spelt out or left out make no difference. Two tables of trials with the
same sha256 were prepared alike. Windows are in seconds from stimulus onset. Nothing in a recipe is evaluated.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from mien.data_prep import recipe_values as values
from mien.data_prep.recipe_values import Window
from mien.study.errors import SpecError
from mien.study.tables import nearest

__all__ = ["Exclusion", "Recipe", "Window"]

# Raised when a rule changes what it computes, so that the sha256 of equal recipes changes with it.
RULES_VERSION = 1

BASELINE_CORRECTIONS = ("subtract", "none", "neutral")
SIDES = ("mean", "both", "asymmetry")
SCALINGS = ("none", "within_person")
CLOCKS = ("aligned", "assume_aligned")
NEUTRAL_SOURCES = ("baselines", "neutral_trials")


@dataclass(frozen=True)
class Exclusion:
    """The rules that mark rows; None ("off" in TOML) or False switches one off.

    Parameters
    ----------
    tracking_lost : smallest share of tracked frames in a trial, 0-1.
    too_few_frames : smallest share of tracked frames in a bin, and in the baseline window, 0-1.
    moving_baseline : largest standard deviation within the baseline window, coefficient units.
    outlier_mad : largest distance of a trial mean from the person's median, in robust standard deviations.
    previous_stimulus : mark trials whose baseline window reaches into an earlier stimulus.
    next_stimulus : mark bins that reach into a later stimulus.
    """

    tracking_lost: float | None = 0.5
    too_few_frames: float | None = 0.5
    moving_baseline: float | None = 0.1
    outlier_mad: float | None = None
    previous_stimulus: bool = True
    next_stimulus: bool = True

    def __post_init__(self) -> None:
        for name in ("tracking_lost", "too_few_frames"):
            _set(self, name, values.limit(getattr(self, name), f"exclusion.{name}", at_most=1.0))
        for name in ("moving_baseline", "outlier_mad"):
            _set(self, name, values.limit(getattr(self, name), f"exclusion.{name}"))
        for name in ("previous_stimulus", "next_stimulus"):
            values.switch(getattr(self, name), f"exclusion.{name}")


@dataclass(frozen=True)
class Recipe:
    """How recordings become trials.

    Parameters
    ----------
    window : what part of the stimulus counts, (start, end) s from onset; "end" is the stimulus' own end.
        One for all, or a mapping by "picture", "film" and "task-LABEL" (a task goes before a medium; what is
        not named keeps the default).
    baseline : the window before the stimulus, s from onset; one for all, or a mapping likewise.
    bin : width of a bin, s; one for all, or a mapping likewise.
    baseline_correction : "subtract" the trial's own baseline mean; "none"; or "neutral": subtract the
        person's neutral mean in this recording, but not from the eyelids.
    neutral : where the neutral mean comes from: the frames of all "baselines", or of the "neutral_trials".
    sides : "mean" of left and right (34 shapes), "both" (52), or "asymmetry" = left - right (18).
    contrasts : further outcomes as weights of shapes: {"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}.
    exclusion : the rules that mark rows.
    scaling : "within_person" divides by the person's own standard deviation of trial means.
    clock : "assume_aligned" accepts events that nobody aligned; every report then says so.

    Raises
    ------
    SpecError
        Naming the key, what was expected and what came.
    """

    window: Window | Mapping[str, Window] = (0.0, "end")
    baseline: Window | Mapping[str, Window] = (-1.0, 0.0)
    bin: float | Mapping[str, float] = 0.5
    baseline_correction: Literal["subtract", "none", "neutral"] = "subtract"
    neutral: Literal["baselines", "neutral_trials"] = "baselines"
    sides: Literal["mean", "both", "asymmetry"] = "mean"
    contrasts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exclusion: Exclusion = field(default_factory=Exclusion)
    scaling: Literal["none", "within_person"] = "none"
    clock: Literal["aligned", "assume_aligned"] = "aligned"

    def __post_init__(self) -> None:
        _set(self, "window", values.by_medium(self.window, (0.0, "end"), values.window, "window"))
        _set(self, "baseline", values.by_medium(self.baseline, (-1.0, 0.0), values.baseline, "baseline"))
        _set(self, "bin", values.by_medium(self.bin, 0.5, values.bin_width, "bin"))
        values.choice(self.baseline_correction, BASELINE_CORRECTIONS, "baseline_correction")
        values.choice(self.neutral, NEUTRAL_SOURCES, "neutral")
        values.choice(self.sides, SIDES, "sides")
        values.choice(self.scaling, SCALINGS, "scaling")
        values.choice(self.clock, CLOCKS, "clock")
        _set(self, "contrasts", values.contrasts(self.contrasts, self.sides))
        if not isinstance(self.exclusion, Exclusion):
            _set(self, "exclusion", _exclusion(self.exclusion))

    def __hash__(self) -> int:
        return hash(self.sha256)

    def window_of(self, medium: str, task: str) -> Window:
        """The response window (s from onset) of a stimulus of `medium` shown in `task`."""
        return _lookup(self.window, medium, task)

    def baseline_of(self, medium: str, task: str) -> tuple[float, float]:
        """The baseline window (s from onset)."""
        return _lookup(self.baseline, medium, task)

    def bin_of(self, medium: str, task: str) -> float:
        """The width of a bin (s)."""
        return _lookup(self.bin, medium, task)

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that the recipe names, so that a study without them can say so."""
        maps: tuple[Any, ...] = (self.window, self.baseline, self.bin)
        return frozenset(key.removeprefix("task-") for one in maps for key in one if key.startswith("task-"))

    def check_tasks(self, tasks: list[str], *, where: str = "recipe") -> Self:
        """Return the recipe unchanged, or refuse it when it names a task that the study does not have."""
        for task in sorted(self.tasks - set(tasks)):
            raise SpecError(
                f"{where}: expected tasks of this study ({', '.join(sorted(tasks))}), found key "
                f"'task-{task}'{nearest(task, tasks)}: correct or remove it."
            )
        return self

    def canonical(self) -> dict[str, Any]:
        """The recipe as plain data: every key, numbers as floats, "off" for a rule that is off."""
        data = asdict(self)
        data["exclusion"] = {
            key: "off" if value is None else value for key, value in data["exclusion"].items()
        }
        return _plain(data)

    @property
    def sha256(self) -> str:
        """The hash of the canonical form (64 hex digits)."""
        text = json.dumps({"rules": RULES_VERSION, **self.canonical()}, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_toml(self) -> str:
        """The recipe as TOML, every key written out."""
        import tomli_w

        return tomli_w.dumps(self.canonical())

    @classmethod
    def from_toml(cls, source: Path | str) -> Self:
        """A recipe from a TOML file, or from TOML text (a string with a line break, "=" or "[" is text)."""
        is_text = isinstance(source, str) and (not source.strip() or any(sign in source for sign in "\n=["))
        where = "recipe" if is_text else str(source)
        try:
            text = str(source) if is_text else Path(source).read_bytes().decode("utf-8-sig")
            return cls.from_mapping(tomllib.loads(text), where=where)
        except OSError as error:
            raise SpecError(f"{where}: expected a recipe file, found none ({error.strerror}).") from None
        except UnicodeDecodeError:
            raise SpecError(
                f"{where}: expected UTF-8 text, found other bytes: save the file as UTF-8."
            ) from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise SpecError(f"{where}: expected TOML, found an error: {error}.") from None

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], *, where: str = "recipe") -> Self:
        """A recipe from parsed TOML, such as the [recipe] table of mien.toml; `where` names it in errors."""
        try:
            values.known_keys(given, [one.name for one in fields(cls)], "")
            return cls(**given)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from None


def _exclusion(given: object) -> Exclusion:
    table = values.table(given, "exclusion")
    values.known_keys(table, [one.name for one in fields(Exclusion)], "exclusion.")
    return Exclusion(**table)


def _lookup(mapping: Any, medium: str, task: str) -> Any:
    return mapping.get(f"task-{task}", mapping[medium])


def _set(frozen: object, name: str, value: object) -> None:
    object.__setattr__(frozen, name, value)


def _plain(value: Any) -> Any:
    """Tuples as lists, numbers as floats (and never -0.0), the rest as it is."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, bool | str):
        return value
    return float(value) + 0.0
