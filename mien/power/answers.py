"""Everything that a power run says, as tables; a function of the plan and its rows.

    estimates    a cell and goal: power or assurance, error rates, Type S and M, widths, ceilings
    failures     failed replicates by cause
    smallest     a goal and truth: the smallest or cheapest design, its interval, and what the check says
    designs      the smallest N of every other design of the grid
    curves       the surrogate along participants
    noise        how much better nested N are compared than independent ones
    sequential   the goals' own rules looked at after every N of the grid

docs/power_answers.md says what each number means.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mien.power.estimates import clean_rows, estimates, failures
from mien.power.nested import noise_ratios
from mien.power.sequential import RULES, rule_of, sequential
from mien.power.smallest import cells_at, smallest_designs
from mien.study.errors import StudyError
from mien.study.files import whole_file

if TYPE_CHECKING:
    from mien.power.plan import Plan

__all__ = ["Answers", "answers"]

TABLES = ("estimates", "failures", "smallest", "designs", "curves", "noise", "sequential")


@dataclass(frozen=True, eq=False)
class Answers:
    """Tables of one run; see the module. plan_sha256 : of the plan. rows : how many replicates they rest on."""

    plan_sha256: str
    rows: int
    estimates: pd.DataFrame
    failures: pd.DataFrame
    smallest: pd.DataFrame
    designs: pd.DataFrame
    curves: pd.DataFrame
    noise: pd.DataFrame
    sequential: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """By name."""
        return {
            name: getattr(self, name) for name in (field.name for field in fields(self)) if name in TABLES
        }

    def to_parquet(self, folder: str | Path) -> list[Path]:
        """Write one file a table, whole or not at all; tables without a row too."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        written = []
        for name, table in self.tables().items():
            content = pa.Table.from_pandas(table, preserve_index=False)
            content = content.replace_schema_metadata({
                **(content.schema.metadata or {}), b"plan_sha256": self.plan_sha256.encode(),
                b"replicates": str(self.rows).encode(),
            })  # fmt: skip
            path = Path(folder) / f"{name}.parquet"
            with whole_file(path) as temporary:
                pq.write_table(content, temporary)
            written.append(path)
        return written


def answers(plan: "Plan", rows: pd.DataFrame) -> Answers:
    """All tables of the rows that are there; a run that goes on gives interim ones.

    Raises
    ------
    StudyError
        Where none of the rows is of this plan's cells.
    """
    from mien.power.cells import cells_of, cells_table

    rows = clean_rows(rows)
    grid = cells_of(plan)
    _require(rows, cells_table(grid))
    found = smallest_designs(plan, rows, cells_table(grid))
    table = cells_table([*grid, *cells_at(plan, [found.answers])])
    parts = [sequential(plan, rows, rule_of(goal), table) for goal in plan.goals if goal.kind in RULES]
    looks = [part for part in parts if not part.empty]
    return Answers(
        plan.sha256, _count(rows, table), estimates(plan, rows, table),
        failures(plan, rows, table), found.answers, found.designs, found.curves, noise_ratios(plan, rows, table),
        pd.concat(looks, ignore_index=True) if looks else pd.DataFrame(),
    )  # fmt: skip


def _count(rows: pd.DataFrame, cells: pd.DataFrame) -> int:
    """Of the plan's cells."""
    return int(np.isin(rows["cell"].to_numpy(str), cells["cell"].to_numpy(str)).sum())


def _require(rows: pd.DataFrame, cells: pd.DataFrame) -> None:
    if not set(rows["cell"]) & set(cells["cell"]):
        raise StudyError(
            "rows: expected results of this plan's cells, found none: run it first (mien power run)."
        )
