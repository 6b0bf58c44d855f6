"""Parts as HTML: the templates that documents are built from, and their macros one by one for the app.

Texts go through jinja2 with autoescape; only figures made here are placed as markup.
"""

import functools
import re
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["app_style", "environment", "fragment", "packaged"]

# The page's colours by those of the theme that the app's visitor has chosen.
IN_THE_APP = """
:host, .sheet {
  --ink: var(--st-text-color, #21262b); --ground: var(--st-background-color, #ffffff);
  --soft: var(--st-secondary-background-color, #f4f6f7); --grid: var(--st-border-color, #dfe2e4);
  --accent: var(--st-link-color, #144b66); --good: var(--st-green-text-color, #2b6b4f);
  --bad: var(--st-red-text-color, #a33b1f); --warm: var(--st-secondary-background-color, #fdf4ee);
  --muted: color-mix(in srgb, var(--ink) 78%, var(--ground)); --paper: #ffffff;
}
.sheet { color: var(--ink); font: 1rem/1.6 var(--sans); }
.sheet section { border-top: 0; padding: .4rem 0; }
.sheet h2 { font-size: 1.3rem; }
.sheet .canvas { background: #f3f4f4; border-radius: 10px; padding: 1.2rem; color: #21262b;
  --ink: #21262b; --muted: #5d666e; --grid: #dfe2e4; --ground: #f3f4f4; }
"""


@functools.cache
def environment() -> Environment:
    """The templates of documents."""
    return Environment(
        loader=FunctionLoader(packaged),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def packaged(name: str) -> str:
    """A file of the templates' folder."""
    return resources.files("mien.reports_app").joinpath("templates", name).read_text(encoding="utf-8")


def fragment(template: str, macro: str, *arguments: Any) -> Markup:
    """One macro of a template.

    Parameters
    ----------
    template : without its ending, "effects". macro : of it, "effect". arguments : its own, in order.
    """
    return getattr(environment().get_template(f"{template}.html.j2").module, macro)(*arguments)


def app_style() -> str:
    """The documents' style sheet in the colours of the app's theme, which knows light and dark by itself."""
    css = re.sub(
        r"@media \((prefers-color-scheme: dark)\) \{(?:[^{}]|\{[^{}]*\})*\}", "", packaged("style.css")
    )
    return css.replace(":root", ":host") + IN_THE_APP
