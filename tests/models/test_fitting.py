import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mien.models import ModelSpec, fit, group_effects, valence
from mien.models.fitting import data_sha256
from mien.priors import HalfNormal, Normal
from mien.study.errors import FitError, SpecError


def test_names_and_dims_are_those_of_the_contract(small_fit):
    posterior = small_fit["posterior"].dataset
    assert {str(name): item.dims for name, item in posterior.data_vars.items()} == {
        "Intercept": ("chain", "draw", "blend_shape"),
        "valence": ("chain", "draw", "blend_shape"),
        "1|participant_sigma": ("chain", "draw", "blend_shape"),
        "valence|participant_sigma": ("chain", "draw", "blend_shape"),
        "1|stimulus_sigma": ("chain", "draw", "blend_shape"),
        "participant_corr": ("chain", "draw", "blend_shape", "participant_term", "participant_term_bis"),
        "sigma": ("chain", "draw", "blend_shape"),
        "1|participant": ("chain", "draw", "blend_shape", "participant"),
        "valence|participant": ("chain", "draw", "blend_shape", "participant"),
        "1|stimulus": ("chain", "draw", "blend_shape", "stimulus"),
    }
    assert posterior.sizes == {
        "chain": 4, "draw": 500, "blend_shape": 3, "participant_term": 2, "participant_term_bis": 2,
        "participant": 10, "stimulus": 12,
    }  # fmt: skip
    assert posterior["participant_term"].values.tolist() == ["1", "valence"]
    assert posterior["blend_shape"].values.tolist() == ["mouthSmile", "mouthFrown", "browInnerUp"]
    assert posterior["1|participant"].dtype == np.float32


def test_attributes_are_text_and_numbers(small_fit):
    assert all(isinstance(value, str | int | float) for value in small_fit.attrs.values())
    assert small_fit.attrs["engine"] == "collapsed"
    assert small_fit.attrs["recipe_sha256"] == "ab" * 32
    assert json.loads(small_fit.attrs["coding"]) == {"valence": ["negative", "positive"]}
    assert json.loads(small_fit.attrs["counts"])["excluded"] == 20
    assert ModelSpec.from_json(small_fit.attrs["model_spec"]) == valence()


def test_priors_are_stored_as_numbers_of_each_shape(small_fit):
    stored = json.loads(small_fit.attrs["priors"])
    sd_y = float(small_fit["constant_data"]["outcome sd"].sel(blend_shape="mouthSmile"))
    assert stored["mouthSmile"]["valence"]["family"] == "Normal"
    assert stored["mouthSmile"]["valence"]["sd"] == pytest.approx(2 * sd_y)
    assert stored["mouthSmile"]["valence"]["source"] == "rule"
    assert stored["mouthSmile"]["sigma"]["scale"] != stored["mouthFrown"]["sigma"]["scale"]


def test_each_shape_keeps_its_own_rows(small_fit):
    observed = small_fit["observed_data"]["outcome"]
    assert np.isfinite(observed).sum("observation").values.tolist() == [120, 100, 120]
    design = small_fit["constant_data"]["design"]
    assert design.dims == ("observation", "coefficient")
    assert set(np.unique(design.sel(coefficient="valence"))) == {-0.5, 0.5}


def test_the_effect_is_found(small_fit):
    draws = small_fit["posterior"]["valence"].sel(blend_shape="mouthSmile")
    assert abs(float(draws.mean()) - 0.04) < 3 * float(draws.std())
    assert float((draws > 0).mean()) > 0.99
    assert small_fit.attrs["diagnostics"] == "passed", small_fit.attrs["diagnostics_detail"]


def test_same_seed_same_draws_whatever_else_is_fitted(trials, small_fit):
    data = trials[trials["blend_shape"] == "mouthSmile"].copy()
    alone = fit(valence(), data, draws=500, seed=3, group_effects=False)
    both = small_fit["posterior"].sel(blend_shape="mouthSmile")
    assert np.array_equal(alone["posterior"]["valence"].values[:, :, 0], both["valence"].values)
    assert "1|participant" not in alone["posterior"]


def test_group_effects_drawn_are_those_that_were_left_out(small_fit):
    bare = small_fit.copy()
    names = ["1|participant", "valence|participant", "1|stimulus"]
    bare["posterior"] = xr.DataTree(small_fit["posterior"].to_dataset().drop_vars(names))
    drawn = group_effects(bare)
    for name in names:
        stored = small_fit["posterior"][name]
        assert drawn[name].dims == stored.dims
        spread = stored.std(("chain", "draw"))
        gap = np.abs(drawn[name].mean(("chain", "draw")) - stored.mean(("chain", "draw"))) / spread
        assert float(gap.max()) < 0.3
        assert float((drawn[name].std(("chain", "draw")) / spread).mean()) == pytest.approx(1.0, abs=0.05)
    assert group_effects(small_fit)["1|stimulus"].identical(small_fit["posterior"]["1|stimulus"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"engine": "stan"}, "auto or one of collapsed, nuts"),
        ({"draws": 3}, "draws"),
        ({"seed": -1}, "seed"),
        ({"prior": {}}, "fields of ModelSpec"),
    ],
)
def test_impossible_settings(trials, arguments, words):
    with pytest.raises((FitError, SpecError), match="expected") as caught:
        fit("activation ~ valence + (1 | participant)", trials, **arguments)
    assert words in str(caught.value)


def test_a_prior_for_a_parameter_that_is_not_there(trials):
    with pytest.raises(SpecError, match="did you mean 'valence'"):
        fit("activation ~ valence + (1 | participant)", trials, priors={"valenc": Normal(0, 1)})
    with pytest.raises(SpecError, match="priors"):
        fit("activation ~ valence + (1 | participant)", trials, priors={"valence": HalfNormal(1)})


def test_too_many_effects_are_refused_with_the_reason():
    data = pd.DataFrame({"y": np.arange(2500.0), "g": [f"g{n}" for n in range(2500)]})
    with pytest.raises(FitError, match="2500 group effects"):
        fit("y ~ 1 + (1 | g)", data, engine="nuts")


def test_hash_of_data_sees_values_names_and_categories(trials):
    changed = trials.copy()
    changed.loc[0, "activation"] += 1e-6
    assert data_sha256(trials) == data_sha256(trials.copy())
    assert data_sha256(trials) != data_sha256(changed)
    assert data_sha256(trials) != data_sha256(trials.rename(columns={"peak": "top"}))


def test_an_outcome_without_scatter_is_refused():
    x = np.linspace(-1, 1, 40)
    data = pd.DataFrame({"y": 2 * x + 1, "x": x, "g": np.arange(40) % 5}).astype({"g": str})
    with pytest.raises(FitError, match="fits them exactly"):
        fit("y ~ x + (1 | g)", data)


def test_the_hash_of_a_table_sees_missing_words_and_numbers():
    people = pd.DataFrame(
        {"participant_id": ["sub-01", "sub-02"], "sex": pd.Series([None, "F"], dtype="str")}
    )
    others = [
        people.assign(sex=pd.Series(["nan", "F"], dtype="str")),
        people.assign(age=[1.0, np.nan]),
        people.assign(age=pd.array([1, None], dtype="Int64")).rename(columns={"age": "years"}),
    ]
    found = [data_sha256(table) for table in (people, people.copy(), *others)]
    assert found[0] == found[1]
    assert len(set(found)) == 4
