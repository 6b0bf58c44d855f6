"""One person's report as a file: a page that loads nothing, a PDF with one page in front, and the command."""

import json
import re
import sys
import time

import pytest
import typst

from mien.cli import main
from mien.models import load
from mien.reports_app import person_document
from mien.reports_app.documents import content_security_policy
from mien.reports_app.figures.quantile_dots import DotRow, quantile_dots
from mien.reports_app.person_document import (
    part_of_study,
    pdf_files,
    person_document_html,
    person_document_pdf,
    write_person_report,
)
from mien.reports_app.power_blocks import Section, picture
from mien.reports_app.texts import LANGUAGES, Texts
from mien.simulation.design import Design
from mien.simulation.study import write_raw_study
from mien.study.blend_shapes import BILATERAL_NAMES
from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.workflow.fitting import fit_study
from mien.workflow.importing import import_recordings
from mien.workflow.preparing import prepare_and_store
from mien.workflow.sessions import read_sessions
from mien.workflow.templates import new_study
from tests.reports_app.pages import Page

EVIL = '<script>alert(1)</script> #eval("1+1") *bold* $x$ [a] @ref'


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small fitted study of simulated takes."""
    folder = tmp_path_factory.mktemp("person")
    design = Design(participants=6, pictures_per_valence=8, films_per_valence=2, picture_s=2.0, film_s=3.0)
    write_raw_study(folder / "raw", design, seed=2, workers=1)
    made = new_study(folder / "study")
    for name in ("participants.tsv", "stimuli.tsv"):
        target = made.path / ("stimuli" if name == "stimuli.tsv" else "") / name
        target.write_bytes((folder / "raw" / name).read_bytes())
    import_recordings(made.path, read_sessions(folder / "raw" / "sessions.tsv"))
    made = Study(made.path)
    prepare_and_store(made)
    fit_study(made, "valence", shapes=("mouthSmile", "mouthFrown", "browDown"), draws=100)
    return made


@pytest.fixture(scope="module")
def parts(study):
    return {language: part_of_study(study, "02", Texts.of(language)) for language in LANGUAGES}


@pytest.fixture(scope="module")
def evil(parts):
    """A part with markup of both kinds wherever a text can come from a study."""
    part = parts["en"]
    recordings = next(one for one in part.sections if one.title == "Recordings")
    block = recordings.blocks[0]
    bad = block._replace(frame=block.frame.assign(warnings=EVIL))
    sections = [
        one._replace(blocks=[bad, *one.blocks[1:]]) if one is recordings else one for one in part.sections
    ]
    return part._replace(study=EVIL, note=EVIL, sections=sections)


def pages(part):
    """The PDF's pages as small pictures."""
    made = typst.compile(pdf_files(part), format="png", ppi=20.0)
    return made if isinstance(made, list) else [made]


# The page


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_stands_alone_in_its_language(parts, language):
    document = person_document_html(parts[language])
    page = Page(document)
    assert f'<html lang="{language}">' in document
    assert "script" not in page.tags
    assert not re.search(r'(src|href)="(?!#|data:)', document)
    policy = content_security_policy(document.partition("<style>")[2].partition("</style>")[0])
    assert policy in document.replace("&#39;", "'")
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert len(page.ids) == len(set(page.ids))
    assert (
        document.count("<svg")
        == document.count("<svg ")
        == len(re.findall(r"<svg[^>]*aria-label=\"[^\"]", document))
    )
    order = [
        parts[language].quality,
        parts[language].lead,
        parts[language].face.caption,
        parts[language].sections[0].title,
    ]
    found = [page.text.index(re.sub(r"\s+", " ", text)) for text in order]
    assert found == sorted(found)


def test_the_face_keeps_its_colours_on_a_dark_page(parts):
    face = parts["en"].face
    assert '"#ffffff"' in face.svg
    assert "var(--ground" not in face.svg
    assert "var(--ink" in parts["en"].dots.svg  # charts follow the page


def test_texts_from_a_study_are_shown_and_not_run(evil):
    document = person_document_html(evil)
    assert "<script" not in document
    assert "&lt;script&gt;alert(1)" in document
    assert Page(document).text.count('#eval("1+1") *bold*') >= 3


# The PDF


def worst(part):
    """A front with the longest texts that there can be: names, cautions, eight movements."""
    texts = Texts.of(part.language)
    names = sorted((texts.movement(name) for name in BILATERAL_NAMES), key=len)[-8:]
    few = [texts("person.and_more", list=", ".join(some), n=9) for some in (names[:4], names[4:])]
    told = "; ".join([texts("person.more", list=few[0]), texts("person.less", list=few[1])])
    ages = {"low": "18", "high": "99"}
    cautions = [
        *part.cautions[:2], texts("person.reference_out", n=19, ages=texts("person.reference_ages", **ages)),
        texts("person.reference_norms_fixed"), texts("person.reference_outside", person="patient12", age="7", **ages),
        texts("person.reference_few", n=19), texts("person.reference_alike", list="age and empathy"),
        texts("person.reference_groups", list="10 controls and 9 patients"),
    ]  # fmt: skip
    rows = [DotRow(name, [0.5] * 20, 0.4, 0.6, 0.5) for name in names]
    chart = quantile_dots(rows, axis=texts("person.dots_axis"), ends=(texts("person.dots_from"), "100"))
    return part._replace(
        lead=texts("person.lead", count=26, total=29, person="patient12", told=told), cautions=cautions,
        note=texts("person.simulated"), quality=part.quality.replace("8", "a hundred and eight"),
        signs=texts.counted("person.wrong_signs", 26, expected="0.99"),
        dots=picture(chart, "dots", "dots", part.dots.caption),
    )  # fmt: skip


