import numpy as np
import pytest
import xarray as xr

from mien.models import effects
from mien.models.effect_tables import COLUMNS
from mien.study.errors import FitError, SpecError


def test_columns_and_rows(small_fit):
    table = effects(small_fit)
    assert tuple(table.columns) == COLUMNS
    assert table["blend_shape"].tolist() == ["mouthSmile", "mouthFrown", "browInnerUp"]
    assert table["effect"].unique().tolist() == ["valence"]
    assert table["region"].tolist() == ["mouth", "mouth", "brow"]
    assert (table["ci_kind"] == "eti").all()
    assert (table["verdict"] == "passed").all()


def test_numbers_are_those_of_the_draws(small_fit):
    row = effects(small_fit).set_index("blend_shape").loc["mouthSmile"]
    draws = small_fit["posterior"]["valence"].sel(blend_shape="mouthSmile").values
    sigma = small_fit["posterior"]["sigma"].sel(blend_shape="mouthSmile").values
    assert row["mean"] == pytest.approx(draws.mean())
    assert (row["eti_lower"], row["eti_upper"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    assert row["rope"] == pytest.approx(0.1 * sigma.mean())
    assert row["in_rope"] == pytest.approx((np.abs(draws) <= row["rope"]).mean())
    assert row["beta_sigma"] == pytest.approx((draws / sigma).mean())
    assert row["p_direction"] == pytest.approx(max((draws > 0).mean(), (draws <= 0).mean()))


def test_beta_std_is_b_sd_x_over_the_sd_of_the_outcome_by_the_model(small_fit):
    row = effects(small_fit).set_index("blend_shape").loc["mouthSmile"]
    posterior = small_fit["posterior"].sel(blend_shape="mouthSmile")
    by_model = (
        posterior["valence"].values ** 2 * 0.25
        + posterior["1|participant_sigma"].values ** 2
        + 0.25 * posterior["valence|participant_sigma"].values ** 2
        + posterior["1|stimulus_sigma"].values ** 2
        + posterior["sigma"].values ** 2
    )
    assert row["beta_std"] == pytest.approx((posterior["valence"].values * 0.5 / np.sqrt(by_model)).mean())
    observed = float(small_fit["constant_data"]["outcome sd"].sel(blend_shape="mouthSmile"))
    assert row["mean"] * 0.5 / observed == pytest.approx(row["beta_std"], rel=0.2)


def test_hypotheses_by_name(small_fit):
    table = effects(small_fit, {"level to positive": "Intercept + valence / 2"}, rope=0.01)
    posterior = small_fit["posterior"]
    wanted = (posterior["Intercept"] + posterior["valence"] / 2).mean(("chain", "draw"))
    assert table["mean"].tolist() == pytest.approx(wanted.values.tolist())
    assert (table["rope"] == 0.01).all()


@pytest.mark.parametrize("text", ["valenc", "valence * valence", "__import__('os')", "3", "valence.real", ""])
def test_expressions_that_are_not_linear_in_coefficients_are_refused(small_fit, text):
    with pytest.raises(SpecError):
        effects(small_fit, {"x": text})


def shifted(small_fit, value, sd=0.001):
    """The small fit with other draws of valence."""
    tree = small_fit.copy()
    dataset = tree["posterior"].to_dataset()
    noise = np.random.default_rng(0).normal(value, sd, dataset["valence"].shape)
    tree["posterior"] = xr.DataTree(dataset.assign(valence=(dataset["valence"].dims, noise)))
    return tree


@pytest.mark.parametrize(
    ("value", "decision", "direction"),
    [(0.0, "inside", None), (0.05, "outside", 1), (-0.05, "outside", -1), (0.01, "undecided", 1)],
)
def test_decision_is_about_the_interval(small_fit, value, decision, direction):
    table = effects(shifted(small_fit, value), rope=0.01)
    assert set(table["decision"]) == {decision}
    if direction:
        assert set(table["direction"]) == {direction}


def test_impossible_rope_and_level(small_fit):
    with pytest.raises(FitError, match="rope"):
        effects(small_fit, rope=-1.0)
    with pytest.raises(FitError, match="ci_prob"):
        effects(small_fit, ci_prob=95)
