"""Joint models with a shared design: found where they are, and the same posterior as by general elimination."""

import json
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mien
from mien.models.engines.collapsed import engine
from mien.models.engines.collapsed.moments import moments_of
from mien.models.engines.collapsed.rotated_density import helmert, make_rotated_density
from mien.models.engines.collapsed.shared_design import find_shared_design
from mien.models.engines.problem import Problem
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.priors import Fixed, Flat, Normal, ResolvedPrior

JOINT = "y ~ v + (v || shape) + (v || participant) + (v || participant:shape) + (1 | stimulus) + (1 | stimulus:shape)"
MODELS = {
    "independent": JOINT,
    "correlated": JOINT.replace("||", "|"),
    "correlated own effects": "y ~ v + (v || shape) + (v || participant) + (v | participant:shape) + (1 | stimulus)",
    "correlated shared effects": (
        "y ~ v + (1 | shape) + (v | participant) + (1 | participant:shape) + (1 | stimulus:shape)"
    ),
    "effects of the shape alone": "y ~ 1 + (v | shape) + (1 | participant) + (v | participant:shape)",
    "three effects": "y ~ v + (1 | shape) + (v + age | participant) + (1 + age | shape:participant) + (1 | stimulus)",
    "no coefficient": "y ~ 0 + (1 | shape) + (v || participant) + (v | participant:shape)",
}
HELD = {
    "sd:1|participant": Fixed(0.3), "sd:v|shape": Fixed(0.0), "corr:participant": Fixed(0.4), "sigma": Fixed(0.7),
}  # fmt: skip


class Routes(NamedTuple):
    """One problem, both ways; start is a theta near the mode."""

    rotated: object
    eliminated: object
    start: np.ndarray
    moments: object


def joint_rows(people=4, stimuli=6, shapes=3, missing=0.0, seed=0):
    """All shapes of every trial that is there; effects of everything."""
    rng = np.random.default_rng(seed)
    trials = rng.random((people, stimuli)) >= missing
    person, stimulus, shape = (part.ravel() for part in np.indices((people, stimuli, shapes)))
    v = np.where(stimulus % 2 == 0, -0.5, 0.5)
    age = rng.normal(0.0, 1.0, people)[person] + 0.2 * rng.normal(0.0, 1.0, stimuli)[stimulus]
    y = 2.0 + 0.3 * v + rng.normal(0, 0.4, shapes)[shape] + rng.normal(0, 0.3, people)[person]
    y += (
        rng.normal(0, 0.5, (people, shapes))[person, shape]
        + rng.normal(0, 0.3, (people, shapes))[person, shape] * v
    )
    y += rng.normal(0, 0.2, stimuli)[stimulus] + rng.normal(0, 0.8, len(v))
    data = pd.DataFrame({
        "y": y, "v": v, "age": age, "participant": [f"p{code}" for code in person],
        "stimulus": [f"s{code:02d}" for code in stimulus], "shape": [f"b{code}" for code in shape],
    })  # fmt: skip
    return data[trials[person, stimulus]].sample(frac=1.0, random_state=seed)


def outcome_of(formula, data, priors=None, **options):
    outcome = make_problem(ModelSpec(formula, **options), data, None)[0].outcomes[0]
    held = {name: ResolvedPrior(prior, "user", name) for name, prior in (priors or {}).items()}
    return outcome._replace(priors={**outcome.priors, **held})


def design_of(outcome):
    return find_shared_design(outcome.design.blocks, moments_of(outcome))


def routes(formula=JOINT, priors=None, **rows):
    outcome = outcome_of(formula, joint_rows(**rows), priors)
    prepared = engine.prepare(Problem("gaussian", (outcome,)), threads=1)[0]
    shared = find_shared_design(outcome.design.blocks, prepared.moments)
    assert shared is not None
    rotated, start = make_rotated_density(
        outcome.design.coefficients, outcome.design.blocks, outcome.priors, prepared.moments, ("",), shared
    )
    np.testing.assert_array_equal(start, prepared.start)
    return Routes(rotated, prepared.density, start, prepared.moments)


