"""The library as Markdown: every entry with what it says, the kind of its source and the reason.

`python -m mien.priors.library_table` writes it into docs/priors_library.md; a test holds the page to it.
"""

import sys
from dataclasses import asdict
from pathlib import Path

from mien.priors.distributions import Prior
from mien.priors.library import LIBRARY, Entry, Library

__all__ = ["library_table", "main"]

START, END = "<!-- library -->\n", "<!-- end of library -->\n"
HEADER = "| entry | prior | what it says | source | why |\n|---|---|---|---|---|\n"


def library_table(library: Library) -> str:
    """A section for every role, with the default and its variants."""
    sections = []
    for entry in library:
        if not entry.variant:
            title = f"### {entry.id.partition('/')[2]}\n\n"
            put = f"Role `{entry.role}`; numbers are {_scale(entry)}.\n\n"
            sections.append(title + put + HEADER)
        sections[-1] += _row(entry)
    return "\n".join(sections)


def _row(entry: Entry) -> str:
    says = "" if entry.implies is None else entry.implies.sentence()
    source = entry.source.kind
    if entry.source.doi:
        source += f": [{entry.source.doi}](https://doi.org/{entry.source.doi}), “{entry.source.sentence}”"
    if "read_in" in entry.source.record:
        source += f", read in {entry.source.record['read_in']}"
    cells = (f"`{entry.id.partition('/')[2]}`", _prior(entry.prior), says, source, entry.source.reason)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _prior(prior: Prior) -> str:
    numbers = ", ".join(f"{value:g}".replace("-", "−") for value in asdict(prior).values())
    return f"{type(prior).__name__}({numbers})"


def _scale(entry: Entry) -> str:
    put = {
        "intercept": "sds of the outcome about its mean",
        "outcome": "sds of the outcome",
        "per_unit": "sds of the outcome per sd of the column",
        "per_column": "per sd of the column",
        "log_outcome": "about the logarithm of the outcome's sd",
    }
    if entry.scale == "link" and entry.times != "per_column":
        put |= {"intercept": "about the observed average", "per_unit": "per sd of the column"}
    where = {"standardised": "", "sds within persons": "in sds (of variances: variances) within persons"}
    words = [where.get(entry.scale, f"on the scale {entry.scale}"), put.get(entry.times, "")]
    return ", ".join(word for word in words if word)


def main(page: str = "docs/priors_library.md") -> None:
    """Write the table into the page, between its two marks."""
    path = Path(page)
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{START}\n{library_table(LIBRARY)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
