"""A pilot's posterior as the assumed truth: every replicate takes one of its draws, so that power is assurance.

    pilot_table(fit)        one row a draw: "valence", "sd:1|participant", "corr:participant:1,valence", "sigma", "phi"
    world_of_draw(table, 7) that draw as a world
    plan_from_fit(fit, …)   a PLAN.toml with the fit's formula, family, frozen priors and design

What the pilot left uncertain stays together as it was: a draw with a large effect has the standard deviations that go
with it. The draws know nothing of what made the pilot worth following up: a pilot that was chosen because its effect
was large gives too large a power.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.models.likelihoods import LIKELIHOODS
from mien.models.spec import ModelSpec
from mien.power.template import BUDGET
from mien.study.errors import FitError, SpecError
from mien.study.files import sha256_of, write_whole
from mien.study.formula import parse_formula
from mien.study.tables import nearest

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from mien.models.design import Design
    from mien.power.plan import Plan
    from mien.priors import FrozenPriors

__all__ = [
    "DRAWS", "PilotDesign", "check_pilot", "effect_of_pilot", "pilot_design", "pilot_table",
    "plan_from_fit", "read_pilot", "world_of_draw", "write_plan_from_fit",
]  # fmt: skip

ASKER = "power from a fit"
DRAWS = 500  # more than enough: assurance is averaged over them, each is met twice in a thousand replicates
LARGER = (1.0, 1.5, 2.0, 3.0)  # numbers of participants to look at, in those of the pilot: a convention
DESIGN_COLUMNS = ("participant", "stimulus", "valence", "medium", "session", "group")
FURTHER = frozenset(name for family in LIKELIHOODS.values() for name in family.parameters) - {"sigma"}

type World = tuple[
    dict[str, float], dict[str, float], dict[str, dict[tuple[str, str], float]], float, dict[str, float]
]


# A posterior as a table, and back


def pilot_table(fit: "xr.DataTree", shape: str | None = None, draws: int = DRAWS) -> "pd.DataFrame":
    """Draws of a fit's posterior, spread evenly over its chains.

    Parameters
    ----------
    shape : of a fit with several blend shapes; None takes the only one. draws : at most.

    Returns
    -------
    DataFrame with a row for each draw, float64: coefficients by name, "sd:term|factor", "corr:factor:term,term",
    "sigma" where the family has one, and the family's further parameters as themselves.

    Raises
    ------
    FitError
        For fits whose checks failed, and those of models that plans do not have.
    """
    import pandas as pd

    from mien.models.pilot_priors import passed_outcome
    from mien.models.refit import of_shape

    label = passed_outcome(fit, shape, ASKER)
    _check_model(_spec_of(fit))
    if not isinstance(draws, int) or draws < 1:
        raise FitError(f"{ASKER}: expected one draw or more, found {draws!r}.")
    posterior = of_shape(fit["posterior"].dataset, label)
    count = posterior.sizes["chain"] * posterior.sizes["draw"]
    kept = min(draws, count)
    at = np.floor((np.arange(kept) + 0.5) * count / kept).astype(np.int64)
    columns: dict[str, np.ndarray] = {}
    for variable, values in posterior.data_vars.items():
        name, flat = str(variable), values.to_numpy().reshape(count, *values.shape[2:])[at].astype(np.float64)
        if name.endswith("_corr"):
            columns |= _correlations(
                name.removesuffix("_corr"),
                [str(term) for term in values.coords[values.dims[-1]].to_numpy()],
                flat,
            )
        elif name.endswith("_sigma"):
            columns[f"sd:{name.removesuffix('_sigma')}"] = flat
        elif flat.ndim == 1:  # not the effects of levels
            columns[name] = flat
    return pd.DataFrame(columns)


def _correlations(factor: str, terms: list[str], matrices: np.ndarray) -> dict[str, np.ndarray]:
    return {
        f"corr:{factor}:{one},{other}": matrices[:, i, j]
        for i, one in enumerate(terms)
        for j, other in enumerate(terms)
        if i < j
    }


def world_of_draw(table: "pd.DataFrame", row: int) -> World:
    """One draw of a `pilot_table`: coefficients, sds, correlations of pairs of terms by factor, sigma, further ones."""
    values = dict(zip(map(str, table.columns), table.iloc[row].tolist(), strict=True))
    sds = {name.removeprefix("sd:"): value for name, value in values.items() if name.startswith("sd:")}
    terms: dict[str, list[str]] = {}
    for key in sds:
        term, _, factor = key.rpartition("|")
        terms.setdefault(factor, []).append(term)
    correlations = {
        factor: {
            (one, other): values[name]
            for place, other in enumerate(mine)
            for one in mine[:place]
            if (name := f"corr:{factor}:{one},{other}") in values
        }
        for factor, mine in terms.items()
    }
    rest = {name: value for name, value in values.items() if not name.startswith(("sd:", "corr:"))}
    sigma = rest.pop("sigma", math.nan)
    parameters = {name: rest.pop(name) for name in FURTHER if name in rest}
    return rest, sds, correlations, sigma, parameters


def effect_of_pilot(table: "pd.DataFrame", weights: Mapping[str, float]) -> np.ndarray:
    """(draw,) of a sum of coefficients."""
    return sum((weight * table[name].to_numpy() for name, weight in weights.items()), np.zeros(len(table)))


def check_pilot(plan: "Plan", design: "Design") -> None:
    """Refuse draws that lack a parameter of the plan's formula, or have others.

    Parameters
    ----------
    design : of the truth's formula, on a few rows.

    Raises
    ------
    SpecError
    """
    table = plan.truth.pilot
    assert table is not None
    wanted = [
        *design.coefficients,
        *(f"sd:{term}|{block.factor}" for block in design.blocks for term in block.terms),
    ]
    if plan.analysis.spec.family in ("gaussian", "student_t"):
        wanted.append("sigma")
    missing = [name for name in wanted if name not in table.columns]
    more = [str(name) for name in table.columns if str(name).startswith("sd:") and str(name) not in wanted]
    if missing or more:
        told = [f"no {name}" for name in missing] + [f"{name}, which it has not" for name in more]
        raise SpecError(
            f"truth.pilot: expected draws of the formula's parameters ({', '.join(wanted)}), found {', '.join(told)}: "
            "take the fit's formula, valences and groups."
        )


def read_pilot(path: Path, sha256: str = "") -> "pd.DataFrame":
    """The draws that `write_plan_from_fit` wrote.

    Parameters
    ----------
    sha256 : of the file, as the plan has it; "" is not checked.

    Raises
    ------
    SpecError
        For a file that is not there, was changed, or holds no draws.
    """
    import pandas as pd
    import pyarrow as pa

    if not path.is_file():
        raise SpecError(
            f"truth.pilot: expected a file of draws, found no {path}: write the plan from the fit again."
        )
    if sha256 and sha256_of(path) != sha256:
        raise SpecError(
            f"truth.pilot: expected {path} as the plan was written (sha256 {sha256[:12]}…), found another: write the "
            "plan from the fit again."
        )
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SpecError(f"truth.pilot: expected draws in Parquet, found {path} with {error}.") from None
    numbers = table.select_dtypes("number").shape[1] == table.shape[1]
    if table.empty or not numbers or not np.isfinite(table.to_numpy(dtype=np.float64)).all():
        raise SpecError(f"truth.pilot: expected rows of finite numbers, found others in {path}.")
    spread = table[[name for name in table.columns if str(name).startswith("sd:") or name == "sigma"]]
    if (spread.to_numpy() < 0.0).any():
        raise SpecError(f"truth.pilot: expected standard deviations from 0, found some below in {path}.")
    return table.astype(np.float64)


# A plan from a fit


class PilotDesign(NamedTuple):
    """What a pilot was: numbers, as a plan has them; missing is the share of trials without a value."""

    participants: int
    pictures: int
    films: int
    trials: int
    sessions: int
    missing: float
    valences: tuple[str, ...]
    groups: tuple[str, ...]
    covariates: tuple[str, ...]


def write_plan_from_fit(
    fit: "xr.DataTree", path: Path | str, *, shape: str | None = None, draws: int = DRAWS
) -> tuple[Path, ...]:
    """Write PLAN.toml, and beside it PLAN.pilot.parquet (draws) and PLAN.frozen.json (priors); each whole.

    Parameters
    ----------
    path : of the plan. shape, draws : as in `pilot_table`.

    Raises
    ------
    FitError
    """
    from mien.models.pilot_priors import passed_outcome

    path = Path(path)
    table = pilot_table(fit, shape, draws)
    label = passed_outcome(fit, shape, ASKER)
    pilot, frozen = (path.with_suffix(suffix) for suffix in (".pilot.parquet", ".frozen.json"))
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    text = plan_from_fit(
        fit, label, name=path.stem, pilot=pilot.name, pilot_sha256=hashlib.sha256(stream.getvalue()).hexdigest(),
        frozen=frozen.name,
    )  # fmt: skip
    write_whole(pilot, stream.getvalue())
    write_whole(frozen, _frozen_of(fit, label).to_json())
    write_whole(path, text)
    return path, pilot, frozen


def plan_from_fit(
    fit: "xr.DataTree", shape: str | None = None, *, name: str, pilot: str, pilot_sha256: str, frozen: str
) -> str:
    """The text of a PLAN.toml: the fit's formula, family and design; its draws and priors in files beside it.

    Parameters
    ----------
    name : of the plan. pilot, pilot_sha256, frozen : the files' names, and the sha256 of the draws.

    Raises
    ------
    FitError
    """
    spec = _spec_of(fit)
    found = pilot_design(fit, shape)
    parsed = [str(one) for one in fit["constant_data"].dataset["coefficient"].to_numpy()]
    effect = next((one for one in parsed if one != "Intercept"), "Intercept")
    participants = sorted({math.ceil(found.participants * times) for times in LARGER})
    return (PLAN + BUDGET).format(
        name=_quoted(name), of=_of(fit, shape), participants=participants, found=found, missing=f"{found.missing:g}",
        valences=json.dumps(list(found.valences)),
        more="".join(
            f"{key} = {json.dumps(list(values))}\n"
            for key, values in (("groups", found.groups), ("covariates", found.covariates)) if values
        ),
        pilot=_quoted(pilot), sha256=pilot_sha256, formula=_quoted(spec.formula), frozen=_quoted(frozen),
        family="" if spec.family == "gaussian" else f"family = {_quoted(spec.family)}\n",
        effect=_quoted(effect), goal=_quoted(f"direction of {effect}".replace(":", " by ")),
    )  # fmt: skip


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # which TOML reads as a basic string


def _of(fit: "xr.DataTree", shape: str | None) -> str:
    told = f"{fit.attrs['name']}{f', {shape}' if shape else ''}, data {str(fit.attrs['data_sha256'])[:12]}"
    return " ".join(told.split())


def _frozen_of(fit: "xr.DataTree", label: str | None) -> "FrozenPriors":
    """The fit's priors, of this outcome only."""
    from dataclasses import replace

    from mien.models.prior_freezing import frozen_of_fit

    whole = frozen_of_fit(fit)
    return replace(whole, outcomes={label or "": whole.outcomes[label or ""]})


