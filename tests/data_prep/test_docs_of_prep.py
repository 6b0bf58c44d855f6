"""docs/recipes.md and docs/clocks.md say what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from mien.data_prep.exclusion import REASONS
from mien.data_prep.recipe import Exclusion, Recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.M | re.S)


def test_the_example_is_a_recipe_with_every_key():
    (text,) = blocks("recipes.md", "toml")
    recipe = Recipe.from_toml(text)
    for field in fields(Recipe):
        assert re.search(rf"^(\[{field.name}[\].]|{field.name} = )", text, re.M), field.name
    for field in fields(Exclusion):
        assert f"\n{field.name} = " in text
    assert Recipe(window=(0, "end")) == Recipe()
    default = Recipe(window={"picture": (0, 6)}, contrasts=recipe.contrasts)
    assert recipe == default


@pytest.mark.parametrize("name", ["recipes.md", "clocks.md"])
def test_the_python_runs(name):
    for code in blocks(name, "python"):
        scope = {}
        exec(code, scope)
        if "recipe" in scope:
            assert scope["recipe"] == Recipe.from_toml(blocks(name, "toml")[0])


def test_every_key_and_every_reason_is_explained():
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    for field in fields(Recipe):
        assert f"| `{field.name}` |" in text
    for field in fields(Exclusion):
        assert f"`{field.name}`" in text
    reasons = re.findall(r"^\| `([a-z ]+)` \| `\w+` \|", text.split("## Exclusion")[1], re.M)
    assert tuple(reasons) == REASONS[1:]
