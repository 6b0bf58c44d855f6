"""Priors as a page and as a PDF: the same content, texts as data, nothing loaded, the same bytes again."""

import json
import re

import numpy as np
import pytest
import typst

import mien
from mien.models import power_scaling, prior_widths, valence
from mien.priors import Entry, Normal, Source
from mien.reports_app.barg import BargItem, Evidence, barg
from mien.reports_app.documents import content_security_policy
from mien.reports_app.prior_document import (
    barg_rows,
    prior_document_html,
    prior_document_pdf,
)
from mien.reports_app.prior_part import prior_part
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.simulation.prior_predictive import prior_predictive
from tests.reports_app.pages import Page

SHAPES = ("mouthSmile", "mouthFrown", "browInnerUp")
EVIL = '<script>alert(1)</script> #eval("1+1") *bold* $x$ _u_ `raw` = head #panic("x") \\ [a] @ref'
READ = Entry(
    "own/read", "1", "beta", Normal(0.0, 0.2), "raw", "none",
    Source("literature", f"because {EVIL}", doi="10.1000/<b>", sentence=f"We read {EVIL}."),
)  # fmt: skip


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(4)
    return simulate_factors(
        draw_truth(rng, shapes=SHAPES, factors=1, between=1), rng, participants=8, stimuli=8
    ).trials


@pytest.fixture(scope="module")
def fit(trials):
    return mien.fit(valence(priors={"valence": READ}), trials, draws=200, seed=1)


@pytest.fixture(scope="module")
def tables(fit):
    return {"scaling": power_scaling(fit), "widths": prior_widths(fit, "valence")}


@pytest.fixture(scope="module")
def parts(fit, tables, trials):
    checked = prior_predictive(valence(priors={"valence": READ}), trials, draws=60)
    return [prior_part("valence", fit, predictive=checked, **tables), prior_part("valence-again", fit)]


@pytest.fixture(scope="module")
def items(fit, tables):
    found = barg(Evidence({"valence": fit}, **{name: {"valence": table} for name, table in tables.items()}))
    return [*found, BargItem("Reproducibility", "", f"Own {EVIL}", "asked?", "done", EVIL)]


@pytest.fixture(scope="module")
def html(parts, items):
    return prior_document_html(parts, items, f"A study {EVIL}", note=f"Note {EVIL}")


@pytest.fixture(scope="module")
def printed(parts, items):
    """The PDF, and the files that typst was given."""
    given = {}
    original = typst.compile

    def seen(files, **settings):
        given.update(files)
        return original(files, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typst, "compile", seen)
        pdf = prior_document_pdf(parts, items, f"A study {EVIL}", note=f"Note {EVIL}")
    return pdf, given


def texts_of(value):
    """Every text in JSON data."""
    if isinstance(value, str):
        return [value.replace("\u200b", "")]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in texts_of(part)]


# The page


def test_the_page_nests_and_has_no_script(html):
    page = Page(html)
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_nothing_is_loaded_and_the_policy_is_the_reports(html):
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert f'content="{content_security_policy(style)}"'.replace("'", "&#39;") in html
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", html)


def test_texts_of_people_are_escaped(html):
    assert "<script>" not in html
    assert "alert(1)" in html
    assert EVIL in Page(html).text


def test_the_sentence_that_was_read_stands_with_its_doi(html):
    assert re.search(r"Read: “ ?We read .*?” \(doi:10\.1000/<b>\)", Page(html).text)


def test_every_item_has_its_status_in_words_and_as_a_symbol(html, items):
    text = Page(html).text
    for one in barg_rows(items):
        assert one.symbol == {"done": "✓", "not done": "✗", "not applicable": "–"}[one.status]
        assert f"{one.symbol} {one.status}" in text
    assert f"Of {len(items)} items of the Bayesian Analysis Reporting Guidelines" in text
    counts = [sum(one.status == status for one in items) for status in ("done", "not done", "not applicable")]
    assert f"{counts[0]} are done, {counts[1]} not done and {counts[2]} not applicable" in text


def test_what_was_not_done_stands_there_with_its_command(html):
    text = Page(html).text
    assert text.count("Not done: it was not looked at what these priors expect before the data") == 1
    assert "mien priors check STUDY --model valence" in text
    assert text.count("mien priors sensitivity STUDY --model valence-again") == 2


def test_without_fits_and_items_there_is_still_a_page():
    page = Page(prior_document_html([], [], "Empty"))
    assert "No model was fitted" in page.text
    assert "reporting guidelines" not in page.text


# The PDF


def test_the_pdf_is_one_and_has_pages(printed):
    pdf, files = printed
    assert pdf.startswith(b"%PDF-")
    pages = typst.compile(files, format="png", ppi=10)
    assert isinstance(pages, list)
    assert len(pages) >= 4


def test_the_same_parts_give_the_same_bytes_dated_by_the_fit(parts, items, printed, fit):
    assert prior_document_pdf(parts, items, f"A study {EVIL}", note=f"Note {EVIL}") == printed[0]
    day = str(fit.attrs["created"])[:10].replace("-", "")
    assert f"D:{day}".encode() in printed[0]


def test_texts_come_to_typst_as_data_only(printed):
    files = printed[1]
    template = files["main.typ"].decode()
    assert "alert(1)" not in template
    assert EVIL in json.loads(files["content.json"])["title"]
    assert set(files) - {"main.typ", "content.json"} == {
        f"figure{number}.svg" for number in range(len(files) - 2)
    }
    assert "@preview" not in template
    assert "http" not in template


def test_typst_sets_the_text_as_it_stands(printed):
    headings = json.loads(typst.query(printed[1], "heading", field="body"))
    assert headings[0] == {"func": "text", "text": f"A study {EVIL}"}


def test_a_text_that_were_markup_would_stop_it():
    """The saboteur of the two above: what these texts do where they are pasted."""
    with pytest.raises(RuntimeError):
        typst.compile({"main.typ": f"= A study {EVIL}".encode()}, format="pdf")


def test_pictures_are_in_the_inks_and_type_of_the_print(printed):
    pictures = [content.decode() for name, content in printed[1].items() if name.endswith(".svg")]
    assert len(pictures) == 6
    assert not [svg for svg in pictures if "var(--" in svg or "system-ui" in svg]


def test_page_and_pdf_have_the_same_content(html, printed):
    """Every text that the PDF gets stands in the page; the hash, which the page shortens, is its title there."""
    content = json.loads(printed[1]["content.json"])
    content["parts"] = [part | without_files(part) for part in content["parts"]]
    assert not lacking(content, html)
    assert lacking(
        content, html.replace("Sensitivity", "").replace("prior–data conflict", "")
    )  # the saboteur


def lacking(content, html):
    text = re.sub(r"\s+", "", Page(html).text) + "".join(re.findall(r'title="([0-9a-f]{64})"', html))
    return [one for one in texts_of(content) if re.sub(r"\s+", "", one) not in text]


def without_files(part):
    expected = {**part["expected"], "figures": [one["caption"] for one in part["expected"]["figures"]]}
    robustness = [
        {**one, "figures": [each["caption"] for each in one["figures"]]} for one in part["robustness"]
    ]
    return {"expected": expected, "robustness": robustness}


def test_an_empty_document_can_be_printed():
    assert prior_document_pdf([], [], "Empty").startswith(b"%PDF-")