def end_of_front(files):
    """Page, and how far down it (mm)."""
    found = json.loads(typst.query(files, "<front-end>", field="value", one=True))
    return found["page"], float(found["y"].removesuffix("pt")) / 72 * 25.4


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_page_in_front_and_details_behind(parts, language):
    part = parts[language]
    for one in (part, worst(part), part._replace(face=None, dots=None, good=False, lead="Cannot tell.")):
        page, down = end_of_front(pdf_files(one))
        assert page == 1
        assert down < 297 - 18
        assert len(pages(one)) >= 3


def test_saboteur_without_setting_it_smaller_a_long_front_leaves_its_page(parts):
    part = worst(parts["de"])
    part = part._replace(lead=part.lead * 3)
    files = pdf_files(part)
    assert end_of_front(files)[1] < 297 - 18
    unscaled = files["main.typ"].replace(b"calc.min(1, size.height / natural * 0.99)", b"1")
    page, down = end_of_front(files | {"main.typ": unscaled})
    assert page > 1 or down > 297 - 18


def test_pictures_higher_than_a_page_are_fitted_into_it(parts):
    """52 movements: a row each, and a page has room for about forty."""
    rows = [DotRow(f"movement {i}", [0.5] * 20, 0.4, 0.6, 0.5) for i in range(60)]
    tall = picture(quantile_dots(rows, axis="percentile", small=True), "all", "all", "60 rows")
    part = parts["en"]
    files = pdf_files(part._replace(sections=[Section("Reactivity", [tall])], face=None, dots=None))
    assert tallest(files) < 297 / 25.4 * 72 - 100
    assert tallest(files | {"main.typ": files["main.typ"].replace(b"242mm", b"999mm")}) > 1000  # saboteur


def tallest(files):
    """Height of the highest picture on the pages, pt."""
    made = typst.compile(files, format="svg")
    drawn = b"".join(made if isinstance(made, list) else [made]).decode()
    return max(float(one) for one in re.findall(r'<image[^>]* height="([\d.]+)"', drawn))


def test_the_same_report_gives_the_same_bytes_in_time(parts):
    before = time.perf_counter()
    made = person_document_pdf(parts["en"])
    assert time.perf_counter() - before < 3.0
    assert made.startswith(b"%PDF")
    assert made == person_document_pdf(parts["en"])


def test_markup_in_texts_stays_text_in_the_pdf(evil):
    files = pdf_files(evil)
    assert EVIL in json.loads(files["content.json"])["note"]
    assert b"eval" not in files["main.typ"]
    assert person_document_pdf(evil).startswith(b"%PDF")  # typst would stop at an unknown reference


# From a study


@pytest.fixture
def undrawn(monkeypatch, parts):
    monkeypatch.setattr(person_document, "part_of_study", lambda study, person, texts: parts[texts.language])


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["mien", "report", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code or 0


@pytest.mark.parametrize(("kind", "language"), [("html", "de"), ("pdf", "en")])
def test_the_command_writes_the_file_and_says_where(
    study, tmp_path, monkeypatch, capsys, undrawn, kind, language
):
    out = tmp_path / "new" / f"one.{kind}"
    arguments = ("--participant", "02", "--format", kind, "--language", language, "--out", out)
    assert run(monkeypatch, study.path, *arguments) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert out.read_bytes()[:5] in (b"<!doc", b"%PDF-")


def test_a_report_lies_with_the_others_by_default(study, undrawn):
    path = write_person_report(study, "sub-02")
    assert path == study.derivatives / "reports" / "sub-02.html"
    assert path.exists()


BAD = {
    "person": (("--participant", "99"), "expected a person of"),
    "near": (("--participant", "O2"), "found 'O2'"),
    "kind": (("--participant", "02", "--format", "docx"), "format: expected one of html, pdf, found 'docx'"),
    "language": (("--participant", "02", "--language", "fr"), "language: expected one of en, de, found 'fr'"),
    "alone": (("--format", "pdf"), "expected --participant beside --format"),
}


@pytest.mark.parametrize("why", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(study, monkeypatch, capsys, why):
    arguments, message = BAD[why]
    assert run(monkeypatch, study.path, *arguments) == 2
    said = capsys.readouterr()
    told = " ".join((said.err + said.out).split())
    assert message in told
    assert "Traceback" not in told


def test_a_study_without_a_fit_or_with_one_of_other_trials_is_refused(study, tmp_path, monkeypatch):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(study.path, other)
    prep = other / "derivatives" / "mien" / "prep.json"
    stored = json.loads(prep.read_text(encoding="utf-8"))
    prep.write_text(json.dumps(stored | {"recipe_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(StudyError, match=r"found one of another recipe: run `mien fit"):
        part_of_study(Study(other), "02", Texts.of("en"))
    shutil.rmtree(other / "derivatives" / "mien" / "fits")
    with pytest.raises(StudyError, match=r"expected a valence fit, found none: run `mien fit"):
        part_of_study(Study(other), "02", Texts.of("en"))


def test_decisions_of_the_study_are_those_of_the_report(study, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(study.path, other)
    (other / "mien.toml").write_text("[decisions]\nvalid_trials = 99\n", encoding="utf-8")
    part = part_of_study(Study(other), "02", Texts.of("en"))
    assert "at least 99 of each are asked for" in part.lead
    assert part.face is None


def test_a_report_reads_the_newest_fit_and_counts_its_people(study, parts):
    from mien.workflow.fitting import newest_fits

    fit = load(newest_fits(study)["valence"])
    assert f"{fit['posterior'].sizes['participant']} people of this study" in " ".join(parts["en"].cautions)
    assert parts["en"].made > 0
