"""Tables and texts of a fit for other documents: CSV, Parquet, LaTeX, plain text, and the methods as a paragraph.

CSV and Parquet hold every number in full. LaTeX and text are for readers and keep these conventions:

- decimals of means, sds and intervals follow the spread, two digits of the typical posterior sd, the same in a table;
- probabilities and shares have two decimals and no leading zero, and never .00 or 1.00: "< .01", "> .99";
- intervals stand in square brackets under a heading that tells their kind and level;
- horizontal rules only, and a note beneath that says what the columns are.
"""

import io
import json
import math
import textwrap
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from mien.models import effects, load, loadings
from mien.models.factors.spec import is_factor_fit
from mien.models.stored_checks import stored_checks
from mien.reports_app import wording
from mien.reports_app.attributes import rope_widths
from mien.reports_app.defaults import Decisions
from mien.reports_app.methods import checks_statement, methods_sentences
from mien.reports_app.rows import by_region, by_size, rows_of
from mien.reports_app.tables import DECISION_WORDS
from mien.study.errors import FitError, StudyError
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.study.formula import parse_formula
from mien.study.tables import nearest
from mien.workflow.co_activation import compared_numbers
from mien.workflow.fitting import newest_fits

__all__ = [
    "FORMATS",
    "effects_latex",
    "effects_text",
    "export_effects",
    "methods_paragraph",
    "write_study_checks",
    "write_study_effects",
]

FORMATS = (".csv", ".parquet", ".tex", ".txt")
MINUS = "−"
NEEDED = (
    "effect",
    "blend_shape",
    "mean",
    "sd",
    "eti_lower",
    "eti_upper",
    "p_direction",
    "in_rope",
    "decision",
)
OF_FACTORS = {"factor", "p_carried", "eti_lower"}  # columns of loadings
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", MINUS: "$-$", "β": r"$\beta$", "σ": r"$\sigma$",
    "<": "$<$", ">": "$>$", "±": r"$\pm$",
}  # fmt: skip


