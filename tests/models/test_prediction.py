"""Predictions against sums of draws by hand, and new observations against the model's variances."""

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models import prediction_draws
from mien.priors import Fixed
from mien.study.errors import FitError, SpecError

GRID = pd.DataFrame({"valence": ["negative", "positive"]})


def draws_of(fit, name, shape="mouthSmile"):
    return fit["posterior"][name].sel(blend_shape=shape).to_numpy()


def test_population_means_are_the_coded_columns_times_the_draws(small_fit):
    found = prediction_draws(small_fit, GRID).sel(blend_shape="mouthSmile").to_numpy()
    level, answer = draws_of(small_fit, "Intercept"), draws_of(small_fit, "valence")
    assert found[..., 0] == pytest.approx(level - answer / 2)
    assert found[..., 1] == pytest.approx(level + answer / 2)
    table = mien.predict(small_fit, GRID)
    row = table[(table["blend_shape"] == "mouthSmile") & (table["valence"] == "positive")].iloc[0]
    wanted = level + answer / 2
    assert row["mean"] == pytest.approx(wanted.mean())
    assert row["sd"] == pytest.approx(wanted.std(ddof=1))
    assert [row["eti_lower"], row["eti_upper"]] == pytest.approx(np.quantile(wanted, [0.025, 0.975]))
    assert row["units"] == "coefficient"


def test_persons_means_have_their_own_effects(small_fit):
    table = mien.predict(small_fit, GRID, level="participant")
    assert len(table) == 3 * 2 * 10
    row = table.query("blend_shape == 'mouthSmile' and participant == '04' and valence == 'negative'").iloc[0]
    u = [draws_of(small_fit, f"{term}|participant")[..., 3] for term in ("1", "valence")]
    wanted = draws_of(small_fit, "Intercept") + u[0] - (draws_of(small_fit, "valence") + u[1]) / 2
    assert row["mean"] == pytest.approx(wanted.mean(), rel=1e-6)
    population = mien.predict(small_fit, GRID)
    assert row["mean"] != pytest.approx(population["mean"].iloc[0], rel=1e-3)  # saboteur: effects left out


def test_a_grid_that_names_stimuli_has_theirs(small_fit):
    grid = pd.DataFrame({"participant": ["04"], "stimulus": ["s02"], "valence": ["negative"]})
    with_item, without = (
        prediction_draws(small_fit, one, level="participant").sel(blend_shape="mouthSmile", row=0).to_numpy()
        for one in (grid, grid.drop(columns="stimulus"))
    )
    effects = small_fit["posterior"]["1|stimulus"].sel(blend_shape="mouthSmile", stimulus="s02").to_numpy()
    assert with_item - without == pytest.approx(effects, abs=1e-7)


def study(rows=8):
    rng = np.random.default_rng(0)
    p, s = (column.ravel() for column in np.meshgrid(np.arange(40), np.arange(rows), indexing="ij"))
    age = rng.normal(40, 12, 40)
    y = rng.normal(0, 1.0, 40)[p] + rng.normal(0, 0.5, len(p)) + 0.02 * age[p]
    return pd.DataFrame(
        {"participant": [f"p{i}" for i in p], "stimulus": [f"s{i}" for i in s], "y": y, "age": age[p],
         "x": rng.normal(0, 1, len(p)), "condition": np.array(["a", "b", "c"])[s % 3],
         "rating": rng.normal(0, 1, len(p)), "w": 1.0}
    )  # fmt: skip


FIXED = {"sd:1|participant": Fixed(1.0), "sd:x|participant": Fixed(0.7), "sd:1|stimulus": Fixed(0.3),
         "sigma": Fixed(0.5)}  # fmt: skip


@pytest.fixture(scope="module")
def fixed():
    formula = "y ~ x + (x || participant) + (1 | stimulus)"
    return mien.fit(formula, study(), engine="collapsed", draws=4000, priors=FIXED)


