"""Sufficient statistics of a table that is larger than memory, or that should not be read twice.

    stats = mien.sufficient_statistics("activation ~ valence + (valence | participant)", "trials/*.parquet")
    stats.save("valence.statistics")
    fit = mien.fit("activation ~ valence + (valence | participant)", stats, engine="collapsed")

A Gaussian model needs sums over rows only (`engines.collapsed.moments`). They are taken part by part in two passes:
`row_survey` finds the levels, the shapes that move and the rows that count, `row_sums` adds. What comes out is what
the same fit in memory has, to rounding, whatever the parts and their order; other priors need no other pass.
"""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mien.models.design import Block, Design
from mien.models.engines.collapsed.moments import Moments, columns_of
from mien.models.engines.problem import Outcome, Problem, Residual
from mien.models.residuals import strata_dim
from mien.models.row_sums import Sums, added, design_of, sums_of
from mien.models.row_survey import Plan, merged, plan_of, rules_of, survey
from mien.models.spec import ModelSpec, has_sigma_prior
from mien.models.table_parts import in_pairs, joined_sha256, parts_of
from mien.priors import DataScale, resolve
from mien.study.errors import FitError, SpecError
from mien.study.files import whole_file
from mien.study.formula import parse_formula

__all__ = ["FORMAT", "Statistics", "load_statistics", "sufficient_statistics"]

FORMAT = "mien statistics 1"
Progress = Callable[[int, int, str], None]
FREE = (
    "priors",
    "name",
    "answers",
)  # fields of a ModelSpec that may change between fits of the same statistics
OF_MOMENTS = ("codes", "stratum", "centre", "gram", "rows", "pairs", "known_variance", "sigma_of")
RANK = 1e-11  # smallest eigenvalue of the columns' correlations that is not rounding


@dataclass(frozen=True)
class Statistics:
    """What a model needs to know of its rows.

    Parameters
    ----------
    spec : the model whose rows, design and residual structure these are.
    design : names, groups and coding, without rows; residual : strata, without rows.
    names : outcomes, ("",) for one; moments, scales : theirs.
    counts : rows by what became of them; left_out : outcome → the reason.
    source_sha256 : of the table or of its files; recipe_sha256 : of the recipe that made it, "" where unknown.
    """

    spec: ModelSpec
    design: Design
    residual: Residual
    names: tuple[str, ...]
    moments: tuple[Moments, ...]
    scales: tuple[DataScale, ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, str]
    source_sha256: str
    recipe_sha256: str

    def problem(self, spec: ModelSpec) -> tuple[Problem, list[DataScale]]:
        """The problem that `mien.fit` makes of the table, with moments in place of rows.

        Raises
        ------
        SpecError
            When the model is another one in more than its priors and name.
        """
        from mien.models.fitting import overrides_of, parameter_names

        self._check(spec)
        names, overrides = parameter_names(self.design, self.residual, spec.family, {}), overrides_of(spec)
        none = np.zeros(0)
        outcomes = tuple(
            Outcome(name, self.design, none, none, resolve(overrides, names, scale), self.residual, moments)
            for name, scale, moments in zip(self.names, self.scales, self.moments, strict=True)
        )
        return Problem(spec.family, outcomes), list(self.scales)

    def _check(self, spec: ModelSpec) -> None:
        for item in fields(ModelSpec):
            mine, other = getattr(self.spec, item.name), getattr(spec, item.name)
            if item.name == "formula":
                mine, other = parse_formula(mine).text, parse_formula(other).text
            if item.name not in FREE and mine != other:
                raise SpecError(
                    f"{item.name}: expected {mine!r}, that of the statistics, found {other!r}: take statistics of this "
                    "model (only priors may change)."
                )
        if spec.standard_errors and has_sigma_prior(self.spec.priors) != has_sigma_prior(spec.priors):
            raise SpecError(
                "priors['sigma']: expected one exactly where the statistics were taken with one, since standard errors "
                "beside a sigma are other sums: take statistics of this model."
            )

    def save(self, path: Path | str) -> Path:
        """Write everything to one file, whole or not at all."""
        path = Path(path)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            arrays: dict[str, Any] = {"about": np.array(json.dumps(self._about()))}
            for place, moments in enumerate(self.moments):
                arrays |= {f"{name}_{place}": getattr(moments, name) for name in OF_MOMENTS}
            np.savez(file, **arrays)
        return path

    def _about(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "spec": json.loads(self.spec.to_json()),
            "coefficients": self.design.coefficients,
            "blocks": [[block.factor, block.terms, block.levels] for block in self.design.blocks],
            "coding": dict(self.design.coding),
            "strata": self.residual.strata,
            "dim": self.residual.dim,
            "names": self.names,
            "columns": self.moments[0].columns.names,
            "gaps": [moments.gaps for moments in self.moments],
            "log_precision": [moments.log_precision for moments in self.moments],
            "scales": [scale._asdict() for scale in self.scales],
            "counts": dict(self.counts),
            "left_out": dict(self.left_out),
            "source_sha256": self.source_sha256,
            "recipe_sha256": self.recipe_sha256,
        }