def export_effects(table: pd.DataFrame, path: Path | str) -> Path:
    """Write a table of `mien.effects` or `mien.models.loadings` in the format that the file's ending says.

    Parameters
    ----------
    path : ending in .csv or .parquet (every column, full precision; any table), .tex (booktabs) or .txt.

    Raises
    ------
    FitError
        For another ending, an empty table, or, for readers' formats, columns that are no effects'.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise FitError(f"{path}: expected a name ending in {', '.join(FORMATS)}, found {path.suffix!r}.")
    if not isinstance(table, pd.DataFrame) or not len(table):
        raise FitError(f"export_effects: expected a table with rows, found {type(table).__name__} without.")
    if path.suffix == ".parquet":
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        write_whole(path, buffer.getvalue())
    elif path.suffix == ".csv":
        write_whole(path, table.to_csv(index=False))
    else:
        write_whole(path, effects_latex(table) if path.suffix == ".tex" else effects_text(table))
    return path


def write_study_effects(study: Study, name: str, out: Path | None = None) -> Path:
    """Write the effects of a study's newest fit of a name, with the study's limits; returns the path.

    Of co-activation, which has none, the loadings of all factors are written.

    Raises
    ------
    StudyError
        For a fit that the study does not have.
    """
    fit = _newest(study, name)
    if is_factor_fit(fit):
        return export_effects(loadings(fit), out or study.derivatives / "export" / f"loadings-{name}.csv")
    decisions = Decisions.from_mapping(study.settings.get("decisions", {}))
    table = effects(fit, rope=rope_widths(fit, decisions.rope))
    return export_effects(table, out or study.derivatives / "export" / f"effects-{name}.csv")


def write_study_checks(study: Study, name: str, out: Path | None = None) -> Path:
    """Write the checks of a study's newest fit of a name, .csv or .parquet; returns the path.

    Raises
    ------
    StudyError
        For a fit that the study does not have, or one without checks, with the reason.
    """
    found = stored_checks(_newest(study, name))
    if found.table is None:
        why = found.missing or f"what it has is a sentence. {' '.join(found.notes)}"
        raise StudyError(f"{name}: expected a fit with a table of checks of the model, found none: {why}")
    return export_effects(found.table, out or study.derivatives / "export" / f"checks-{name}.csv")


def _newest(study: Study, name: str) -> Any:
    fits = newest_fits(study)
    if name not in fits:
        raise StudyError(
            f"{study.derivatives / 'fits'}: expected a fit {name!r}{nearest(name, list(fits))}, found "
            f"{', '.join(fits) or 'none'}: run `mien fit {study.path} --model valence`."
        )
    return load(fits[name])


# Tables for readers


def effects_text(table: pd.DataFrame) -> str:
    """The effects as a plain-text table; see the module for its conventions."""
    cells = _cells(table)
    header, *rows = cells
    widths = [max(len(row[place]) for row in cells if len(row) > 1) for place in range(len(header))]

    def line(row: list[str]) -> str:
        if len(row) == 1:
            return row[0]
        padded = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    body = "\n".join(line(row) for row in rows)
    note = textwrap.fill(f"Note. {_note(table)}", max(len(rule), 60))
    return f"{rule}\n{line(header)}\n{rule}\n{body}\n{rule}\n{note}\n"


def effects_latex(table: pd.DataFrame) -> str:
    """The effects as a LaTeX table that needs the package booktabs; every text is escaped."""
    header, *rows = _cells(table)
    lines = [
        f"\\multicolumn{{{len(header)}}}{{l}}{{\\textit{{{_escaped(row[0])}}}}} \\\\"
        if len(row) == 1
        else " & ".join([_indented(row[0]), *map(_escaped, row[1:])]) + r" \\"
        for row in rows
    ]
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            r"\begin{table}",
            r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}",
            r"\toprule",
            " & ".join(map(_escaped, header)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\smallskip\textit{{Note.}} {_escaped(_note(table))}",
            r"\end{table}",
            "",
        ]
    )


def _cells(table: pd.DataFrame) -> list[list[str]]:
    """Header and rows as texts; a row of one cell is the heading of an effect."""
    if set(table.columns) >= OF_FACTORS:
        return _loading_cells(rows_of(table))
    lacking = [name for name in NEEDED if name not in table.columns]
    if lacking:
        raise FitError(
            f"export_effects: expected the columns of mien.effects, found no {lacking[0]!r}: write .csv or .parquet."
        )
    rows = rows_of(table)
    decimals = wording.decimals_for(median(float(row["sd"]) for row in rows))
    level = f"{100 * float(rows[0]['ci_prob']):g} % {str(rows[0]['ci_kind']).upper()}"
    found = [["", "M", "SD", level, "P(direction)", "In ROPE", "Decision", "β std"]]
    several = len({row["effect"] for row in rows}) > 1 or any(row["blend_shape"] for row in rows)
    for effect in dict.fromkeys(str(row["effect"]) for row in rows):
        mine = [row for row in rows if row["effect"] == effect]
        if several:
            found.append([effect])
        found += [_line(row, decimals, "  " if several else "") for row in by_region(mine)]
    return found


def _loading_cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The same of loadings, under the heading of each factor, the largest first."""
    decimals = wording.decimals_for(median(float(row["sd"]) for row in rows))

    def number(value: float) -> str:
        return f"{value:.{decimals}f}".replace("-", MINUS)

    found = [["", "M", "SD", "95 % ETI", "P(direction)", "P(carried)"]]
    for level, factor in dict.fromkeys((str(row["level"]), str(row["factor"])) for row in rows):
        found.append([f"{factor} ({level})"])
        for row in by_size(one for one in rows if (one["level"], one["factor"]) == (level, factor)):
            failed = " (checks failed)" if row["verdict"] == "failed" else ""
            interval = f"[{number(row['eti_lower'])}, {number(row['eti_upper'])}]"
            texts = (_probability(row[name]) for name in ("p_direction", "p_carried"))
            found.append(
                [f"  {row['blend_shape']}{failed}", number(row["mean"]), number(row["sd"]), interval, *texts]
            )
    return found