@pytest.mark.parametrize("x", [0.0, 2.0])
def test_new_observations_have_the_models_variance(fixed, x):
    grid = pd.DataFrame({"x": [x]})
    mean, outcome = (prediction_draws(fixed, grid, kind=kind).to_numpy() for kind in ("mean", "outcome"))
    wanted = mean.var() + 1.0 + 0.49 * x**2 + 0.09 + 0.25
    error = wanted * np.sqrt(2 / outcome.size)
    assert abs(outcome.var() - wanted) < 4 * error
    assert abs(mean.var() - wanted) > 20 * error  # saboteur: means in place of observations
    assert abs(outcome.mean() - mean.mean()) < 4 * np.sqrt(wanted / outcome.size)


def test_a_new_person_is_drawn_from_the_population_and_is_the_same_in_every_row(fixed):
    grid = pd.DataFrame({"participant": ["new", "new", "p3"], "x": [0.0, 0.0, 0.0]})
    found = prediction_draws(fixed, grid, level="participant").to_numpy().reshape(-1, 3)
    assert (found[:, 0] == found[:, 1]).all()
    between = found[:, 0] - prediction_draws(fixed, grid[["x"]]).to_numpy().reshape(-1, 3)[:, 0]
    assert abs(between.var() - 1.0) < 4 * np.sqrt(2 / len(between))
    own = fixed["posterior"]["1|participant"].sel(participant="p3").to_numpy().ravel()
    assert found[:, 2] == pytest.approx(fixed["posterior"]["Intercept"].to_numpy().ravel() + own, abs=1e-6)


def test_correlated_effects_of_new_persons_stay_correlated(small_fit):
    posterior = small_fit["posterior"].sel(blend_shape="mouthSmile")
    grid = pd.DataFrame({"participant": "new", "valence": ["negative", "positive"]})
    parts = []
    for seed in range(8):
        drawn = prediction_draws(small_fit, grid, level="participant", seed=seed).sel(
            blend_shape="mouthSmile"
        )
        away = drawn.to_numpy() - prediction_draws(small_fit, GRID).sel(blend_shape="mouthSmile").to_numpy()
        parts.append((away[..., 0] * away[..., 1]).mean())
    sd = [posterior[f"{term}|participant_sigma"] for term in ("1", "valence")]
    wanted = float((sd[0] ** 2 - sd[1] ** 2 / 4).mean())  # the correlation cancels here …
    assert abs(np.mean(parts) - wanted) < 4 * np.std(parts, ddof=1) / np.sqrt(8)
    corr = posterior["participant_corr"][..., 0, 1]
    positive = []
    for seed in range(8):
        drawn = prediction_draws(small_fit, grid, level="participant", seed=seed).sel(
            blend_shape="mouthSmile"
        )
        away = drawn.to_numpy() - prediction_draws(small_fit, GRID).sel(blend_shape="mouthSmile").to_numpy()
        positive.append((away[..., 1] ** 2).mean())
    wanted = float((sd[0] ** 2 + sd[1] ** 2 / 4 + corr * sd[0] * sd[1]).mean())  # … and adds here
    assert abs(np.mean(positive) - wanted) < 4 * np.std(positive, ddof=1) / np.sqrt(8)


def test_levels_and_derived_columns_are_those_of_the_fit():
    data = study()
    fit = mien.fit("y ~ condition * age_z + (1 | participant)", data, draws=200)
    posterior = fit["posterior"].dataset
    told = data.drop_duplicates("participant")["age"]
    z = (50.0 - told.mean()) / told.std(ddof=1)
    found = prediction_draws(fit, pd.DataFrame({"condition": ["c"], "age": [50.0]})).to_numpy()[..., 0]
    wanted = posterior["Intercept"] - posterior["condition[a]"] - posterior["condition[b]"]
    wanted = wanted + z * (
        posterior["age_z"] - posterior["condition[a]:age_z"] - posterior["condition[b]:age_z"]
    )
    assert found == pytest.approx(wanted.to_numpy())
    same = prediction_draws(fit, pd.DataFrame({"condition": ["c"], "age_z": [z]})).to_numpy()[..., 0]
    assert same == pytest.approx(found)