def _spec_of(fit: "xr.DataTree") -> ModelSpec:
    """The fit's model of one shape: pooling over shapes comes after it, and leaves its posterior as it is."""
    from dataclasses import replace

    from mien.models.factors.spec import require_coefficients

    require_coefficients(fit, ASKER)
    return replace(ModelSpec.from_json(str(fit.attrs["model_spec"])), pooling="none")


def _check_model(spec: ModelSpec) -> None:
    """Plans have trials with independent residuals, one shape a fit."""
    formula = parse_formula(spec.formula)
    told = {
        "curves (smooths)": bool(spec.smooths),
        "AR(1) residuals": spec.residual == "ar1",
        "all shapes in one model": "blend_shape" in formula.columns,
        "contrasts of shapes": bool(spec.contrasts),
        "time within trials": bool({"time", "bin"} & set(formula.columns)),
        "weights, counts or known standard errors": bool(spec.weights or spec.counts or spec.standard_errors),
        "a sigma for each stratum": bool(spec.sigma_by),
        "regressions of further parameters": bool(spec.parameters),
    }
    found = [what for what, has in told.items() if has]
    if found:
        raise FitError(
            f"{ASKER}: expected a model of trials with one residual sd, found {' and '.join(found)}, which power plans "
            "do not have: fit a model without."
        )


