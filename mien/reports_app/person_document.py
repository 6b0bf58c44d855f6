"""One person's report as a file: an HTML page that loads nothing, or a PDF with one page in front and details behind.

Both place the same part (`person_part`). Texts reach typst as data, never as markup; in the page they are escaped.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mien.models import load
from mien.reports_app.defaults import Decisions
from mien.reports_app.documents import content_security_policy
from mien.reports_app.fragments import environment, packaged
from mien.reports_app.person_part import PersonPart, person_part
from mien.reports_app.person_sections import Strips
from mien.reports_app.power_blocks import Block, Facts, Picture, Points, Table
from mien.reports_app.printing import breakable, figures_data, table_data
from mien.reports_app.texts import Texts
from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.tables import nearest
from mien.workflow.new_recording import PERSON

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from mien.study.folder import Study
    from mien.workflow.new_recording import NewRecording

__all__ = [
    "MAIN",
    "part_of_new",
    "part_of_study",
    "person_document_html",
    "person_document_pdf",
    "write_person_report",
]

MAIN = "valence"  # the fit that a report is made from


def write_person_report(
    study: "Study", participant: str, out: Path | None = None, *, kind: str = "html", language: str = "en"
) -> Path:
    """Write the report of one person of a study; returns its path.

    Parameters
    ----------
    participant : the label, with or without "sub-". out : the file,
        derivatives/mien/reports/sub-LABEL.KIND where it is None; its folder is made.
    kind : "html" or "pdf". language : "en" or "de".

    Raises
    ------
    StudyError
        For an unknown person, format or language, or a study that is not prepared or has no valence fit of its trials.
    FitError
        For a fit that tells nothing of single persons.
    """
    makers = {"html": person_document_html, "pdf": person_document_pdf}
    if kind not in makers:
        raise StudyError(
            f"format: expected one of {', '.join(makers)}, found {kind!r}{nearest(kind, list(makers))}."
        )
    part = part_of_study(study, participant, Texts.of(language))
    path = out or study.derivatives / "reports" / f"sub-{part.person}.{kind}"
    write_whole(path, makers[kind](part))
    return path


def part_of_study(
    study: "Study", participant: str, texts: Texts, *, open_fit: "Callable[[Path], xr.DataTree]" = load
) -> PersonPart:
    """The part of one person, from what the study folder holds; raises as `write_person_report`.

    Parameters
    ----------
    open_fit : reads a fit's folder.
    """
    from mien.reports_app.writing import MARKER, strips_of
    from mien.workflow.checking import quality_of
    from mien.workflow.preparing import load_trials

    person = _known(study, participant)
    trials, mine = load_trials(study), [one for one in study.recordings() if one.participant == person]
    return _made(
        study, person, texts, open_fit, trials=trials, quality=[quality_of(study, one) for one in mine],
        strips=strips_of(study, mine), note=texts("person.simulated") if (study.path / MARKER).exists() else "",
    )  # fmt: skip


def part_of_new(
    study: "Study", new: "NewRecording", strip: str, texts: Texts, *,
    open_fit: "Callable[[Path], xr.DataTree]" = load,
) -> PersonPart:  # fmt: skip
    """The part of a person whom the study has not, scored with norms fixed; raises as `write_person_report`.

    Parameters
    ----------
    new : of `mien.workflow.new_recording.prepare_new`. strip : its heat strip as SVG.
    """
    return _made(
        study, PERSON, texts, open_fit, trials=new.trials, quality=[new.quality], strips={new.source: strip},
        note=texts("person.not_kept"),
    )  # fmt: skip


def _made(
    study: "Study", person: str, texts: Texts, open_fit: "Callable[[Path], xr.DataTree]", **own: Any
) -> PersonPart:
    import tomllib

    from mien.workflow.preparing import load_prep

    prep = load_prep(study)
    return person_part(
        _main_fit(study, str(prep.get("recipe_sha256", "")), open_fit), person, participants=study.participants,
        decisions=Decisions.from_mapping(study.settings.get("decisions", {})), texts=texts,
        sides=str(tomllib.loads(str(prep.get("recipe_toml", ""))).get("sides", "mean")), study=study.name, **own,
    )  # fmt: skip


def _known(study: "Study", participant: str) -> str:
    """The label of a person of the study."""
    labels = [str(one).removeprefix("sub-") for one in study.participants["participant_id"].tolist()]
    person = participant.removeprefix("sub-")
    if person not in labels:
        some = ", ".join(labels[:5]) + (" …" if len(labels) > 5 else "")
        raise StudyError(
            f"participant: expected a person of {study.path / 'participants.tsv'} ({some}), found "
            f"{participant!r}{nearest(person, labels)}."
        )
    return person


def _main_fit(study: "Study", recipe: str, open_fit: "Callable[[Path], xr.DataTree]") -> "xr.DataTree":
    """The newest valence fit, which has to be of the trials that are stored now."""
    from mien.workflow.fitting import newest_fits

    paths = newest_fits(study)
    if MAIN not in paths:
        found = f"only {', '.join(paths)}" if paths else "none"
        raise StudyError(
            f"{study.derivatives / 'fits'}: expected a {MAIN} fit, found {found}: run `mien fit {study.path} "
            f"--model {MAIN}`."
        )
    fit = open_fit(paths[MAIN])
    if recipe and fit.attrs.get("recipe_sha256", recipe) != recipe:
        raise StudyError(
            f"{paths[MAIN]}: expected a fit of the trials that are stored now, found one of another recipe: run "
            f"`mien fit {study.path} --model {MAIN}`."
        )
    return fit


# HTML


def person_document_html(part: PersonPart) -> str:
    """The report as one HTML file: no script, nothing loaded."""
    style, texts = packaged("style.css"), Texts.of(part.language)
    words = {
        "kind": texts("person.kind"), "answer": texts("person.answer"), "made_by": texts("common.made_by"),
    }  # fmt: skip
    return environment().get_template("person_page.html.j2").render(
        title=part.title, part=part, words=words, language=part.language, skip=texts("common.skip"),
        style=Markup(style), policy=content_security_policy(style),  # noqa: S704
    )  # fmt: skip


# PDF


def person_document_pdf(part: PersonPart) -> bytes:
    """The report as PDF on A4, dated by the fit, so that the same part gives the same bytes."""
    import typst

    made: Any = typst.compile
    return made(pdf_files(part), format="pdf", timestamp=part.made)


def pdf_files(part: PersonPart) -> dict[str, bytes]:
    """What typst is given: the template, the content as data, the figures."""
    pictures: dict[str, bytes] = {}
    texts = Texts.of(part.language)
    content = {
        "title": part.title, "kind": texts("person.kind"), "note": part.note, "language": part.language,
        "footer": texts("person.footer", person=part.person, study=part.study) if part.study else part.title,
        "quality": part.quality, "good": part.good, "lead": part.lead, "signs": part.signs,
        "face": _figure(part.face, pictures), "dots": _figure(part.dots, pictures), "cautions": list(part.cautions),
        "sections": [
            {"title": section.title, "blocks": [_block(block, pictures) for block in section.blocks]}
            for section in part.sections
        ],
        "made_by": texts("common.made_by"),
    }  # fmt: skip
    return {
        "main.typ": packaged("person.typ").encode(),
        "content.json": json.dumps(content, ensure_ascii=False).encode(), **pictures,
    }  # fmt: skip


def _figure(one: Picture | None, pictures: dict[str, bytes]) -> Mapping[str, Any] | None:
    return None if one is None else figures_data([one], pictures)[0]


def _block(block: Block | Strips, pictures: dict[str, bytes]) -> Mapping[str, Any]:
    match block:
        case Points():
            return {"kind": block.kind, "texts": [breakable(text) for text in block.texts]}
        case Facts():
            return {"kind": block.kind, "pairs": [list(pair) for pair in block.pairs]}
        case Picture():
            return {"kind": block.kind, "figure": _figure(block, pictures)}
        case Strips():
            return {"kind": block.kind, "figures": figures_data(block.pictures, pictures)}
        case Table():
            return {"kind": block.kind, "title": block.title, "data": table_data(block.frame)}
        case _:
            return {"kind": block.kind, "text": breakable(block.text)}
