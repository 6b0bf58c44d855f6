"""GRID.toml: the choices of a multiverse, their values, and the cell that stands for the analysis as planned.

    name = "smile"                                   # of the results' folder
    outcomes = ["mouthSmile"]                        # blend shapes, or contrasts of [contrasts]
    effect = "valence"                               # a coefficient, or {"name" = "valence + neutral / 2"}
    estimate = "mean"                                # or beta_std, beta_sigma: what is compared between cells
    rope = 0.002                                     # half-width, coefficient units; left out: 0.1 residual sd

    [contrasts."smile - frown"]
    mouthSmile = 1
    mouthFrown = -1

    [recipe]                                         # keys of a recipe: a list of values is a choice
    baseline = [[-1, 0], [-0.5, 0]]
    scaling = "none"                                 # one value is fixed
    [recipe.exclusion]
    tracking_lost = [0.5, 0.8, "off"]

    [model]
    covariates = [[], ["age", "sex"]]
    baseline = ["change", "covariate"]
    priors_scale = [1, 2]                            # times the default scale of coefficients and group sds
    residual_sd = ["one", "by_medium"]

    [reference.recipe]                               # left out: the first value of every choice
    baseline = [-1, 0]

What the grid does not name is as the study's recipe says. A value that is a list itself (a window, a set of columns) is
one value; a list of such lists is a choice.
"""

import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from mien.data_prep.recipe import Exclusion, Recipe
from mien.data_prep.recipe_values import outcome_names
from mien.study.blend_shapes import BILATERAL_NAMES, members
from mien.study.errors import SpecError
from mien.study.tables import nearest
from mien.workflow.family_plans import FAMILIES, FamilyChoice

__all__ = ["ESTIMATES", "MOST_CELLS", "Cell", "Choice", "Grid", "read_grid", "weights_under"]

MOST_CELLS = 2_000
MOST_OUTCOMES = 10
ESTIMATES = ("mean", "beta_std", "beta_sigma")
TOP = (
    "name",
    "outcomes",
    "effect",
    "estimate",
    "rope",
    "draws",
    "seed",
    "contrasts",
    "recipe",
    "model",
    "reference",
)
LISTS_IN_RECIPE = ("window", "baseline")  # keys whose single value is a list
RESIDUAL_SDS = ("one", "by_medium")
OF_CHOICE = tuple(
    item.name for item in fields(FamilyChoice) if item.name not in ("session", "together", "baseline")
)
SWITCHES = ("session", "together")
MODEL_KEYS = ("family", *(item.name for item in fields(FamilyChoice)), "priors_scale", "residual_sd")
OFFERED = tuple(name for name in FAMILIES if name != "time")  # a course is not one number


class Choice(NamedTuple):
    """One choice: its key ("recipe.baseline"), its values as given, and how they are written."""

    key: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]


class Cell(NamedTuple):
    """One cell: which value of each choice, the recipe, and the model's keys."""

    places: tuple[int, ...]
    recipe: Recipe
    model: Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """A multiverse as plain data; `read_grid` makes it.

    Parameters
    ----------
    outcomes : name → weights of blend shapes; a shape alone has the weight 1.
    effect : (name, expression of coefficients).
    choices : in the order of the file; recipe first.
    fixed : key → the one value of keys that are no choice.
    reference : which value of each choice the reference cell has.
    """

    name: str
    outcomes: Mapping[str, Mapping[str, float]]
    effect: tuple[str, str]
    choices: tuple[Choice, ...]
    fixed: Mapping[str, Any]
    reference: tuple[int, ...]
    base: Recipe = field(default_factory=Recipe)
    estimate: str = "mean"
    rope: float | None = None
    draws: int = 1000
    seed: int = 0
    where: str = "grid"

    @property
    def size(self) -> int:
        """How many cells there are."""
        return math.prod(len(choice.values) for choice in self.choices)

    def cells(self) -> Iterator[Cell]:
        """Every cell, the last choice moving fastest."""
        known: dict[str, Recipe] = {}
        for places in itertools.product(*(range(len(choice.values)) for choice in self.choices)):
            given = dict(self.fixed)
            for choice, place in zip(self.choices, places, strict=True):
                given[choice.key] = choice.values[place]
            of_recipe = _nested(given, "recipe.")
            text = json.dumps(of_recipe, sort_keys=True)
            if text not in known:
                known[text] = _recipe(self.base, of_recipe, self.where)
            yield Cell(places, known[text], _nested(given, "model."))

    def canonical(self) -> dict[str, Any]:
        """The grid as plain data, for its hash."""
        return {
            "outcomes": {name: dict(weights) for name, weights in self.outcomes.items()},
            "effect": list(self.effect),
            "choices": [[choice.key, list(choice.values)] for choice in self.choices],
            "fixed": dict(self.fixed),
            "reference": list(self.reference),
            "base": self.base.canonical(),
            "estimate": self.estimate,
            "rope": self.rope,
            "draws": self.draws,
            "seed": self.seed,
        }


