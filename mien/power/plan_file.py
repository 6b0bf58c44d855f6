"""PLAN.toml → Plan: unknown keys are refused, files that it names are looked for beside it."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.models.spec import ModelSpec
from mien.power.plan import AXES, Analysis, Budget, Design, Draw, Goal, Plan, Shapes, Truth, Value
from mien.priors import FrozenPriors, Override, prior_from_text, read_override
from mien.study.errors import SpecError
from mien.study.tables import nearest

if TYPE_CHECKING:
    from mien.power.pipeline import Pipeline
    from mien.power.recovery import Recovery

__all__ = ["plan_of", "read_plan"]

TOP = (
    "name", "seed", "design", "truth", "analysis", "goals", "budget", "shapes", "cost", "pipeline",
    "recovery",
)  # fmt: skip
OF_ANALYSIS = ("formula", "family", "priors", "parameters", "frozen", "engine")
OF_TRUTH = ("coefficients", "sds", "correlations", "sigma", "parameters", "formula", "pilot", "pilot_sha256")
LISTS = ("valences", "groups", "covariates")


def read_plan(path: str | Path) -> Plan:
    """The plan in a file.

    Raises
    ------
    SpecError
        With the file, the key, what was expected and found.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(
            f"{path}: expected a plan, found no such file: mien power init {path} writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: expected a plan that can be read, found {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: expected TOML, found {error}: correct the line.") from error
    try:
        return plan_of(data, path.parent)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def plan_of(data: Mapping[str, Any], folder: Path = Path()) -> Plan:
    """The plan as the file's plain data.

    Parameters
    ----------
    folder : where files that it names lie.
    """
    _known("plan", data, TOP)
    factors, raw = "recovery" in data, "pipeline" in data
    made = ("truth", "analysis") if factors else ("truth",) if raw else ()
    for name in (name for name in ("design", "truth", "analysis", "goals") if name not in made):
        if name not in data:
            raise SpecError(
                f"plan: expected [{name}], found {', '.join(data) or 'nothing'}: mien power init shows it."
            )
    pipeline = recovery = None
    if factors:
        truth, analysis, recovery = _factors(data)
    else:
        truth, pipeline = (
            _raw(data, folder) if raw else (_truth(_table("truth", data["truth"]), folder), None)
        )
        analysis = _analysis(_table("analysis", data["analysis"]), folder)
    return Plan(
        _text("name", data.get("name", "plan")), _design(_table("design", data["design"])), truth, analysis,
        _goals(data["goals"]), Budget(**_fields("budget", data.get("budget", {}), Budget)),
        Shapes(**_fields("shapes", data.get("shapes", {}), Shapes)), dict(_table("cost", data.get("cost", {}))),
        data.get("seed", 1), pipeline, recovery,
    )  # fmt: skip


def _known(where: str, data: Mapping[str, Any], known: Iterable[str]) -> None:
    known = tuple(known)
    for key in data:
        if key not in known:
            raise SpecError(
                f"{where}: expected keys among {', '.join(known)}, found {key!r}{nearest(key, known)}."
            )


def _table(where: str, data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SpecError(f"{where}: expected a table, found {data!r}.")
    return data


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"{where}: expected text, found {value!r}.")
    return value


def _fields(where: str, data: object, kind: type) -> dict[str, Any]:
    found = dict(_table(where, data))
    _known(where, found, [item.name for item in fields(kind)])
    return found


def _design(data: Mapping[str, Any]) -> Design:
    found = _fields("design", data, Design)
    if "participants" not in found:
        raise SpecError("design: expected participants, a number or several, found none.")
    for name in AXES:
        if name in found:
            found[name] = tuple(found[name]) if isinstance(found[name], list) else (found[name],)
    for name in LISTS:
        if name in found:
            found[name] = _texts(f"design.{name}", found[name])
    return Design(**found)


