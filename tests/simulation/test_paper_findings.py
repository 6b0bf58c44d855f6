"""The paper's findings: the stored truth is of this generator, agrees with another count, can be counted again."""

import json
from importlib import resources

import numpy as np
import pytest

from mien.data_prep.recipe import Recipe
from mien.simulation.design import demo_design
from mien.simulation.outcome_truth import fingerprint, outcome_truth
from mien.simulation.paper_findings import FINDINGS, FIRST_SEED, SHAPES, paper_truth, study_effects
from mien.simulation.trials import simulate_trials
from mien.simulation.truth import default_truth


@pytest.fixture(scope="module")
def stored():
    return json.loads(resources.files("mien.simulation").joinpath("paper_truth.json").read_text())


def test_the_stored_truth_is_of_this_generator(stored):
    assert stored["fingerprint"] == fingerprint(demo_design(), default_truth(), Recipe())
    assert len(stored["effects"]) == len(FINDINGS) * len(SHAPES)


def distances(valence):
    """Between two counts of the valence effect, in Monte-Carlo errors; one of them from thousands of pairs."""
    other = outcome_truth(demo_design()).loc[list(SHAPES)]
    error = np.hypot(valence["truth_mc_se"].to_numpy(), other["mc_se"].to_numpy())
    return (valence["truth"].to_numpy() - other["contrast"].to_numpy()) / error


def test_both_counts_of_the_valence_effect_agree():
    truth = paper_truth()
    valence = truth[truth["finding"] == "valence"].set_index("blend_shape").loc[list(SHAPES)]
    assert np.abs(distances(valence)).max() < 4
    half = valence.assign(truth=valence["truth"] / 2)  # as it would be with a coding of -1, +1
    assert np.abs(distances(half)).max() > 4


def test_directions_are_those_of_the_latent_weights():
    truth = paper_truth().set_index(["finding", "blend_shape"])["truth"]
    smile = truth.xs("mouthSmile", level="blend_shape")
    assert (smile[["valence", "medium", "ratings", "questionnaire"]] > 0).all()
    assert (smile[["over trials", "age", "sex"]] < 0).all()  # sex is M - F
    frown = truth.xs("mouthFrown", level="blend_shape")
    assert (np.sign(frown) == -np.sign(smile)).all()


@pytest.mark.slow
def test_the_first_study_is_counted_alike(stored):
    made = simulate_trials(demo_design(), seed=FIRST_SEED)
    np.testing.assert_allclose(
        study_effects(made.trials, made.participants), stored["first"], rtol=1e-4, atol=1e-7
    )
