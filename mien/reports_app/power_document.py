"""A power report written from the folder of a run: one HTML page or a PDF, its figures, and all numbers.

DIR/report/power.html     nothing loaded, no script
DIR/report/power.pdf      the same content, set by typst; texts are data, never markup
DIR/report/figures/       every figure as SVG and PNG
DIR/report/*.parquet      the tables of `mien.power.answers`
"""

import json
from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from mien.reports_app.documents import content_security_policy
from mien.reports_app.figures.theme import to_png
from mien.reports_app.power_blocks import Block, Facts, Picture, Points, Table
from mien.reports_app.power_goal import RunState
from mien.reports_app.power_part import PowerPart, power_part
from mien.reports_app.printing import breakable, figures_data, table_data
from mien.study.errors import StudyError
from mien.study.files import whole_file, write_whole
from mien.study.tables import nearest

if TYPE_CHECKING:
    import pandas as pd

    from mien.power.interim import Status
    from mien.power.plan import Plan

__all__ = ["Written", "power_document_html", "power_document_pdf", "write_power_report"]

TEMPLATES = ("page.html.j2", "power_page.html.j2", "blocks.html.j2", "table.html.j2")
PNG_WIDTH = 1600  # px


class Written(NamedTuple):
    """What was written. path : of the document. answers : its sentences. tables, figures : the files beside it."""

    path: Path
    answers: tuple[str, ...]
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


def write_power_report(
    folder: str | Path, *, kind: str = "html", out: Path | None = None, plan: "Plan | None" = None
) -> Written:
    """Write the report of a run, finished or not.

    Parameters
    ----------
    folder : of a run. kind : "html" or "pdf". out : the document, DIR/report/power.html where it is None.
    plan : of a run whose plan was a Python object and not a file.

    Raises
    ------
    StudyError
        If this is no folder of a power run, nothing was simulated yet, or for another kind.
    """
    from mien.power.answers import answers
    from mien.power.interim import rows_of, status
    from mien.power.justification import justification
    from mien.power.stored_plan import stored_plan

    makers = {"html": power_document_html, "pdf": power_document_pdf}
    if kind not in makers:
        raise StudyError(
            f"format: expected one of {', '.join(makers)}, found {kind!r}{nearest(kind, list(makers))}."
        )
    folder = Path(folder)
    state, rows = status(folder), rows_of(folder)
    plan = plan or stored_plan(folder)
    found = answers(plan, rows)
    losses = _losses(plan, rows)
    part = power_part(plan, found, justification(plan, found), _state(state, rows), losses=losses)
    beside = folder / "report"
    path = out or beside / f"power.{kind}"
    write_whole(path, makers[kind](part))
    tables = found.to_parquet(beside)
    if losses is not None:
        tables.append(beside / "losses.parquet")
        with whole_file(tables[-1]) as temporary:
            losses.to_parquet(temporary, index=False)
    return Written(path, tuple(part.leads), tuple(tables), tuple(_write_figures(part, beside)))


def _losses(plan: "Plan", rows: "pd.DataFrame") -> "pd.DataFrame | None":
    """Of a plan that starts from raw frames."""
    if plan.pipeline is None:
        return None
    from mien.power.pipeline import cost_of_pipeline

    return cost_of_pipeline(plan, rows)


def _state(status: "Status", rows: "pd.DataFrame") -> RunState:
    parts = [path.stat().st_mtime for path in status.folder.glob("part-*.parquet")]
    engines = rows.loc[rows["engine"].fillna("") != "", "engine"].value_counts()
    return RunState(
        finished=status.finished, done=status.done, most=status.most, left=status.eta, elapsed=status.elapsed,
        workers=status.workers, engines={str(name): int(count) for name, count in engines.items()},
        sha256=status.rows_sha256, set_aside=len(status.set_aside) + len(status.bad), made=int(max(parts, default=0)),
    )  # fmt: skip


def _write_figures(part: PowerPart, beside: Path) -> list[Path]:
    """Each once as SVG and once as PNG."""
    written = []
    for one in part.pictures:
        for suffix, make in (("svg", str), ("png", partial(to_png, width=PNG_WIDTH))):
            path = beside / "figures" / f"{one.name}.{suffix}"
            write_whole(path, make(one.plain))
            written.append(path)
    return written


# HTML


def power_document_html(part: PowerPart) -> str:
    """The report as one HTML file."""
    style = _packaged("style.css")
    environment = Environment(
        loader=DictLoader({name: _packaged(name) for name in TEMPLATES}), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("power_page.html.j2").render(
        title=part.title, part=part, style=Markup(style), policy=content_security_policy(style),  # noqa: S704
    )  # fmt: skip


def _packaged(name: str) -> str:
    return resources.files("mien.reports_app").joinpath("templates", name).read_text(encoding="utf-8")


# PDF


def power_document_pdf(part: PowerPart) -> bytes:
    """The report as PDF on A4, dated by the newest rows, so that the same run gives the same bytes."""
    import typst

    made: Any = typst.compile
    return made(pdf_files(part), format="pdf", timestamp=part.made)


def pdf_files(part: PowerPart) -> dict[str, bytes]:
    """What typst is given: the template, the content as data, the figures."""
    pictures: dict[str, bytes] = {}
    content = {
        "title": part.title, "note": part.note, "leads": list(part.leads),
        "sections": [
            {"title": section.title, "blocks": [_block(block, pictures) for block in section.blocks]}
            for section in part.sections
        ],
    }  # fmt: skip
    return {
        "main.typ": _packaged("power.typ").encode(),
        "content.json": json.dumps(content, ensure_ascii=False).encode(), **pictures,
    }  # fmt: skip


def _block(block: Block, pictures: dict[str, bytes]) -> Mapping[str, Any]:
    match block:
        case Points():
            return {"kind": block.kind, "texts": [breakable(text) for text in block.texts]}
        case Facts():
            return {"kind": block.kind, "pairs": [list(pair) for pair in block.pairs]}
        case Picture():
            return {"kind": block.kind, "figure": figures_data([block], pictures)[0]}
        case Table():
            return {"kind": block.kind, "title": block.title, "data": table_data(block.frame)}
        case _:
            return {"kind": block.kind, "text": breakable(block.text)}
