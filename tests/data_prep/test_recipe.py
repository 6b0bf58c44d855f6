"""Recipes: one meaning, one hash; anything else is refused with file, key and the nearest valid word."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data_prep.recipe import Exclusion, Recipe
from mien.study.blend_shapes import BILATERAL_NAMES, NAMES
from mien.study.errors import MienError, SpecError

FULL = """
baseline_correction = "neutral"
neutral = "neutral_trials"
bin = 0.25
clock = "assume_aligned"
scaling = "within_person"
sides = "both"
baseline = [-0.5, 0]

[window]
picture = [0, 6]
film = [1.5, "end"]
task-rest = [0, 30]

[exclusion]
moving_baseline = "off"
outlier_mad = 6
previous_stimulus = false

[contrasts."smile - frown"]
mouthSmileLeft = 1
mouthFrownLeft = -1
"""

numbers = st.floats(0.5, 1e4)
windows = st.tuples(st.floats(0, 0.4), st.one_of(numbers, st.just("end")))
recipes = st.builds(
    Recipe,
    window=st.one_of(windows, st.dictionaries(st.sampled_from(["picture", "film", "task-met"]), windows)),
    baseline=st.tuples(st.floats(-10, -0.1), st.floats(-0.05, 0)),
    bin=st.floats(0.01, 10),
    baseline_correction=st.sampled_from(["subtract", "none", "neutral"]),
    sides=st.sampled_from(["mean", "both"]),
    contrasts=st.dictionaries(
        st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1).filter(
            lambda name: name.strip() and name not in (*NAMES, *BILATERAL_NAMES)
        ),
        st.dictionaries(st.sampled_from(["jawOpen", "tongueOut"]), st.floats(0.1, 9), min_size=1),
        max_size=2,
    ),
    exclusion=st.builds(
        Exclusion,
        tracking_lost=st.one_of(st.none(), st.floats(0.01, 1)),
        outlier_mad=st.one_of(st.none(), st.floats(0.1, 100)),
        previous_stimulus=st.booleans(),
    ),
    clock=st.sampled_from(["aligned", "assume_aligned"]),
)


@settings(deadline=None)
@given(recipes)
def test_toml_and_back_is_the_same_recipe(recipe):
    back = Recipe.from_toml(recipe.to_toml())
    assert back == recipe
    assert back.sha256 == recipe.sha256
    assert hash(back) == hash(recipe)


def test_a_recipe_can_be_sent_to_a_worker():
    assert pickle.loads(pickle.dumps(Recipe.from_toml(FULL))) == Recipe.from_toml(FULL)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('bin = 1\nsides = "both"', 'sides = "both"\nbin = 1.0'),
        ("window = [0, 6]", "[window]\nfilm = [0.0, 6.0]\npicture = [-0.0, 6]"),
        ('[window]\nfilm = [0, 6]\npicture = [0, "end"]', "[window]\nfilm = [0, 6]"),
        ("", 'window = [0, "end"]\nbaseline = [-1, 0]\nclock = "aligned"'),
        ("[exclusion]\nmoving_baseline = false", '[exclusion]\nmoving_baseline = "off"'),
        (
            '[contrasts."s"]\nmouthSmile = 1\nmouthFrown = -1',
            '[contrasts."s"]\nmouthFrown = -1.0\nmouthSmile = 1.0',
        ),
    ],
)
def test_spelling_does_not_change_the_hash(one, other):
    assert Recipe.from_toml(one + "\n").sha256 == Recipe.from_toml(other + "\n").sha256


def test_each_decision_changes_the_hash():
    variants = [
        Recipe(),
        Recipe(window=(0, 6)),
        Recipe(window={"film": (0, 6)}),
        Recipe(window={"task-met": (0, "end")}),
        Recipe(baseline=(-0.5, 0)),
        Recipe(bin=1),
        Recipe(baseline_correction="none"),
        Recipe(baseline_correction="neutral"),
        Recipe(neutral="neutral_trials"),
        Recipe(sides="both"),
        Recipe(contrasts={"a": {"jawOpen": 1}}),
        Recipe(contrasts={"a": {"jawOpen": 2}}),
        Recipe(scaling="within_person"),
        Recipe(clock="assume_aligned"),
        Recipe(exclusion=Exclusion(tracking_lost=None)),
        Recipe(exclusion=Exclusion(too_few_frames=0.4)),
        Recipe(exclusion=Exclusion(moving_baseline=0.2)),
        Recipe(exclusion=Exclusion(outlier_mad=6)),
        Recipe(exclusion=Exclusion(previous_stimulus=False)),
        Recipe(exclusion=Exclusion(next_stimulus=False)),
    ]
    assert len({recipe.sha256 for recipe in variants}) == len(variants)


def test_values_are_looked_up_by_task_then_medium():
    recipe = Recipe.from_toml(FULL)
    assert recipe.window_of("picture", "met") == (0.0, 6.0)
    assert recipe.window_of("film", "met") == (1.5, "end")
    assert recipe.window_of("film", "rest") == (0.0, 30.0)
    assert recipe.baseline_of("film", "rest") == (-0.5, 0.0)
    assert recipe.bin_of("picture", "met") == 0.25
    assert recipe.exclusion == Exclusion(moving_baseline=None, outlier_mad=6.0, previous_stimulus=False)


def test_a_task_that_the_study_does_not_have_is_refused():
    recipe = Recipe(window={"task-mett": (0, 6)})
    assert recipe.check_tasks(["mett"]) is recipe
    with pytest.raises(SpecError, match=r"mien.toml: .*task-mett.*did you mean 'met'"):
        recipe.check_tasks(["met", "rest"], where="mien.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wndow = [0, 6]", "key 'wndow'.*did you mean 'window'"),
        ("[exclusion]\noutlier = 3", "key 'exclusion.outlier'.*did you mean 'outlier_mad'"),
        ("[window]\npictrue = [0, 6]", "key 'window.pictrue'.*did you mean 'picture'"),
        ("[window]\ntask-met-2 = [0, 6]", "letters and digits"),
        ("window = [6, 0]", "key 'window'.*0 <= start < end"),
        ("window = [6, 6]", "key 'window'"),
        ("window = [-1, 6]", "key 'window'"),
        ("window = [0, 6, 7]", "key 'window'"),
        ("window = 6", "key 'window'"),
        ('window = [0, "ende"]', "key 'window'.*found 'ende'"),
        ("window = [0, inf]", "found inf"),
        ("window = [0, nan]", "found nan"),
        ("window = [0, 1e9]", "at most 86400"),
        ("baseline = [0, 1]", "key 'baseline'.*end <= 0"),
        ("baseline = [0, 0]", "key 'baseline'"),
        ('baseline = [-1, "end"]', "key 'baseline'"),
        ("bin = 0", "key 'bin'.*found 0"),
        ("bin = true", "key 'bin'.*found True"),
        ('bin = "0.5"', "key 'bin'"),
        ('sides = "means"', "key 'sides'.*did you mean 'mean'"),
        ("sides = 1", "key 'sides'"),
        ("exclusion = 3", "key 'exclusion': expected a table"),
        ("[exclusion]\ntracking_lost = 1.5", "above 0 and at most 1"),
        ("[exclusion]\nmoving_baseline = -1", "above 0"),
        ("[exclusion]\nprevious_stimulus = 1", "true or false"),
        ('[contrasts."s"]\nmouthSmil = 1', "key 'contrasts.s.mouthSmil'.*did you mean 'mouthSmile'"),
        ('[contrasts."s"]\nmouthSmileLeft = 1', "34 blend shapes"),
        ('[contrasts."s"]', "at least one blend shape"),
        ('[contrasts."s"]\nmouthSmile = 0', "other than 0"),
        ("[contrasts.mouthSmile]\nmouthSmile = 1", "a name of its own"),
        ('contrasts = "smile"', "key 'contrasts': expected a table"),
        ("window = \"__import__('os').system('true')\"", "key 'window'"),
        ("bin = = 3", "expected TOML.*line 1, column 7"),
        ("bin = 1\nbin = 2", "expected TOML"),
    ],
)
def test_nonsense_is_refused_with_file_and_key(tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=f"recipe.toml: .*{message}"):
        Recipe.from_toml(path)
    with pytest.raises(SpecError, match=message):
        Recipe.from_toml(text)


def test_a_missing_file_and_other_bytes_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r"nothing.toml: expected a recipe file"):
        Recipe.from_toml(tmp_path / "nothing.toml")
    (tmp_path / "latin.toml").write_bytes(b'sides = "\xe4"')
    with pytest.raises(SpecError, match=r"latin.toml: expected UTF-8"):
        Recipe.from_toml(tmp_path / "latin.toml")


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_recipe_or_one_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    try:
        Recipe.from_toml(path)
    except MienError as error:
        assert "any.toml" in str(error)  # noqa: PT017
