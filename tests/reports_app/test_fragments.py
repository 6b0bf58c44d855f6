"""Parts as HTML: escaped, and in the app's colours."""

import pandas as pd
import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from mien.reports_app.fragments import app_style, fragment, packaged


def test_texts_in_a_fragment_are_escaped_and_figures_are_not():
    table = pd.DataFrame({"person": ["<script>alert(1)</script>"], "n": ["1"]})
    html = fragment("table", "table", table, 'caption "quoted" <b>', "plain", 1, [Markup("<svg></svg>")])
    assert isinstance(html, Markup)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<svg></svg>" in html
    assert "&lt;b&gt;" in html


def test_a_missing_value_is_an_error_and_not_an_empty_place():
    with pytest.raises(UndefinedError):
        str(fragment("effects", "course", {}, 1))


def test_the_apps_style_follows_its_theme_and_not_the_machine():
    css = app_style()
    assert ":root" not in css
    assert "prefers-color-scheme" not in css
    assert "prefers-color-scheme" in packaged("style.css")  # what would be found
    assert css.count("{") == css.count("}")
    assert "--ink: var(--st-text-color" in css
    assert "@media print" in css
