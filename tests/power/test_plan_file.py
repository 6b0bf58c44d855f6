"""PLAN.toml: what is read, and one sentence for everything that cannot be."""

import tomllib

import pytest

from mien.power import read_plan
from mien.power.cells import cells_of
from mien.power.plan import Draw
from mien.power.plan_file import plan_of
from mien.power.template import TEMPLATE
from mien.priors import Normal
from mien.study.errors import SpecError


def test_the_template_is_a_plan():
    made = plan_of(tomllib.loads(TEMPLATE))
    assert made.design.participants == (20, 30, 40, 60)
    assert [cell.world for cell in cells_of(made)] == ["null"] * 4 + ["ceiling"] + ["alternative"] * 4


def uncommented() -> str:
    """The template with its examples in."""
    lines = []
    for line in TEMPLATE.splitlines():
        example = line.startswith("# ") and not line.startswith(
            ("# A power", "#  ", "# Numbers", "# simulated", "# frozen")
        )
        lines.append(line[2:] if example else line)
    return "\n".join(lines)


def test_the_template_with_its_examples_is_a_plan_too():
    made = plan_of(tomllib.loads(uncommented()))
    assert [goal.kind for goal in made.goals] == ["direction", "rope", "width", "bayes_factor"]
    assert made.design.covariates == ("empathy",)
    assert made.cost["participant"] == 60
    assert made.analysis.spec.priors["beta"] == Normal(0.0, 0.05)


def test_lists_are_axes_and_tables_are_drawn():
    text = TEMPLATE.replace("valence = 0.03 ", "valence = [0.02, {mean = 0.03, sd = 0.01}] ")
    made = plan_of(tomllib.loads(text))
    assert made.truth.coefficients["valence"] == (0.02, Draw(0.03, 0.01))
    assert made.truth.source == "prior"


BAD = {
    "a list of participants": ("participants = [20, 30, 40, 60]", 'participants = "many"', "whole numbers from 2"),
    "one participant": ("participants = [20, 30, 40, 60]", "participants = [1]", "whole numbers from 2"),
    "zero trials": ("trials = 1", "trials = 0", "design.trials: expected whole numbers from 1"),
    "no stimuli": ("pictures = 20", "pictures = 0", "there would be no trials"),
    "an unknown key": ("pictures = 20", "picturs = 20", "did you mean"),
    "an unknown column": ("formula = \"activation ~ valence +", "formula = \"activation ~ valenc +", "did you mean"),
    "an effect beyond the scale": ("valence = 0.03 ", "valence = 30 ", "are these percent, or standardised?"),
    "an effect that is not there": ('effect = "valence"\nprob', 'effect = "medium"\nprob', "medium"),
    "a true value of nothing": ("Intercept = 0.05", "arousal = 0.05", "truth.coefficients"),
    "an sd that is missing": ('"1|stimulus" = 0.02', "", "expected the sd of every group term"),
    "an sd of nothing": ('"1|stimulus" = 0.02', '"1|stimulus" = 0.02\n"1|session" = 0.1', "truth.sds"),
    "a negative sd": ('"1|stimulus" = 0.02', '"1|stimulus" = -0.02', "expected a number from 0"),
    "a probability of 50 %": ("probability = 0.975", "probability = 0.5", "above 0.5"),
    "an unknown kind": ('kind = "direction"', 'kind = "p-value"', "expected one of direction"),
    "a wrong wish": ("probability = 0.975", 'wanted = "negative"', "right for some assumed truth"),
    "code in a formula": ("(1 | stimulus)\"", "(1 | stimulus) + __import__('os').system('id')\"", "formula"),
    "an unknown cost": ("target = 0.8", "target = 0.8\n[cost]\nhour = 3", "expected one of participant"),
    "a target of 1": ("target = 0.8", "target = 1.0", "budget.target"),
    "too many cells": ("participants = [20, 30, 40, 60]", f"participants = {[*range(2, 2103)]}", "at most 2000 cells"),
    "two priors": ("# [analysis.priors]", 'frozen = "no.json"\n[analysis.priors]\nbeta = "Normal(0, 1)"', "found both"),
    "no frozen file": ("# [analysis.priors]", 'frozen = "no.json"', "frozen priors"),
    "a bad prior": ("# [analysis.priors]", '[analysis.priors]\nbeta = "Normal(0, -1)"', "sd"),
    "not TOML": ("name = \"smile\"", "name = smile", "expected TOML"),
}  # fmt: skip


@pytest.mark.parametrize("which", BAD)
def test_bad_plans_are_told_in_one_sentence(which, tmp_path):
    before, after, told = BAD[which]
    assert before in TEMPLATE
    path = tmp_path / "plan.toml"
    path.write_text(TEMPLATE.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(SpecError) as error:
        read_plan(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert told in message, message
    assert "\n" not in message.strip() or which == "not TOML"


def test_contradictory_goals(tmp_path):
    twice = TEMPLATE + TEMPLATE[TEMPLATE.index("[[goals]]") : TEMPLATE.index("# [[goals]]")]
    with pytest.raises(SpecError, match="different names"):
        plan_of(tomllib.loads(twice))
    accept = TEMPLATE.replace('kind = "direction"', 'kind = "rope"\nrope = [-0.01, 0.01]\nwanted = "accept"')
    with pytest.raises(SpecError, match=r"right for some assumed truth, found 'accept' with valence = 0\.03"):
        plan_of(tomllib.loads(accept))
    empty = TEMPLATE.replace('kind = "direction"', 'kind = "rope"\nrope = [0.01, -0.01]')
    with pytest.raises(SpecError, match="the lower first"):
        plan_of(tomllib.loads(empty))


def test_no_such_file(tmp_path):
    with pytest.raises(SpecError, match="mien power init"):
        read_plan(tmp_path / "none.toml")


def test_two_beliefs_about_one_value_are_not_told_apart():
    text = TEMPLATE.replace("valence = 0.03 ", "valence = [{mean = 0.03, sd = 0.01}, 0.03] ")
    with pytest.raises(SpecError, match=r"expected different values, found \[0\.03, 0\.03\]"):
        plan_of(tomllib.loads(text))


def test_no_more_shapes_are_asked_for_than_have_the_effect():
    text = (
        TEMPLATE.replace("probability = 0.975", "at_least = 3") + "\n[shapes]\ncount = 5\nwith_effect = 2\n"
    )
    with pytest.raises(SpecError, match="at most the 2 shapes that have the effect, found 3"):
        plan_of(tomllib.loads(text))