def pilot_design(fit: "xr.DataTree", shape: str | None = None) -> PilotDesign:
    """Who saw what in a fit, counted from the rows of one outcome.

    Media are told apart where the formula has `medium`, else all stimuli count as pictures; without effects of stimuli
    every trial of a person counts as one.

    Raises
    ------
    FitError
        For a fit without its rows, or a formula with columns that plans do not have.
    """
    from mien.models.refit import check_rows, of_shape, used_rows

    check_rows(fit, ASKER)
    coding = {str(key): tuple(levels) for key, levels in json.loads(str(fit.attrs["coding"])).items()}
    used = used_rows(fit, shape)
    constants = of_shape(fit["constant_data"].dataset, shape)
    covariates = _covariates(fit, coding)
    codes = {
        factor: constants[f"{factor} index"].to_numpy()[used].astype(np.int64)
        for factor in ("participant", "stimulus") if f"{factor} index" in constants
    }  # fmt: skip
    if "participant" not in codes:
        raise FitError(f"{ASKER}: expected effects of participants in the formula, found none.")
    rows, persons = int(used.sum()), len(np.unique(codes["participant"]))
    valences, sessions = coding.get("valence", ("negative", "positive")), len(coding.get("session", ("1",)))
    if "stimulus" in codes:
        pairs = np.unique(
            np.column_stack([codes["participant"], codes["stimulus"]]), axis=0, return_counts=True
        )[1]
        trials = max(1, math.ceil(float(np.median(pairs)) / sessions))
        film = _films(constants, used, coding, codes["stimulus"])
    else:
        trials, film = 1, np.zeros(math.ceil(rows / persons / sessions), dtype=bool)
    films = max(int(film.any()), round(film.sum() / len(valences)))
    pictures = max(int((~film).any()), round((~film).sum() / len(valences)))
    shown = persons * len(film) * trials * sessions
    missing = round(min(0.95, max(0.0, 1.0 - rows / shown)), 3)
    return PilotDesign(
        persons, pictures, films, trials, sessions, missing, valences, coding.get("group", ()), covariates
    )