def test_strata_have_their_own_scatter():
    data = study()
    data["y"] *= np.where(data["condition"] == "a", 3.0, 1.0)
    fit = mien.fit("y ~ 1", data, draws=1000, sigma_by=("condition",))
    drawn = prediction_draws(fit, pd.DataFrame({"condition": ["a", "b"]}), kind="outcome").to_numpy()
    wanted = (fit["posterior"]["sigma"].sel(condition=["a", "b"]) ** 2).mean(("chain", "draw")).to_numpy()
    wanted = wanted + fit["posterior"]["Intercept"].to_numpy().var()
    assert (np.abs(drawn.reshape(-1, 2).var(axis=0) - wanted) < 4 * wanted * np.sqrt(2 / 4000)).all()


def test_what_a_grid_cannot_give_is_refused(small_fit, fixed):
    with pytest.raises(SpecError, match="expected the columns valence, found no valence"):
        mien.predict(small_fit, pd.DataFrame({"x": [1]}))
    with pytest.raises(SpecError, match="expected one of the fit's levels"):
        mien.predict(small_fit, pd.DataFrame({"valence": ["angry"]}))
    with pytest.raises(SpecError, match="expected no column blend_shape"):
        mien.predict(small_fit, GRID.assign(blend_shape="mouthSmile"))
    with pytest.raises(SpecError, match="a value in every row of valence"):
        mien.predict(small_fit, pd.DataFrame({"valence": ["negative", None]}))
    with pytest.raises(FitError, match="kind: expected one of mean, outcome"):
        mien.predict(small_fit, GRID, kind="median")
    with pytest.raises(FitError, match=r"grid: expected a pandas\.DataFrame with rows"):
        mien.predict(small_fit, GRID.iloc[:0])
    curved = mien.fit("y ~ poly(x, 2) + (1 | participant)", study(), draws=50)
    with pytest.raises(SpecError, match="put the transformed column into the data"):
        mien.predict(curved, pd.DataFrame({"x": [1.0]}))
    rated = mien.fit("y ~ rating_within + (1 | participant)", study(), draws=50)
    with pytest.raises(SpecError, match="0 is the average"):
        mien.predict(rated, pd.DataFrame({"rating": [1.0]}))
    assert len(mien.predict(rated, pd.DataFrame({"rating_within": [0.0]}))) == 1
    bare = mien.fit("y ~ x + (1 | participant)", study(), draws=50, group_effects=False)
    with pytest.raises(FitError, match="group_effects=True"):
        mien.predict(bare, pd.DataFrame({"x": [0.0]}), level="participant")
    with pytest.raises(FitError, match="a group term of participant"):
        mien.predict(mien.fit("y ~ x", study(), draws=50), pd.DataFrame({"x": [0.0]}), level="participant")
    known = mien.fit("y ~ x", study().assign(se=0.5), draws=50, standard_errors="se")
    with pytest.raises(SpecError, match="found no se"):
        mien.predict(known, pd.DataFrame({"x": [0.0]}), kind="outcome")