def some_theta(found, points=4, seed=1):
    return found.start + np.random.default_rng(seed).normal(0.0, 0.8, (points, len(found.start)))


# Where there is one


def test_a_rotation_is_orthonormal():
    for size in (2, 3, 52):
        np.testing.assert_allclose(helmert(size) @ helmert(size).T, np.eye(size), atol=1e-14)


def test_the_joint_model_of_whole_trials_is_one():
    outcome = outcome_of(JOINT, joint_rows(missing=0.2))
    shared, moments = design_of(outcome), moments_of(outcome)
    assert moments.factors[shared.factor] == "shape"
    assert shared.size == 3
    names = [(moments.factors[group.own], moments.factors[group.shared]) for group in shared.groups]
    assert names == [("participant:shape", "participant"), ("stimulus:shape", "stimulus")]
    people = shared.groups[0]
    own = np.array(moments.levels[moments.factors.index("participant:shape")])[people.own_levels]
    assert own[2].tolist() == ["p2:b0", "p2:b1", "p2:b2"]
    assert np.array(moments.levels[moments.factors.index("participant")])[people.shared_levels][2] == "p2"


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, 4 * 6 * 3 - 1))
def test_a_single_hole_is_enough_to_say_no(row):
    assert design_of(outcome_of(JOINT, joint_rows().drop(index=row))) is None


def test_a_row_twice_is_enough_to_say_no():
    data = joint_rows()
    assert design_of(outcome_of(JOINT, pd.concat([data, data.iloc[:1]]))) is None
    assert design_of(outcome_of(JOINT, pd.concat([data, data]))) is not None


def test_columns_and_weights_may_not_depend_on_the_shape():
    data = joint_rows(missing=0.2)
    data["u"] = np.where(data["shape"] == "b1", 1.0, 0.0)
    data["trial"] = data.groupby(["participant", "stimulus"]).ngroup() + 1.0
    data["row"] = np.arange(len(data)) + 1.0
    assert design_of(outcome_of(JOINT.replace("~ v", "~ v + u"), data)) is None
    assert design_of(outcome_of(JOINT, data, weights="row")) is None
    assert design_of(outcome_of(JOINT, data, weights="trial")) is not None


def test_it_needs_one_sigma_own_effects_and_independent_residuals():
    data = joint_rows()
    data["bin"] = data["stimulus"].str[1:].astype(int)
    data["session"] = "a"
    assert design_of(outcome_of(JOINT, data, sigma_by=("shape",))) is None
    assert design_of(outcome_of("y ~ v + (1 | shape) + (v | participant) + (1 | stimulus)", data)) is None
    series = "y ~ v + (v || shape) + (v || participant) + (v || participant:shape)"
    assert design_of(outcome_of(series, data)) is not None
    ar1 = outcome_of(series, data, residual="ar1", series=("participant", "shape"))
    assert design_of(ar1) is None


def test_names_of_levels_may_be_anything():
    data = joint_rows(missing=0.2)
    data["shape"] = data["shape"].map({"b0": "0", "b1": "1!", "b2": "2"})
    for last, wanted in (
        ("1!", True),
        ("1:1", False),
    ):  # "1:2" < "1:1:2" but "1:0" > "1:1:0": not worth a search
        data["person"] = data["participant"].map({"p0": "1", "p1": "10", "p2": last, "p3": "11"})
        found = design_of(outcome_of(JOINT.replace("participant", "person"), data))
        assert (found is not None) == wanted


def test_with_whole_people_any_crossed_factor_may_be_shared_over():
    data = joint_rows(people=5)
    moments = moments_of(outcome_of(JOINT, data))
    assert moments.factors[design_of(outcome_of(JOINT, data)).factor] == "participant"


# The same density