def _films(
    constants: Any, used: np.ndarray, coding: Mapping[str, tuple[str, ...]], stimulus: np.ndarray
) -> np.ndarray:
    """(stimulus,) whether each is a film."""
    first = np.unique(stimulus, return_index=True)[1]
    if coding.get("medium") == ("film",):
        return np.ones(len(first), dtype=bool)
    names = [str(name) for name in constants["coefficient"].to_numpy()] if "design" in constants else []
    if "medium" not in names:
        return np.zeros(len(first), dtype=bool)
    return constants["design"].to_numpy()[used][first, names.index("medium")] > 0.0


def _covariates(fit: "xr.DataTree", coding: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """z-scores of persons, which a plan draws anew."""
    formula = parse_formula(_spec_of(fit).formula)
    known = (*DESIGN_COLUMNS, formula.response)
    found = tuple(name for name in formula.columns if name not in known)
    allowed = (*DESIGN_COLUMNS, "z-scores of persons (age_z)")
    derived = json.loads(str(fit.attrs.get("derived", "{}")))
    for name in found:
        of_persons = derived.get(name, {}).get("unit", "participant") == "participant"
        if not name.endswith("_z") or name in coding or not of_persons:
            raise FitError(
                f"{ASKER}: expected columns that plans have ({', '.join(allowed)}), found {name!r}"
                f"{nearest(name, DESIGN_COLUMNS)}: fit a model without."
            )
    return found


PLAN = """# A power plan with a pilot as the assumed truth: {of}.
# Every simulated study takes one draw of the pilot's posterior, so that power is averaged over what the pilot left
# uncertain (assurance). A pilot that was chosen for its large effect gives too large a power.
#     mien power run PLAN.toml --out RUN        (again, to go on where it was)
#     mien power status RUN     mien power report RUN

name = {name}
seed = 1

[design]                    # the pilot had {found.participants} participants
participants = {participants}
pictures = {found.pictures:<15} # of each valence; new ones are drawn in every simulated study
films = {found.films}
trials = {found.trials:<17} # presentations of each stimulus in a session
sessions = {found.sessions}
missing = {missing:<16} # share of trials that were lost in the pilot
valences = {valences}
{more}
[truth]
pilot = {pilot}
pilot_sha256 = "{sha256}"
# [truth.coefficients]      # set by hand, in place of the pilot's: the smallest effect that would matter, say
# {effect} = 0.01

[analysis]                  # the pilot's, with its priors
formula = {formula}
{family}frozen = {frozen}

[[goals]]
name = {goal}
kind = "direction"          # P(effect > 0) or P(effect < 0) reaches:
effect = {effect}
probability = 0.975

"""
