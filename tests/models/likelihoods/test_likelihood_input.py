"""What the families ask of values, columns and priors, and which one is recommended."""

import json

import numpy as np
import pytest

import mien
from mien.models.fitting import make_problem
from mien.models.likelihood_rows import recommend_family
from mien.models.likelihoods import LIKELIHOODS
from mien.models.spec import FAMILIES, ModelSpec
from mien.priors import Fixed, HalfNormal, Normal
from mien.study.errors import FitError, SpecError
from tests.models.likelihood_study import FORMULA, make_study


def priors_of(family, **fields):
    outcome = make_problem(ModelSpec(FORMULA, family=family, **fields), make_study(family))[0].outcomes[0]
    return {name: resolved.prior for name, resolved in outcome.priors.items()}


def test_every_family_but_the_gaussian_is_described():
    assert tuple(LIKELIHOODS) == FAMILIES[1:]


def test_values_below_0_are_refused_with_the_way_out():
    study = make_study("ordered_beta")
    study.loc[3, "raw"] = -0.02
    with pytest.raises(FitError, match=r"1 rows below 0 .* model raw"):
        mien.fit(FORMULA, study, family="ordered_beta")


def test_ones_are_refused_by_the_family_that_has_none():
    study = make_study("zero_inflated_beta")
    study.loc[[3, 5], "raw"] = [1.0, 1.04]
    with pytest.raises(FitError, match=r"2 rows of 1 or more .* 'ordered_beta'"):
        mien.fit(FORMULA, study, family="zero_inflated_beta")


def test_a_column_named_like_a_parameter_is_refused():
    study = make_study("ordered_beta").assign(phi=np.arange(320.0))
    with pytest.raises(SpecError, match="expected no column 'phi'"):
        mien.fit("raw ~ phi + (1 | participant)", study, family="ordered_beta")


def test_unknown_columns_of_a_regression_are_refused():
    with pytest.raises(SpecError, match="did you mean 'valence'"):
        mien.fit(FORMULA, make_study("ordered_beta"), family="ordered_beta", parameters={"phi": "~ valance"})


def test_default_priors_lie_on_the_links():
    priors = priors_of("ordered_beta")
    values = make_study("ordered_beta")["raw"]
    inside = values[(values > 0) & (values < 1)].mean()
    assert priors["Intercept"].mean == pytest.approx(np.log(inside / (1 - inside)))
    assert priors["valence"] == Normal(0.0, 2.0)
    assert priors["sd:1|participant"] == HalfNormal(1.0)
    assert priors["phi"] == Normal(2.5, 2.0)
    assert "sigma" not in priors


def test_priors_of_a_regression_are_named_after_its_coefficients():
    priors = priors_of(
        "ordered_beta", parameters={"phi": "~ valence"},
        priors={"phi": Normal(1, 1), "parameter_beta": Normal(0, 0.1)},
    )  # fmt: skip
    assert priors["phi_Intercept"] == Normal(1, 1)
    assert priors["phi_valence"] == Normal(0, 0.1)
    sigma = priors_of("student_t", parameters={"sigma": "~ valence"})["sigma_Intercept"]
    assert sigma.mean == pytest.approx(np.log(make_study("student_t")["raw"].std(ddof=0)))


@pytest.mark.parametrize(
    ("family", "priors", "words"),
    [
        ("ordered_beta", {"sigma": HalfNormal(1)}, "found 'sigma'"),
        ("ordered_beta", {"ph": Normal(0, 1)}, "did you mean"),
        ("ordered_beta", {"phi": HalfNormal(1)}, "expected one of Normal, Fixed"),
        ("zero_inflated_beta", {"zi": Fixed(1.2)}, "between 0 and 1"),
        ("hurdle_gamma", {"shape": Fixed(-1.0)}, "above 0"),
    ],
)
def test_priors_that_a_family_cannot_have(family, priors, words):
    with pytest.raises(SpecError, match=words):
        priors_of(family, priors=priors)


def test_fixed_parameters_are_themselves_and_stored_so():
    fit = mien.fit(
        "raw ~ valence + (1 | participant)", make_study("zero_one_inflated_beta", 6, 10),
        family="zero_one_inflated_beta", priors={"phi": Fixed(9.0), "coi": Fixed(0.1)}, draws=100, chains=2,
    )  # fmt: skip
    assert float(fit["posterior"]["phi"].std()) == pytest.approx(0.0)
    assert float(fit["posterior"]["phi"].mean()) == pytest.approx(9.0)
    assert float(fit["posterior"]["coi"].mean()) == pytest.approx(0.1)
    assert json.loads(fit.attrs["priors"])[""]["phi"]["family"] == "Fixed"


def test_a_fit_survives_the_disk_and_says_which_engine_and_why(fit_of, tmp_path):
    fit = fit_of("ordered_beta")
    assert fit.attrs["engine"] == "nuts"
    assert "ordered_beta" in fit.attrs["engine_reason"]
    again = mien.load(mien.save(fit, tmp_path / "fit"))
    assert mien.effects(again).equals(mien.effects(fit))


def test_the_same_seed_gives_the_same_draws():
    study = make_study("hurdle_gamma", 6, 10)
    one, two = (
        mien.fit(
            "raw ~ valence + (1 | participant)", study, family="hurdle_gamma", draws=50, chains=2, seed=4
        )
        for _ in range(2)
    )
    assert (one["posterior"]["valence"].to_numpy() == two["posterior"]["valence"].to_numpy()).all()


def test_shapes_are_fitted_apart_and_named():
    first = make_study("ordered_beta", 6, 10, seed=0).assign(blend_shape="mouthSmile")
    second = make_study("ordered_beta", 6, 10, seed=1).assign(blend_shape="mouthFrown")
    import pandas as pd

    fit = mien.fit(
        "raw ~ valence + (1 | participant)", pd.concat([first, second], ignore_index=True),
        family="ordered_beta", draws=50, chains=2,
    )  # fmt: skip
    assert fit["posterior"]["phi"].dims == ("chain", "draw", "blend_shape")
    assert len(mien.effects(fit)) == 8


@pytest.mark.parametrize(
    ("values", "family"),
    [
        ([-0.1, 0.0, 0.0, 0.2], "gaussian"),
        ([0.1, 0.2, 0.3, 0.4], "gaussian"),
        ([0.0, 0.2, 0.3, 0.4], "ordered_beta"),
        ([0.0, 0.2, 0.3, 1.0], "ordered_beta"),
        ([0.0, 0.2, 3.0, 1.5], "hurdle_gamma"),
    ],
)
def test_the_family_follows_the_zeros(values, family):
    assert recommend_family(np.array(values)) == family