def _texts(where: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise SpecError(f"{where}: expected a list of names, found {values!r}.")
    return tuple(_text(where, value) for value in values)


def _truth(data: Mapping[str, Any], folder: Path) -> Truth:
    _known("truth", data, OF_TRUTH)
    found = dict(data)
    checked = found.pop("pilot_sha256", "")
    if "pilot" in found:
        from mien.power.pilots import read_pilot

        more = [name for name in found if name not in ("pilot", "coefficients")]
        if more:
            raise SpecError(
                "truth: expected nothing but coefficients beside a pilot, whose draws are the truth, found "
                f"{more[0]!r}."
            )
        return Truth(
            _coefficients(found), pilot=read_pilot(folder / _text("truth.pilot", found["pilot"]), checked)
        )
    coefficients = _coefficients(found)
    for name in ("sds", "correlations", "parameters"):
        found[name] = dict(_table(f"truth.{name}", found.get(name, {})))
    return Truth(coefficients, **found)


def _coefficients(truth: dict[str, Any]) -> dict[str, tuple[Value, ...]]:
    """Taken out of [truth]."""
    given = _table("truth.coefficients", truth.pop("coefficients", {}))
    return {name: _values(f"truth.coefficients.{name}", value) for name, value in given.items()}


def _factors(data: Mapping[str, Any]) -> "tuple[Truth, Analysis, Recovery]":
    """What [recovery] says of truth and analysis."""
    from mien.power.recovery import Recovery

    for name in ("truth", "analysis", "pipeline"):
        if name in data:
            raise SpecError(f"recovery: expected no [{name}] beside it, found one: leave it out.")
    recovery = Recovery(**_fields("recovery", data["recovery"], Recovery))
    return Truth({}), recovery.analysis, recovery


def _raw(data: Mapping[str, Any], folder: Path) -> "tuple[Truth, Pipeline]":
    """The truth and the rest of [pipeline]; its recipe is a file's name or a table."""
    from mien.data_prep.recipe import Recipe
    from mien.power.pipeline import GAIN, Pipeline

    if "truth" in data:
        raise SpecError("pipeline: expected pipeline.gain and no other truth, found [truth]: leave it out.")
    found = dict(_table("pipeline", data["pipeline"]))
    _known("pipeline", found, (GAIN, *(item.name for item in fields(Pipeline))))
    truth = Truth({GAIN: _values(f"pipeline.{GAIN}", found.pop(GAIN, 1.0))})
    recipe = found.pop("recipe", {})
    given = Recipe.from_toml(folder / recipe) if isinstance(recipe, str) else Recipe.from_mapping(
        _table("pipeline.recipe", recipe), where="pipeline.recipe"
    )  # fmt: skip
    return truth, Pipeline(_text("pipeline.shape", found.pop("shape", None)), given, **found)


def _values(where: str, value: object) -> tuple[Value, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise SpecError(f"{where}: expected a value or several, found none.")
    return tuple(_value(where, one) for one in values)


def _value(where: str, value: object) -> Value:
    if isinstance(value, Mapping):
        if set(value) != {"mean", "sd"}:
            raise SpecError(f"{where}: expected {{mean = …, sd = …}}, found {dict(value)}.")
        return Draw(*(_number(f"{where}.{name}", value[name]) for name in ("mean", "sd")))
    return _number(where, value)


def _number(where: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise SpecError(
            f"{where}: expected a number, or {{mean = …, sd = …}} for one that is drawn, found {value!r}."
        )
    return float(value)


def _analysis(data: Mapping[str, Any], folder: Path) -> Analysis:
    _known("analysis", data, OF_ANALYSIS)
    if "formula" not in data:
        raise SpecError("analysis: expected a formula, found none.")
    priors = {
        name: _prior(name, value) for name, value in _table("analysis.priors", data.get("priors", {})).items()
    }
    spec = ModelSpec(
        _text("analysis.formula", data["formula"]), family=_text("analysis.family", data.get("family", "gaussian")),
        priors=priors, parameters=dict(_table("analysis.parameters", data.get("parameters", {}))),
    )  # fmt: skip
    frozen = None
    if "frozen" in data:
        if priors:
            raise SpecError(
                "analysis: expected priors or a file of frozen ones, found both: leave one of them out."
            )
        frozen = _frozen(folder / _text("analysis.frozen", data["frozen"]))
    return Analysis(spec, frozen, _text("analysis.engine", data.get("engine", "auto")))


def _prior(name: str, value: object) -> Override:
    text = _text(f"analysis.priors.{name}", value)
    return read_override(name, text) if "(" not in text else prior_from_text(text)


def _frozen(path: Path) -> FrozenPriors:
    try:
        return FrozenPriors.from_json(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise SpecError(f"analysis.frozen: expected a file of frozen priors, found no {path}.") from None


def _goals(data: object) -> tuple[Goal, ...]:
    if not isinstance(data, list):
        raise SpecError(f"goals: expected [[goals]], one for each goal, found {data!r}.")
    return tuple(_goal(f"goals {number + 1}", _table("goals", one)) for number, one in enumerate(data))


def _goal(where: str, data: Mapping[str, Any]) -> Goal:
    found = _fields(where, data, Goal)
    for name in ("kind", "effect"):
        if name not in found:
            raise SpecError(f"{where}: expected {name}, found {', '.join(found) or 'nothing'}.")
        found[name] = _text(f"{where}.{name}", found[name])
    if "rope" in found:
        if not isinstance(found["rope"], list) or len(found["rope"]) != 2:
            raise SpecError(f"{where}.rope: expected two numbers, found {found['rope']!r}.")
        found["rope"] = tuple(_number(f"{where}.rope", value) for value in found["rope"])
    found["name"] = _text(f"{where}.name", found.get("name", f"{found['kind']} of {found['effect']}"))
    for name in ("probability", "interval", "width", "threshold"):
        if name in found:
            found[name] = _number(f"{where}.{name}", found[name])
    return Goal(**found)