def read_grid(source: Path | str, base: Recipe | None = None) -> Grid:
    """The grid of a TOML file.

    Parameters
    ----------
    source : the file.
    base : the study's recipe, for what the grid does not name.

    Raises
    ------
    SpecError
        For a key that is not known, a value that a recipe refuses, or more than 2,000 cells.
    """
    where = str(source)
    try:
        given = tomllib.loads(Path(source).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise SpecError(f"{where}: expected a grid file, found none ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise SpecError(f"{where}: expected UTF-8 text, found other bytes: save the file as UTF-8.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError(f"{where}: expected TOML, found an error: {error}.") from None
    try:
        grid = _grid(given, base or Recipe(), where, Path(source).stem)
        _check_recipes(grid)
    except SpecError as error:
        text = str(error)
        raise SpecError(text if text.startswith(where) else f"{where}: {text}") from None
    return grid


def _grid(given: Mapping[str, Any], base: Recipe, where: str, stem: str) -> Grid:
    _known(given, TOP, "")
    choices, fixed = _choices(given)
    size = math.prod(len(choice.values) for choice in choices)
    if size > MOST_CELLS:
        raise SpecError(
            f"expected at most {MOST_CELLS:,} cells, found {size:,} "
            f"({' × '.join(f'{len(choice.values)} {choice.key}' for choice in choices)}): leave values out."
        )
    estimate = _one_of(given.get("estimate", "mean"), ESTIMATES, "estimate")
    varies = {choice.key for choice in choices}
    if "recipe.scaling" in varies and estimate == "mean":
        raise SpecError(
            "key 'estimate': expected 'beta_std' or 'beta_sigma', since cells with and without recipe.scaling are in "
            "different units, found 'mean'."
        )
    return Grid(
        name=_name(given.get("name", stem)),
        outcomes=_outcomes(given),
        effect=_effect(given.get("effect", "valence")),
        choices=tuple(choices),
        fixed=fixed,
        reference=_reference(_table(given.get("reference", {}), "reference"), choices),
        base=base,
        estimate=estimate,
        rope=_number(given["rope"], "rope", least=0.0) if "rope" in given else None,
        draws=_whole(given.get("draws", 1000), "draws", least=100),
        seed=_whole(given.get("seed", 0), "seed", least=0),
        where=where,
    )


def _name(given: object) -> str:
    if not isinstance(given, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", given):
        raise SpecError(f"key 'name': expected letters, digits, '-', '_' and '.', found {given!r}.")
    return given


def _outcomes(given: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    contrasts = _table(given.get("contrasts", {}), "contrasts")
    weights = {
        name: {
            str(shape): _number(weight, f"contrasts.{name}.{shape}")
            for shape, weight in _table(table, f"contrasts.{name}").items()
        }
        for name, table in contrasts.items()
    }
    names = given.get("outcomes", list(weights))
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise SpecError(f"key 'outcomes': expected a list of blend shapes or contrasts, found {names!r}.")
    if len(names) > MOST_OUTCOMES:
        raise SpecError(f"key 'outcomes': expected at most {MOST_OUTCOMES}, found {len(names)}.")
    return {name: weights.get(name, {name: 1.0}) for name in names}


def _effect(given: object) -> tuple[str, str]:
    if isinstance(given, str) and given.strip():
        return given, given
    if isinstance(given, Mapping) and len(given) == 1:
        [(name, expression)] = given.items()
        if isinstance(expression, str) and expression.strip():
            return str(name), expression
    raise SpecError(
        "key 'effect': expected a coefficient such as \"valence\", or one hypothesis by name, "
        f'{{"smile to films" = "valence + valence:medium / 2"}}, found {given!r}.'
    )


# The choices


def _choices(given: Mapping[str, Any]) -> tuple[list[Choice], dict[str, Any]]:
    flat = {**_recipe_keys(_table(given.get("recipe", {}), "recipe")), **_model_keys(given)}
    choices, fixed = [], {}
    for key, value in flat.items():
        if not _is_choice(key, value):
            fixed[key] = _checked(key, value)
            continue
        values = tuple(_checked(key, one) for one in value)
        if not values:
            raise SpecError(f"key '{key}': expected at least one value, found an empty list.")
        labels = tuple(_label(key, one) for one in values)
        if len(set(labels)) < len(labels):
            raise SpecError(f"key '{key}': expected every value once, found one twice: {', '.join(labels)}.")
        if len(values) == 1:
            fixed[key] = values[0]
        else:
            choices.append(Choice(key, values, labels))
    return choices, fixed


def _recipe_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    own = [item.name for item in fields(Recipe) if item.name != "contrasts"]
    if "contrasts" in table:
        raise SpecError(
            "key 'recipe.contrasts': expected contrasts at the top of the grid, [contrasts.NAME]."
        )
    _known(table, own, "recipe.")
    rules = _table(table.get("exclusion", {}), "recipe.exclusion")
    _known(rules, [item.name for item in fields(Exclusion)], "recipe.exclusion.")
    flat = {f"recipe.{key}": value for key, value in table.items() if key != "exclusion"}
    return {**flat, **{f"recipe.exclusion.{key}": value for key, value in rules.items()}}


def _model_keys(given: Mapping[str, Any]) -> dict[str, Any]:
    table = _table(given.get("model", {}), "model")
    _known(table, MODEL_KEYS, "model.")
    return {f"model.{key}": value for key, value in table.items()}


def _is_choice(key: str, value: object) -> bool:
    """Whether a value is a list of values; a window or a set of columns is a list that is one value."""
    if not isinstance(value, list):
        return False
    section, _, name = key.partition(".")
    if (section == "recipe" and name in LISTS_IN_RECIPE) or (section == "model" and name in OF_CHOICE):
        return bool(value) and all(isinstance(one, list | Mapping) for one in value)
    return True


def _checked(key: str, value: Any) -> Any:
    """The value, with what a model's keys take checked; a recipe checks its own."""
    section, _, name = key.partition(".")
    if section == "recipe":
        return value
    if name in OF_CHOICE:
        columns = [value] if isinstance(value, str) else value
        if not isinstance(columns, list) or not all(isinstance(one, str) for one in columns):
            raise SpecError(f"key '{key}': expected names of columns, found {value!r}.")
        return columns
    if name in SWITCHES:
        if not isinstance(value, bool):
            raise SpecError(f"key '{key}': expected true or false, found {value!r}.")
        return value
    if name == "priors_scale":
        factor = _number(value, key, least=0.0)
        if not factor:
            raise SpecError(f"key '{key}': expected a number above 0, found {value!r}.")
        return factor
    allowed = {"family": OFFERED, "residual_sd": RESIDUAL_SDS, "baseline": ("change", "covariate")}[name]
    return _one_of(value, allowed, key)


def _reference(table: Mapping[str, Any], choices: list[Choice]) -> tuple[int, ...]:
    _known(table, ("recipe", "model"), "reference.")
    given = _recipe_keys(_table(table.get("recipe", {}), "reference.recipe")) | _model_keys(table)
    known = [choice.key for choice in choices]
    for key in given:
        if key not in known:
            raise SpecError(
                f"key 'reference.{key}': expected one of the grid's choices ({', '.join(known) or 'there is none'}), "
                f"found another{nearest(key, known)}."
            )
    places = []
    for choice in choices:
        label = (
            _label(choice.key, _checked(choice.key, given[choice.key]))
            if choice.key in given
            else choice.labels[0]
        )
        if label not in choice.labels:
            raise SpecError(
                f"key 'reference.{choice.key}': expected one of its values ({', '.join(choice.labels)}), found {label}."
            )
        places.append(choice.labels.index(label))
    return tuple(places)


def _check_recipes(grid: Grid) -> None:
    """Every value is tried, alone and together, before anything is read."""
    for sides in dict.fromkeys(cell.recipe.sides for cell in grid.cells()):
        for name, weights in grid.outcomes.items():
            weights_under(sides, weights, f"outcome {name!r}")


def _recipe(base: Recipe, given: Mapping[str, Any], where: str) -> Recipe:
    canonical = base.canonical()
    rules = {
        key.removeprefix("exclusion."): value for key, value in given.items() if key.startswith("exclusion.")
    }
    plain = {key: value for key, value in given.items() if not key.startswith("exclusion.")}
    exclusion = {**canonical["exclusion"], **rules}
    return Recipe.from_mapping(
        {**canonical, **plain, "exclusion": exclusion, "contrasts": {}}, where=f"{where}, [recipe]"
    )


def weights_under(sides: str, weights: Mapping[str, float], where: str = "outcome") -> dict[str, float]:
    """Weights of the outcomes that recipes with these `sides` have.

    Where both sides are kept, a shape without a side is the mean of both.

    Raises
    ------
    SpecError
        For a shape that these sides do not have.
    """
    valid = outcome_names(sides)
    found: dict[str, float] = {}
    for shape, weight in weights.items():
        if sides == "both" and shape in BILATERAL_NAMES:
            for member in members(shape):
                found[member] = found.get(member, 0.0) + weight / len(members(shape))
        elif shape in valid:
            found[shape] = found.get(shape, 0.0) + weight
        else:
            raise SpecError(
                f"{where}: expected one of the {len(valid)} blend shapes that sides = '{sides}' has, or a name in "
                f"[contrasts], found {shape!r}{nearest(shape, valid)}."
            )
    return found


# Values


def _label(key: str, value: Any) -> str:
    """How a value is written in tables and figures."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_label(key, one)}" for name, one in value.items())
    if isinstance(value, list):
        if key.startswith("model."):
            return " + ".join(value) or "none"
        return " to ".join(_label(key, one) for one in value)
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _nested(given: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def _known(table: Mapping[str, Any], valid: Any, prefix: str) -> None:
    for key in table:
        if key not in valid:
            raise SpecError(
                f"key '{prefix}{key}': expected one of {', '.join(valid)}, found another{nearest(key, list(valid))}."
            )


def _table(given: object, key: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SpecError(f"key '{key}': expected a table, found {given!r}.")
    return {str(name): value for name, value in given.items()}


def _one_of(value: object, valid: tuple[str, ...], key: str) -> str:
    if not isinstance(value, str) or value not in valid:
        raise SpecError(
            f"key '{key}': expected one of {', '.join(valid)}, found {value!r}{nearest(str(value), valid)}."
        )
    return value


def _number(value: object, key: str, *, least: float = -math.inf) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value < least
    ):
        raise SpecError(
            f"key '{key}': expected a number{f' of at least {least:g}' if math.isfinite(least) else ''}, "
            f"found {value!r}."
        )
    return float(value)


def _whole(value: object, key: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(f"key '{key}': expected a whole number of at least {least}, found {value!r}.")
    return value
