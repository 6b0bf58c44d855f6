"""Trials under many recipes at once are those of each recipe alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mien.data_prep.many_recipes import prepare_under, put_together_under
from mien.data_prep.recipe import Exclusion, Recipe
from mien.data_prep.trials import finish, prepare_recording
from mien.study.errors import StudyError
from mien.study.recording import arrays_of

RECIPES = [
    Recipe(),
    Recipe(baseline=(-0.5, 0)),
    Recipe(window=(0.5, "end"), bin=0.25),
    Recipe(baseline_correction="none", scaling="within_person"),
    Recipe(sides="both", exclusion=Exclusion(tracking_lost=0.9, too_few_frames=0.9)),
    Recipe(baseline_correction="neutral", exclusion=Exclusion(moving_baseline=None, outlier_mad=1.0)),
]
ONLY = {"mean": ["mouthSmile", "browDown"], "both": ["mouthSmileLeft"]}


def still(time, values):
    """Long stretches in which one shape does not move at all, while the others do."""
    values[(time > 3) & (time < 5), 0] = 0.25
    values[(time > 10.2) & (time < 10.9)] = values[700]  # frozen as a whole


@pytest.fixture
def both_ways(make, events, stimuli, recording_id):
    """(trials of all recipes at once, trials of each recipe alone), with what the others lack cut out."""
    people = [recording_id._replace(participant=name) for name in ("01", "02")]
    recordings = [make(still, seed=seed) for seed in (1, 2)]
    decided = [
        prepare_under(
            RECIPES, arrays_of(recording), events, stimuli, recording_id=person, only=ONLY, aligned=True, first_trial=3
        )
        for person, recording in zip(people, recordings, strict=True)
    ]  # fmt: skip
    alone = []
    for recipe in RECIPES:
        tables = [
            prepare_recording(
                recording, events, stimuli, recipe, recording_id=person, aligned=True, first_trial=3
            ).trials
            for person, recording in zip(people, recordings, strict=True)
        ]
        trials, _ = finish(tables, recipe)
        alone.append(trials[trials["blend_shape"].isin(ONLY[recipe.sides])].reset_index(drop=True))
    return put_together_under(RECIPES, decided), alone


def test_many_recipes_at_once_give_what_each_gives_alone(both_ways):
    for together, alone in zip(*both_ways, strict=True):
        shapes = list(together["blend_shape"].cat.categories)
        only = alone.assign(blend_shape=alone["blend_shape"].cat.set_categories(shapes))
        pd.testing.assert_frame_equal(together, only)
    assert any((together["excluded"] != "").any() for together in both_ways[0])


def test_the_comparison_sees_another_recipe(both_ways):
    together, alone = both_ways
    assert not np.allclose(together[1]["activation"], alone[0]["activation"])


def test_unaligned_events_are_refused_by_the_recipe_that_wants_them_aligned(
    make, events, stimuli, recording_id
):
    recipes = [replace(RECIPES[0], clock="assume_aligned"), RECIPES[0]]
    with pytest.raises(StudyError, match="mien align"):
        prepare_under(recipes, arrays_of(make()), events, stimuli, recording_id=recording_id, only=ONLY)
