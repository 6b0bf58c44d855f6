"""A study's priors as a document of their own: one HTML file like the report, and a PDF to attach.

Both hold the same content, made from the same parts. HTML: no script, nothing loaded, texts escaped. PDF: typst sets a
template of ours; texts come to it as data (a JSON file that it reads), never as markup, so that nothing in them is
evaluated. Its fonts are those inside typst, so that the same parts give the same bytes on every machine.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from markupsafe import Markup

from mien.reports_app.barg import DOI, BargItem
from mien.reports_app.documents import content_security_policy
from mien.reports_app.fragments import environment, packaged
from mien.reports_app.printing import breakable, figures_data, table_data
from mien.reports_app.prior_part import PriorPart

__all__ = ["BargRow", "barg_counts", "barg_rows", "prior_document_html", "prior_document_pdf"]

SYMBOLS: Mapping[str, str] = {"done": "✓", "not done": "✗", "not applicable": "–"}
LIMITS = (
    "That priors were stated, checked and varied does not make them right, nor the model.",
    "That an answer stays under other widths is said of the widths that were tried, of one prior at a time, in this "
    "model.",
    "A prior predictive check tells whether a model can expect what faces do; its limits are conventions.",
    "Priors that were put on the scale of these data know how much these data scatter.",
    "A hash tells that priors were not changed, not when somebody first looked at the data.",
)
EMPTY = "No model was fitted, so that there are no priors to tell of."


class BargRow(NamedTuple):
    """An item of the checklist as text: its step, letter and title, what it asks, status in words and as a symbol."""

    step: str
    title: str
    asks: str
    status: str
    symbol: str
    evidence: str


def barg_rows(items: Sequence[BargItem]) -> list[BargRow]:
    """The checklist of `mien.reports_app.barg` for readers."""
    return [
        BargRow(
            one.step,
            f"{one.item} {one.title}".strip(),
            one.asks,
            one.status,
            SYMBOLS[one.status],
            one.evidence,
        )
        for one in items
    ]


def barg_counts(items: Sequence[BargRow]) -> str:
    """`Of 27 items of the …, 18 are done, 6 not done and 3 not applicable.`"""
    told = [f"{sum(one.status == status for one in items)} {status}" for status in SYMBOLS]
    return (
        f"Of {len(items)} items of the Bayesian Analysis Reporting Guidelines (Kruschke, 2021, doi:{DOI}), "
        f"{told[0].replace(' ', ' are ', 1)}, {told[1]} and {told[2]}. Titles and questions are in our own words."
    )


# HTML


def prior_document_html(
    parts: Sequence[PriorPart], barg: Sequence[BargItem] = (), study_name: str = "", *, note: str = ""
) -> str:
    """The priors of a study's fits as one HTML file.

    Parameters
    ----------
    parts : from `prior_part`, the main one first. barg : from `mien.reports_app.barg.barg`.
    study_name : the title. note : a sentence that stands above everything.
    """
    style = packaged("style.css")
    items = barg_rows(barg)
    return environment().get_template("prior_page.html.j2").render(
        title=study_name, note=note, style=Markup(style), policy=content_security_policy(style),  # noqa: S704
        lead=_lead(parts), parts=parts, items=items, counts=barg_counts(items), limits=LIMITS,
    )  # fmt: skip


def _lead(parts: Sequence[PriorPart]) -> str:
    return parts[0].lead if parts else EMPTY


# PDF


def prior_document_pdf(
    parts: Sequence[PriorPart], barg: Sequence[BargItem] = (), study_name: str = "", *, note: str = ""
) -> bytes:
    """The same as PDF on A4, with page numbers; dated by the newest fit, so that the same parts give the same bytes.

    Parameters
    ----------
    parts, barg, study_name, note : as in `prior_document_html`.
    """
    return _set(parts, barg, study_name, note, form="pdf")


def _set(
    parts: Sequence[PriorPart], barg: Sequence[BargItem], study_name: str, note: str, *, form: str
) -> Any:
    """Typst's output: bytes, or of "png" a list of pages where they are several."""
    import typst

    pictures: dict[str, bytes] = {}
    items = barg_rows(barg)
    content = {
        "title": study_name, "note": note, "lead": _lead(parts), "limits": LIMITS, "counts": barg_counts(items),
        "parts": [_part(part, pictures) for part in parts],
        "barg": [one._asdict() | {"evidence": breakable(one.evidence)} for one in items],
    }  # fmt: skip
    files = {
        "main.typ": packaged("priors.typ").encode(),
        "content.json": json.dumps(content, ensure_ascii=False).encode(), **pictures,
    }  # fmt: skip
    made: Any = typst.compile
    return made(files, format=form, timestamp=_moment(parts))


def _moment(parts: Sequence[PriorPart]) -> int:
    """When the newest fit was made, s since 1970; 0 where none says."""
    known = []
    for part in parts:
        try:
            known.append(datetime.fromisoformat(part.made).timestamp())
        except ValueError:
            continue
    return int(max(known, default=0))


def _part(part: PriorPart, pictures: dict[str, bytes]) -> dict[str, Any]:
    expected, sensitivity = part.expected, part.sensitivity
    return {
        "fit": part.fit, "formula": part.formula, "lead": part.lead, "warnings": list(part.warnings),
        "status": [[what, breakable(whole or short)] for what, short, whole in part.status], "frozen": part.frozen,
        "rows": [row._asdict() | {"parameter": breakable(row.parameter), "prior": row.prior} for row in part.rows],
        "scale": part.scale,
        "expected": {
            "missing": expected.missing, "command": expected.command, "passed": expected.verdict == "passed",
            "sentences": list(expected.sentences), "figures": figures_data(expected.figures, pictures),
            "looked": table_data(expected.looked), "table": table_data(expected.table),
            "limits": table_data(expected.limits),
        },
        "sensitivity": {
            "missing": sensitivity.missing, "command": sensitivity.command, "sentences": list(sensitivity.sentences),
            "counts": table_data(sensitivity.counts), "table": table_data(sensitivity.table),
        },
        "widths_missing": list(part.widths_missing),
        "robustness": [
            {"title": one.title, "sentences": list(one.sentences), "figures": figures_data(one.figures, pictures),
             "table": table_data(one.table)}
            for one in part.robustness
        ],
    }  # fmt: skip