@pytest.mark.parametrize("function", ["center", "scale"])
def test_centred_columns_have_the_fits_numbers(function):
    """A grid of one row has no mean of its own: (x − mean of the fit's rows), over their sd."""
    data = study()
    fit = mien.fit(
        f"y ~ {function}(x) + rating:{function}(age) + (0 + {function}(x) | participant)", data, draws=100
    )
    grid = pd.DataFrame({"x": [1.5], "rating": [2.0], "age": [50.0], "participant": ["p3"]})
    found = prediction_draws(fit, grid, level="participant").to_numpy()[..., 0]
    sds = {name: data[name].std(ddof=0) if function == "scale" else 1.0 for name in ("x", "age")}
    x, age = ((grid[name][0] - data[name].mean()) / sds[name] for name in ("x", "age"))
    posterior = fit["posterior"]
    slope = posterior[f"{function}(x)"] + posterior[f"{function}(x)|participant"].sel(participant="p3")
    wanted = posterior["Intercept"] + x * slope + 2.0 * age * posterior[f"rating:{function}(age)"]
    assert found == pytest.approx(wanted.to_numpy(), abs=1e-5)
    by_grid = posterior["Intercept"].to_numpy()  # saboteur: centred by the grid itself
    assert np.abs(found - by_grid).max() > 0.1


@pytest.fixture(scope="module")
def curved():
    rng = np.random.default_rng(5)
    person, time = (column.ravel() for column in np.meshgrid(np.arange(8), np.arange(6) / 2, indexing="ij"))
    person, time = np.tile(person, 4), np.tile(time, 4)
    x = np.repeat([-0.5, 0.5, -0.5, 0.5], 48)
    y = np.sin(time) * x + rng.normal(0, 0.3, 8)[person] + rng.normal(0, 0.1, len(time))
    data = pd.DataFrame({"participant": [f"p{k}" for k in person], "time": time, "x": x, "y": y})
    curves = ("s(time)", "s(time):x", "s(time, 2) | participant")
    spec = mien.models.ModelSpec("y ~ x + x:time + (x | participant)", smooths=curves)
    return mien.fit(spec, data, draws=200), data


def test_curves_are_predicted_as_they_were_fitted(curved):
    """At the fit's own rows: its columns times its draws, person by person; over persons, the courses."""
    fit, data = curved
    from mien.models.refit import coefficients_of, design_of, effects_of

    design = design_of(fit)
    wanted = coefficients_of(fit, None, design.coefficients) @ design.columns.T
    for block in design.blocks:
        for place, term in enumerate(block.terms):
            effects = effects_of(fit, None, f"{term}|{block.factor}", "test")
            wanted += effects[:, block.codes] * block.columns[:, place]
    found = prediction_draws(fit, data[["participant", "time", "x"]], level="participant").to_numpy()
    assert found.reshape(wanted.shape) == pytest.approx(wanted, abs=1e-5)

    between = pd.DataFrame({"time": [0.3, 1.1, 4.0], "x": 0.0})  # between bins, and beyond them
    course = mien.models.curves(fit, between["time"].to_numpy())
    table = mien.predict(fit, between)
    assert table["mean"].to_numpy() == pytest.approx(course["mean"].to_numpy()[:3], abs=1e-6)
    straight = fit["posterior"]["Intercept"] + fit["posterior"]["time"] * 1.1  # saboteur: the curve left out
    assert abs(table["mean"][1] - float(straight.mean())) > 1e-3
    with pytest.raises(SpecError, match="found no time"):
        mien.predict(fit, between[["x"]])


def test_new_persons_have_curves_of_their_own(curved):
    fit, _ = curved
    grid = pd.DataFrame({"participant": ["new"], "time": [2.5], "x": [0.0]})
    spread = prediction_draws(fit, grid, level="participant").to_numpy().var()
    posterior = fit["posterior"]
    basis = fit["constant_data"].dataset
    columns = [basis[f"s(time)[{k}]|participant column"].to_numpy()[5] for k in range(3)]  # at 2.5 s
    curves = (posterior["s(time)|participant_sigma"] ** 2).mean().item() * sum(value**2 for value in columns)
    level = (posterior["1|participant_sigma"] ** 2).mean().item()
    mean = mien.predict(fit, grid.drop(columns="participant"))["sd"][0] ** 2
    assert spread == pytest.approx(mean + level + curves, rel=4 * np.sqrt(2.0 / 400))