def _line(row: dict[str, Any], decimals: int, indent: str) -> list[str]:
    def number(value: float) -> str:
        return f"{value:.{decimals}f}".replace("-", MINUS)

    failed = " (checks failed)" if row["verdict"] == "failed" else ""
    return [
        f"{indent}{row['blend_shape'] or row['effect']}{failed}",
        number(row["mean"]),
        number(row["sd"]),
        f"[{number(row['eti_lower'])}, {number(row['eti_upper'])}]",
        _probability(row["p_direction"]),
        _probability(row["in_rope"]),
        DECISION_WORDS.get(str(row["decision"]), str(row["decision"])),
        f"{row['beta_std']:.2f}".replace("-", MINUS) if math.isfinite(row["beta_std"]) else "–",
    ]


def _probability(value: float) -> str:
    """Two decimals without the leading zero; never .00 or 1.00."""
    if not math.isfinite(value):
        return "–"
    if value < 0.005:
        return "< .01"
    return "> .99" if value >= 0.995 else f"{value:.2f}".removeprefix("0")


def _note(table: pd.DataFrame) -> str:
    if set(table.columns) >= OF_FACTORS:
        return (
            "M and SD: posterior mean and standard deviation of loadings, in standard deviations within groups, after "
            "varimax. 95 % ETI: equal-tailed interval. P(direction): posterior probability of the more probable sign. "
            "P(carried): that the factor carries 10 % of the shape’s variance or more."
        )
    row = rows_of(table)[0]
    ropes = [float(one["rope"]) for one in rows_of(table)]
    decimals = wording.decimals_for(median(ropes)) if max(ropes) > 0 else 2
    low, high = f"±{min(ropes):.{decimals}f}", f"±{max(ropes):.{decimals}f}"
    limits = low if low == high else f"{low} to {high}"
    units = "coefficient units (0–1)" if row["units"] == "coefficient" else f"units of the {row['units']}"
    return (
        f"M and SD: posterior mean and standard deviation, in {units}. {100 * float(row['ci_prob']):g} % "
        f"{str(row['ci_kind']).upper()}: equal-tailed interval. P(direction): posterior probability of the more "
        f"probable sign. In ROPE: share of the posterior within {limits}; the decision is where the "
        "interval lies relative to it. β std: β·sd(x)/sd(y)."
    )


def _indented(text: str) -> str:
    return (r"\quad " if text.startswith(" ") else "") + _escaped(text.lstrip())


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


# The methods


def methods_paragraph(fit: Any) -> str:
    """The methods of one fit as a paragraph, written from what was run.

    Parameters
    ----------
    fit : from `mien.fit` or `mien.load`.

    Returns
    -------
    Formula, rows and their counts, coding, priors with numbers, engine, draws, diagnostics, intervals, software.
    """
    name = str(fit.attrs.get("name") or "model")
    told = methods_sentences(name, fit, rows="trial means" if is_factor_fit(fit) else _rows(fit))
    checks = checks_statement({name: fit})
    intervals = (
        "Intervals are equal-tailed; P(direction) is the posterior probability of the more probable sign."
    )
    return " ".join([*told, f"The computation had to pass: {checks}.", _checked(fit), intervals])


def _checked(fit: Any) -> str:
    """What came of the checks of the model, or of the comparison of numbers of factors."""
    if is_factor_fit(fit):
        compared = compared_numbers(fit)
        told = compared[1]["answer"] if compared else "The number of factors was given beforehand."
        return " ".join([told, *stored_checks(fit).notes])
    found = stored_checks(fit)
    if found.table is None:
        return f"The model was not checked against replicates of the data: {found.missing.rstrip('.')}."
    rows = rows_of(found.table)
    return (
        "The model was checked against replicates of the data and by leaving rows out: "
        f"{sum(row['outside'] for row in rows)} of {len(rows)} checks lay outside their "
        f"{100 * rows[0]['ci_prob']:g} % intervals."
    )


def _rows(fit: Any) -> str:
    """What one row of the data was."""
    if fit.attrs.get("units") != "coefficient":
        return "the rows of a table"
    columns = parse_formula(str(fit.attrs["formula"])).columns
    timed = json.loads(str(fit.attrs["model_spec"]))["residual"] == "ar1" or "smooths" in fit.attrs
    return "time bins" if timed or {"time", "bin"} & set(columns) else "trial means"