def check_values(found):
    theta = some_theta(found)
    np.testing.assert_allclose(found.rotated.values(theta), found.eliminated.values(theta), rtol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_values_are_those_of_general_elimination(model):
    check_values(routes(MODELS[model], missing=0.2))


@pytest.mark.parametrize("held", [None, HELD])
@pytest.mark.parametrize("prior", [Normal(1.0, 0.5), Flat(), Fixed(0.4)])
def test_values_with_any_prior_of_the_coefficients(prior, held):
    check_values(routes(MODELS["correlated"], {"v": prior, **(held or {})}, shapes=5))


def test_values_with_weights_and_several_rows_a_cell():
    data = pd.concat([joint_rows(), joint_rows(seed=5)])
    data["w"] = np.where(data["participant"] == "p1", 2.0, 0.7)
    outcome = outcome_of(JOINT.replace("+ (v || participant) ", "+ (v | participant) "), data, weights="w")
    prepared = engine.prepare(Problem("gaussian", (outcome,)), threads=1)[0]
    shared = find_shared_design(outcome.design.blocks, prepared.moments)
    assert shared is not None
    rotated, start = make_rotated_density(
        outcome.design.coefficients, outcome.design.blocks, outcome.priors, prepared.moments, ("",), shared
    )
    check_values(Routes(rotated, prepared.density, start, prepared.moments))


def test_values_where_sds_are_zero():
    found = routes()
    theta = some_theta(found, 9)
    theta[range(8), range(8)] = 0.0
    theta[8, :8] = 0.0
    np.testing.assert_allclose(found.rotated.values(theta), found.eliminated.values(theta), rtol=1e-9)


def test_values_that_are_not_finite_are_minus_infinity():
    found = routes(MODELS["correlated"])
    theta = some_theta(found, 3)
    theta[1, -1] = 900.0
    theta[2, 0] = 900.0
    values = found.rotated.values(theta)
    assert np.isfinite(values[0])
    assert np.isneginf(values[1:]).all()
    assert np.isneginf(found.rotated.gradient(theta[1])[0])


def test_a_saboteur_that_forgets_the_root_of_the_number_of_shapes_is_found():
    found = routes()
    first = found.rotated.first
    first.sums = [
        one._replace(sources=tuple(source._replace(weight=1.0) for source in one.sources))
        for one in first.sums
    ]
    with pytest.raises(AssertionError):
        check_values(found)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_finite_differences(model):
    found = routes(MODELS[model], shapes=4)
    density, theta = found.rotated, some_theta(found, 1)[0]
    value, gradient = density.gradient(theta)
    assert value == pytest.approx(density.values(theta[None])[0], rel=1e-12)
    step = 3e-4 * np.eye(len(theta))
    one = (density.values(theta + step) - density.values(theta - step)) / 6e-4
    two = (density.values(theta + 2 * step) - density.values(theta - 2 * step)) / 12e-4
    wanted = (4 * one - two) / 3
    size = max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(gradient / size, wanted / size, atol=2e-7)
    np.testing.assert_allclose(gradient, found.eliminated.gradient(theta)[1], rtol=1e-8, atol=1e-8)


# The same draws


class UnitVectors:
    """In the place of a generator: draw k gets the k-th unit vector, so that draws are a root of the covariance."""

    def __init__(self, count):
        self.count, self.used = count, 0

    def spawn(self, count):
        assert count == 1
        return [self]

    def standard_normal(self, shape):
        width = int(np.prod(shape)) // self.count
        self.used += width
        return np.eye(self.count)[:, self.used - width : self.used].reshape(shape)


def covariance(density, theta):
    """Of coefficients and effects given theta, from draws without chance; and their mean."""
    natural, count = density.parameters.natural(theta[None]), 400
    drawn = density.draw(natural, np.array([count]), UnitVectors(count), dtype=np.float64)
    mean = density.draw(natural, np.array([1]), None, dtype=np.float64)
    root = np.hstack([drawn.coefficients - mean.coefficients, drawn.effects - mean.effects])
    return root.T @ root, np.hstack([mean.coefficients, mean.effects])[0]


def check_draws(found):
    theta = some_theta(found, 1, seed=3)[0]
    mine, others = covariance(found.rotated, theta), covariance(found.eliminated, theta)
    scale = np.sqrt(np.diagonal(others[0]))
    scale = np.where(scale > 0, scale, 1.0)
    np.testing.assert_allclose(mine[1] / scale, others[1] / scale, atol=1e-8)
    np.testing.assert_allclose(
        mine[0] / scale[:, None] / scale, others[0] / scale[:, None] / scale, atol=1e-7
    )


@pytest.mark.parametrize("model", MODELS)
def test_draws_have_the_mean_and_covariance_of_general_elimination(model):
    check_draws(routes(MODELS[model], missing=0.2))


def test_draws_with_fixed_parameters_and_flat_coefficients():
    check_draws(routes(MODELS["correlated"], {"v": Flat(), **HELD}))


def test_a_saboteur_that_forgets_the_split_is_found():
    found = routes()
    found.rotated.splits = [split._replace(divides=False) for split in found.rotated.splits]
    with pytest.raises(AssertionError):
        check_draws(found)


def test_draws_do_not_depend_on_the_threads():
    found = routes()
    natural = found.rotated.parameters.natural(some_theta(found, 200))
    copies = np.arange(200) % 3
    copies[7] = 500
    one = found.rotated.draw(natural, copies, np.random.default_rng(1))
    found.rotated.threads = 3
    other = found.rotated.draw(natural, copies, np.random.default_rng(1))
    np.testing.assert_array_equal(one.effects, other.effects)
    np.testing.assert_array_equal(one.coefficients, other.coefficients)


def test_draws_go_where_they_are_wanted():
    found = routes()
    natural = found.rotated.parameters.natural(some_theta(found, 3))
    copies = np.array([2, 0, 3])
    rows = np.array([4, 0, 1, 3, 2])
    plain = found.rotated.draw(natural, copies, np.random.default_rng(1))
    moved = found.rotated.draw(natural, copies, np.random.default_rng(1), destination=rows)
    np.testing.assert_array_equal(moved.effects[rows], plain.effects)
    np.testing.assert_array_equal(moved.coefficients[rows], plain.coefficients)


def test_effects_may_be_left_out():
    found = routes()
    natural, copies = found.rotated.parameters.natural(some_theta(found, 3)), np.array([2, 0, 3])
    whole = found.rotated.draw(natural, copies, np.random.default_rng(1))
    bare = found.rotated.draw(natural, copies, np.random.default_rng(1), dtype=None)
    np.testing.assert_array_equal(bare.coefficients, whole.coefficients)
    assert bare.effects.shape == (5, 0)


def test_many_gradients_are_each_of_them():
    found = routes()
    theta = some_theta(found, 3)
    theta[1, -1] = 900.0
    values, slopes = found.rotated.gradients(theta)
    assert np.isneginf(values[1])
    np.testing.assert_array_equal(slopes[2], found.rotated.gradient(theta[2])[1])


# The same posterior


@pytest.fixture(scope="module")
def fits():
    data = joint_rows(people=8, stimuli=10, shapes=4, missing=0.1, seed=2)
    rotated = mien.fit(JOINT, data, engine="collapsed", seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "find_shared_design", lambda *_: None)
        eliminated = mien.fit(JOINT, data, engine="collapsed", seed=2)
    return rotated, eliminated


def test_both_routes_have_one_posterior(fits):
    posteriors = [tree["posterior"].dataset for tree in fits]
    assert set(posteriors[0]) == set(posteriors[1])
    for name in posteriors[0]:
        mine, others = (
            each[name].values.reshape(-1, *each[name].shape[2:]).astype(float) for each in posteriors
        )
        sd = np.maximum(others.std(axis=0), 1e-12)
        assert (np.abs(mine.mean(axis=0) - others.mean(axis=0)) / sd < 5 * np.sqrt(2 / 1500)).all(), name
        assert (np.abs(np.log(mine.std(axis=0) / sd)) < 0.15).all(), name


def test_the_verdict_says_which_way_it_was(fits):
    verdicts = [json.loads(tree.attrs["engine_verdict"]).values() for tree in fits]
    rotated, eliminated = (next(iter(each))["notes"] for each in verdicts)
    assert "shared design: every combination has all 4 levels of 'shape'" in rotated[0]
    assert not any("shared design" in note for note in eliminated)
