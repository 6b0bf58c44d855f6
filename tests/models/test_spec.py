import pytest

from mien.models import FAMILIES, ModelSpec, valence
from mien.priors import HalfNormal, Normal
from mien.study.errors import SpecError

FORMULA = "activation ~ valence + (valence | participant) + (1 | stimulus)"


def test_the_valence_family_says_what_it_answers():
    spec = valence(
        priors={"valence": Normal(0, 0.1)}, contrasts={"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}
    )
    assert spec.formula == FORMULA
    assert spec.answers.endswith("?")
    assert spec.priors["valence"] == Normal(0, 0.1)


def test_json_and_back():
    spec = ModelSpec(FORMULA, priors={"sd:valence|participant": HalfNormal(0.3)}, weights="w", name="mine")
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_what_is_said_about_residuals_survives_json():
    spec = ModelSpec(FORMULA, residual="ar1", series=("participant", "trial"), sigma_by="medium")
    assert spec.sigma_by == ("medium",)
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_a_spec_is_frozen_and_copies_what_it_is_given():
    mine = {"beta": Normal(0, 1)}
    spec = ModelSpec(FORMULA, priors=mine)
    mine["beta"] = Normal(0, 2)
    assert spec.priors["beta"] == Normal(0, 1)
    with pytest.raises(TypeError):
        spec.priors["beta"] = Normal(0, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"family": "gausian"}, "did you mean 'gaussian'"),
        ({"residual": "ar2"}, "iid, ar1"),
        ({"priors": {"beta": 1.0}}, "mien.priors.Normal"),
        ({"weights": "w", "standard_errors": "se"}, "one of them"),
        ({"weights": "w", "counts": "n"}, "weights and counts: expected one of them"),
        ({"series": ("participant",)}, "residual='ar1'"),
        ({"residual": "ar1", "counts": "n"}, "found counts"),
        ({"residual": "ar1", "standard_errors": "se"}, "found standard_errors"),
        ({"sigma_by": ("medium",), "standard_errors": "se"}, "priors['sigma']"),
        ({"parameters": {"phi": "~ valence"}}, "none for family 'gaussian', found 'phi'"),
        ({"family": "ordered_beta", "parameters": {"ph": "~ valence"}}, "did you mean 'phi'"),
        ({"family": "ordered_beta", "parameters": {"cutpoint_zero": "~ valence"}}, "expected some of phi"),
        ({"family": "ordered_beta", "parameters": {"phi": "~ (1 | participant)"}}, "coefficients only"),
        ({"family": "ordered_beta", "weights": "w"}, "single, independent values, found weights"),
        ({"family": "student_t", "sigma_by": "medium"}, "parameters={'sigma': '~ medium'}"),
        ({"family": "hurdle_gamma", "residual": "ar1"}, "residual='ar1'"),
        ({"family": "hurdle_gamma", "smooths": ("s(time)",)}, "found smooths"),
    ],
)
def test_misspelt_fields(fields, words):
    with pytest.raises(SpecError, match="expected") as caught:
        ModelSpec(FORMULA, **fields)
    assert words in str(caught.value)
    assert "gaussian" in FAMILIES


@pytest.mark.parametrize(
    "hostile",
    [
        "y ~ pd.io.common.os.system('touch /tmp/x')",
        "y ~ __import__('os').system('ls')",
        "y ~ open(1)",
        "y ~ x[0]",
        "y ~ (lambda: 0)()",
        "y ~ eval(x)",
        "y ~ {x}",
    ],
)
def test_formulas_that_try_to_run_code_are_refused(hostile):
    with pytest.raises(SpecError):
        ModelSpec(hostile)
    spoilt = ModelSpec(FORMULA).to_json().replace(FORMULA, hostile.replace("'", "\\u0027"))
    with pytest.raises(SpecError):
        ModelSpec.from_json(spoilt)
