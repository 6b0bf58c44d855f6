from dataclasses import replace

import numpy as np
import pytest

from mien.simulation.design import small_design, stimuli_of
from mien.simulation.people import course, draw_person, draw_stimulus_effects, ratings, reactions
from mien.simulation.truth import default_truth
from mien.study.blend_shapes import BILATERAL_NAMES

SMILE, FROWN, JAW = (BILATERAL_NAMES.index(name) for name in ("mouthSmile", "mouthFrown", "jawForward"))


def quiet_truth():
    """No random term but the person's reactivity."""
    truth = default_truth()
    zero = dict.fromkeys(("slope_sd", "stimulus_sd", "trial_sd", "arousal"), 0.0)
    return replace(truth, shapes=tuple(replace(one, **zero) for one in truth.shapes), intercept_sd=0.0)


def test_a_reaction_without_noise_is_the_gain_times_reactivity(rng):
    truth, design = quiet_truth(), small_design()
    stimuli = stimuli_of(design)
    person = draw_person(truth, rng)
    effects = draw_stimulus_effects(design, truth, rng)
    positive = next(one for one in stimuli if one.valence == "positive" and one.medium == "film")
    first = reactions(person, [positive], effects, truth, rng)[0]
    assert first[SMILE] == pytest.approx(0.5 * 1.67 * person.reactivity)
    assert first[FROWN] == pytest.approx(0.5 * -0.67 * person.reactivity)
    assert first[JAW] == 0.0


def test_reactions_habituate_to_the_floor(rng):
    truth, design = quiet_truth(), small_design()
    film = stimuli_of(design)[-1]
    person = draw_person(truth, rng)
    size = reactions(person, [film] * 200, draw_stimulus_effects(design, truth, rng), truth, rng)[:, SMILE]
    assert np.all(np.diff(size) <= 0) == (person.reactivity > 0)
    assert size[-1] / size[0] == pytest.approx(0.65, abs=1e-3)


def test_a_reaction_begins_after_its_latency_and_ends_after_the_stimulus():
    truth = default_truth()
    time = np.array([-1.0, 0.0, 0.54, 1.6, 4.9, 8.0])
    height = course(time, 5.0, 0.55, truth)
    assert np.all(height[:3] == 0)
    assert height[3] > 0.8
    assert height[3] > height[4] > 0.5
    assert height[5] < 0.001


def test_shapes_of_one_synergy_correlate_by_their_loadings(rng):
    truth = default_truth()
    tones = np.array([draw_person(truth, rng).tone for _ in range(4000)])
    smile, cheek = SMILE, BILATERAL_NAMES.index("cheekSquint")
    assert np.corrcoef(tones[:, smile], tones[:, cheek])[0, 1] == pytest.approx(0.75 * 0.65, abs=0.05)
    assert np.corrcoef(tones[:, smile], tones[:, JAW])[0, 1] == pytest.approx(0.0, abs=0.05)


def test_reactivity_goes_with_empathy_and_against_age(rng):
    people = [draw_person(default_truth(), rng) for _ in range(4000)]
    reactivity = np.array([person.reactivity for person in people])
    traits = {name: [person.traits[name] for person in people] for name in ("empathy_affective", "age")}
    assert reactivity.mean() == pytest.approx(1.0, abs=0.03)
    assert reactivity.std() == pytest.approx(0.4, abs=0.03)
    assert np.corrcoef(reactivity, traits["empathy_affective"])[0, 1] > 0.4
    assert np.corrcoef(reactivity, traits["age"])[0, 1] < -0.1


def test_ratings_are_whole_points_and_go_with_the_reaction_shown(rng):
    truth, design = default_truth(), small_design()
    stimuli, effects = stimuli_of(design), draw_stimulus_effects(design, truth, rng)
    points, smiles = [], []
    for _ in range(200):
        person = draw_person(truth, rng)
        size = reactions(person, stimuli, effects, truth, rng)
        points.append(ratings(person, stimuli, size, effects, truth, rng))
        smiles.append(size[:, SMILE] * [one.sign for one in stimuli])
    assert set(np.unique(points)) <= set(range(10))
    assert np.corrcoef(np.ravel(points), np.ravel(smiles))[0, 1] > 0.1