def sufficient_statistics(
    model: ModelSpec | str,
    source: object,
    *,
    participants: pd.DataFrame | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    **named: object,
) -> Statistics:
    """The sums over rows that a Gaussian model needs, from a table in parts.

    Parameters
    ----------
    model : a ModelSpec or a formula; priors may be changed when fitting.
    source : a DataFrame; a path, pattern or folder of Parquet files; a Dask DataFrame. Rows in any order and any parts;
        where bins are averaged, or AR(1) is asked for, the bins of a trial have to stand together.
    participants : person-level columns, joined by participant_id.
    workers : processes that read files.
    progress : called with (done, total, label) as parts are finished.
    **named : further fields of ModelSpec beside a formula.

    Raises
    ------
    SpecError, FitError
        With what was expected, found, and what to do.
    """
    from mien.models.fitting import data_sha256, spec_of

    spec = spec_of(model, named)
    if spec.family != "gaussian":
        raise SpecError(
            f"sufficient_statistics: expected family 'gaussian', found {spec.family!r}, which needs the rows: fit the "
            "table itself."
        )
    if spec.smooths:
        raise SpecError(
            "sufficient_statistics: expected a model without smooths, whose functions need all rows at once, found "
            f"{spec.smooths[0]}: fit the table itself."
        )
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise FitError(f"workers: expected a whole number from 1, found {workers!r}.")
    table = parts_of(source)
    rules = rules_of(spec, table, participants)
    told = _Told(progress, 2 * len(table.parts))
    plan = plan_of(in_pairs(told(table.over(partial(survey, rules=rules), workers)), merged), rules)
    total = table.total(partial(sums_of, plan=plan), added, workers, told)
    if isinstance(source, pd.DataFrame):
        sha256 = data_sha256(source, participants)
    else:
        sha256 = joined_sha256(
            [table.sha256(), *([] if participants is None else [data_sha256(participants)])]
        )
    return _statistics(spec, plan, total, sha256, str(table.attrs.get("recipe_sha256", "")))


