import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from mien.reports_app.documents import content_security_policy, study_report
from mien.study.blend_shapes import BILATERAL_NAMES

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Open elements in order, ids, addresses, text; refuses what does not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.addresses, self.shapes, self.headings, self.words = (
            [],
            [],
            [],
            [],
            [],
            [],
            [],
        )
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [given[name] for name in ("src", "href", "xlink:href", "action") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        self.shapes += [given["data-shape"]] if "data-shape" in given else []
        self.headings += [int(tag[1])] if re.fullmatch(r"h[1-6]", tag) else []
        assert not [name for name in given if name.startswith("on") or name == "style"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def _html_of():
    return {}


@pytest.fixture
def html(study, _html_of):
    if "html" not in _html_of:
        _html_of["html"] = study_report("Faces & films", note="All simulated.", **study)
    return _html_of["html"]


def test_the_page_nests_has_one_title_and_headings_without_jumps(html):
    page = Page(html)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.ids) == len(set(page.ids))
    assert page.shapes.count("mouthSmile") == 1
    assert set(page.shapes) == set(BILATERAL_NAMES)


def test_nothing_is_loaded_and_nothing_runs(html):
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "form"} & set(page.tags)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", html)
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert policy.replace("&#39;", "'") == content_security_policy(style)
    assert "unsafe" not in policy
    assert policy.startswith("default-src &#39;none&#39;")


def test_the_page_says_what_a_reader_must_know(html):
    text = " ".join(Page(html).words)
    for words in (
        "Faces & films", "All simulated.", "smile (+0.041)", "no threshold in it has clinical validation",
        "not a diagnosis",
        "change score", "expected number of wrong signs", "32 people", "19–40 years", "16 female", "1 to repeat",
        "moving baseline", "By person", "R-hat", "P(direction)", "Priors", "pymc 6.4.0", "LKJ(2)", "No p-values",
        "Privacy-Preserving Mobile 3D Face Tracking",
    ):  # fmt: skip
        assert words in text, words
    assert "not aligned" not in text


def test_unaligned_clocks_and_failed_checks_stand_at_the_top(study, effects, fit):
    failed = fit.copy()
    failed.attrs = {**fit.attrs, "diagnostics": "failed"}
    bad = effects.assign(
        verdict=["failed" if name == "mouthSmile" else "passed" for name in effects["blend_shape"]]
    )
    changes = {
        "effects": {"valence": bad},
        "fits": {"valence": failed},
        "prep": {**study["prep"], "clock": "assume_aligned"},
    }
    html = study_report("Faces", **{**study, **changes})
    top = html[: html.index('<dl class="facts">')]
    assert "The clocks were not aligned" in top
    assert "The checks of the computation failed" in top
    assert "Smile (mouthSmile): cannot tell: the computation did not pass its checks" in html
    assert "mouthSmile: not estimated" in html


ATTACK = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


def test_hostile_names_are_text(study, participants, stimuli):
    hostile_prep = {
        **study["prep"],
        "by_participant": [{**study["prep"]["by_participant"][0], "participant": ATTACK}],
    }
    reasons = {ATTACK: {"rows": 5, "trials": 1}}
    hostile_prep |= {"by_reason": reasons}
    effects = study["effects"]["valence"]
    contrast = effects.head(1).assign(blend_shape=ATTACK, region="contrast", effect=ATTACK)
    quality = [{**study["quality"][0], "source": ATTACK, "warnings": [ATTACK], "still_shapes": [ATTACK]}]
    html = study_report(
        ATTACK,
        effects={ATTACK: pd.concat([effects, contrast])},
        fits={ATTACK: study["fits"]["valence"]},
        prep=hostile_prep,
        quality=quality,
        participants=participants.assign(sex=ATTACK),
        stimuli=stimuli,
        note=ATTACK,
    )
    page = Page(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "&lt;script&gt;" in html


def test_both_sides_contrasts_and_a_study_without_fits(study, effects, fit, row):
    sided = pd.DataFrame(
        [
            row("mouthSmileLeft", 0.05, 0.004),
            row("mouthSmileRight", 0.03, 0.004),
            row("smile - frown", 0.1, 0.01),
        ]
    )
    prep = {**study["prep"], "recipe_toml": 'sides = "both"'}
    html = study_report("Sides", **{**study, "effects": {"valence": sided}, "prep": prep})
    assert len(set(Page(html).shapes)) == 52
    assert "smile, left" in html
    assert "smile - frown" in html
    bare = study_report("Bare", **{**study, "effects": {}, "fits": {}, "strips": None})
    assert "No effect was fitted" in bare
    assert "Nothing was fitted" in bare


def test_the_same_values_make_the_same_page(study, html):
    assert study_report("Faces & films", note="All simulated.", **study) == html
