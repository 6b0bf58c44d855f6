from dataclasses import replace

import numpy as np
import pytest

from mien.data_prep.recipe import Recipe
from mien.simulation.design import Design, demo_design, quick_design, small_design
from mien.simulation.outcome_truth import STORED, _stored, fingerprint, outcome_truth, replay
from mien.simulation.truth import default_truth
from mien.study.blend_shapes import BILATERAL_NAMES
from mien.study.errors import StudyError

DESIGNS = {"demo": demo_design(), "small": small_design()}
AGAIN = "count it again: python -m mien.simulation.outcome_truth"


@pytest.fixture(scope="module")
def demo():
    return outcome_truth(demo_design())


@pytest.mark.parametrize("name", DESIGNS)
def test_the_stored_truth_is_of_this_design_generator_and_recipe(name):
    stored = _stored()[name]["fingerprint"]
    assert stored == fingerprint(DESIGNS[name], default_truth(), Recipe()), f"{STORED} is stale; {AGAIN}"


@pytest.mark.parametrize("name", DESIGNS)
def test_the_first_persons_give_the_same_numbers_again(name):
    again = replay(DESIGNS[name], default_truth(), Recipe())
    assert again == pytest.approx(_stored()[name]["replay"], abs=1e-6), f"{STORED} is stale; {AGAIN}"


def test_a_changed_latent_number_recipe_or_session_is_found_out():
    stored = _stored()["small"]
    truth, design = default_truth(), small_design()
    louder = replace(truth, shapes=tuple(replace(one, wander=1.1 * one.wander) for one in truth.shapes))
    assert fingerprint(design, louder, Recipe())["latent"] != stored["fingerprint"]["latent"]
    assert (
        fingerprint(design, truth, Recipe(baseline=(-0.5, 0.0)))["recipe"] != stored["fingerprint"]["recipe"]
    )
    assert (
        fingerprint(replace(design, film_s=9.0), truth, Recipe())["session"]
        != stored["fingerprint"]["session"]
    )
    assert np.abs(replay(design, louder, Recipe()) - stored["replay"]).max() > 1e-4


def test_standardised_effects_are_near_the_abstracts(demo):
    assert demo.loc["mouthSmile", "beta"] == pytest.approx(0.241, abs=0.012)
    assert demo.loc["mouthFrown", "beta"] == pytest.approx(-0.131, abs=0.012)
    assert (demo["beta"].abs() < 0.16).drop("mouthSmile").all()


def test_more_than_two_thousand_persons_make_the_error_small(demo):
    assert all(2 * entry["pairs"] >= 2_000 for entry in _stored().values())
    assert list(demo.index) == list(BILATERAL_NAMES)
    assert (demo["mc_se"] / 2 / demo["sd_y"]).max() < 0.006


def test_exact_nulls_are_null_within_their_error(demo):
    null = demo[(demo["latent_gain_picture"] == 0) & (demo["latent_gain_film"] == 0)]
    z = null["contrast"] / null["mc_se"]
    assert len(null) == 21
    assert z.abs().max() < 4
    assert z.std() == pytest.approx(1.0, abs=0.5)


def test_films_move_positive_expressions_more_than_pictures(demo):
    shapes = ["mouthSmile", "cheekSquint", "mouthDimple", "mouthUpperUp", "mouthLowerDown"]
    error = np.hypot(demo["film_mc_se"], demo["picture_mc_se"])
    assert ((demo["film"] - demo["picture"]) / error)[shapes].min() > 4


def test_the_latent_gain_is_not_the_outcomes_truth(demo):
    wander = dict(zip(BILATERAL_NAMES, default_truth().column("wander"), strict=True))
    latent = 0.75 * demo["latent_gain_picture"] + 0.25 * demo["latent_gain_film"]
    ratio = demo.loc["mouthSmile", "contrast"] / (latent["mouthSmile"] * wander["mouthSmile"])
    assert 0.2 < ratio < 0.6


def test_quick_and_small_share_a_session_and_others_have_no_truth():
    assert outcome_truth(quick_design()).equals(outcome_truth(small_design()))
    with pytest.raises(StudyError, match="count its truth"):
        outcome_truth(Design(picture_s=7.0))