class _Told:
    """Counts parts as they pass."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__[T](self, parts: Iterable[T]) -> Iterator[T]:
        for part in parts:
            self.done += 1
            if self.progress:
                self.progress(self.done, self.total, "sufficient statistics")
            yield part


def _statistics(spec: ModelSpec, plan: Plan, total: Sums, sha256: str, recipe: str) -> Statistics:
    if spec.residual == "ar1" and not any(moments.gaps for moments in total.moments):
        raise FitError(
            "residual='ar1': expected series of two rows or more, found rows that stand alone: keep the bins, or leave "
            "residual out."
        )
    design = design_of(plan)
    for place, name in enumerate(plan.names):
        _check_rank(total.moments[place], total.largest[place], design, name)
    return Statistics(
        spec, design, _residual(spec, plan.levels), plan.names, total.moments,
        tuple(_scale(total, place, design) for place in range(len(plan.names))),
        dict(plan.counts), dict(plan.left_out), sha256, recipe,
    )  # fmt: skip


def _residual(spec: ModelSpec, levels: Mapping[str, tuple[str, ...]]) -> Residual:
    """The residual structure of no rows."""
    key, whole = ":".join(spec.sigma_by), np.zeros(0, dtype=np.int64)
    residual = Residual(levels[key], strata_dim(spec), whole) if key else Residual()
    if spec.residual == "ar1":
        residual = residual._replace(series=whole, position=whole)
    if spec.standard_errors and has_sigma_prior(spec.priors):
        residual = residual._replace(known_variance=np.zeros(0))
    if spec.counts:
        residual = residual._replace(count=np.zeros(0), squares=np.zeros(0))
    return residual


def _scale(total: Sums, place: int, design: Design) -> DataScale:
    """The scale that the same rows have in memory."""
    mean = total.mean[place]
    sd = np.sqrt(total.squares[place] / total.n[place])
    still = sd <= 1e-12 * total.largest[place]
    spread = np.where(still, np.where(total.largest[place] > 0, total.largest[place], 1.0), sd)
    columns = total.moments[place].columns
    slopes = {
        name: number
        for name, number in zip(design.coefficients, columns.coefficients.tolist(), strict=True)
        if name != "Intercept"
    }
    terms = [(f"{term}|{block.factor}", term) for block in design.blocks for term in block.terms]
    return DataScale(
        float(mean[-1]), float(sd[-1]),
        {name: float(mean[number]) for name, number in slopes.items()},
        {name: float(spread[number]) for name, number in slopes.items()},
        {name: 1.0 if term == "1" else float(spread[number])
         for (name, term), number in zip(terms, columns.terms.tolist(), strict=True)},
    )  # fmt: skip


def _check_rank(moments: Moments, largest: np.ndarray, design: Design, name: str) -> None:
    """Refuse coefficients that the rows do not tell apart."""
    each = [0, *range(1, len(moments.gram), 3)]  # every row once, of AR(1) too
    gram = moments.gram[each].sum(axis=(0, 1))
    wanted = moments.columns.coefficients
    if "Intercept" in design.coefficients:
        wanted = wanted[wanted > 0]
    else:
        centre = np.concatenate([[0.0], moments.centre[1:]])
        back = np.eye(len(centre))
        back[:, 0] += centre
        gram = back @ gram @ back.T
    size = np.sqrt(gram.diagonal()[wanted])
    moves = size > 1e-10 * largest[wanted] * np.sqrt(gram[0, 0])
    one = gram[np.ix_(wanted, wanted)] / np.outer(np.where(moves, size, 1.0), np.where(moves, size, 1.0))
    if not (moves | (wanted == 0)).all() or (len(wanted) and np.linalg.eigvalsh(one)[0] < RANK):
        raise FitError(
            f"{name or 'data'}: expected rows that tell the coefficients {', '.join(design.coefficients)} apart, found "
            f"{moments.rows.sum():.0f} rows that do not: leave the shape or a term out."
        )


# On disk


def load_statistics(path: Path | str) -> Statistics:
    """Read what `Statistics.save` wrote; fits of it are the same to the last digit.

    Raises
    ------
    FitError
        When the file is missing, damaged, or of another kind or version.
    """
    path = Path(path)
    if not path.is_file():
        raise FitError(f"{path}: expected a file of statistics, found none: check the path.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about["format"] != FORMAT:
                raise FitError(
                    f"{path}: expected {FORMAT!r}, found {about['format']!r}: take the statistics again."
                )
            return _read(about, arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as problem:
        raise FitError(
            f"{path}: expected a file of statistics, found one that cannot be read ({problem}): take them again."
        ) from None


def _read(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Statistics:
    spec = ModelSpec.from_json(json.dumps(about["spec"]))
    blocks = tuple(
        Block(factor, tuple(terms), np.zeros((0, len(terms))), np.zeros(0, dtype=np.int64), tuple(levels))
        for factor, terms, levels in about["blocks"]
    )
    coefficients = tuple(about["coefficients"])
    coding = {name: tuple(levels) for name, levels in about["coding"].items()}
    design = Design(coefficients, np.zeros((0, len(coefficients))), blocks, coding)
    columns = columns_of(design)
    if list(columns.names) != about["columns"]:
        raise ValueError(f"columns {', '.join(about['columns'])}")
    levels = {block.factor: block.levels for block in blocks}
    moments = tuple(
        Moments(
            columns=columns, factors=tuple(levels), levels=tuple(levels.values()), gaps=tuple(about["gaps"][place]),
            log_precision=about["log_precision"][place],
            **{name: arrays[f"{name}_{place}"] for name in OF_MOMENTS},
        )
        for place in range(len(about["names"]))
    )  # fmt: skip
    strata = {about["dim"]: tuple(about["strata"])}
    return Statistics(
        spec, design, _residual(spec, strata), tuple(about["names"]), moments,
        tuple(DataScale(**scale) for scale in about["scales"]), about["counts"], about["left_out"],
        about["source_sha256"], about["recipe_sha256"],
    )  # fmt: skip
