import pytest

from mien.priors import (
    LIBRARY,
    LKJ,
    DataScale,
    Fixed,
    Flat,
    HalfNormal,
    HalfStudentT,
    Normal,
    ParameterNames,
    resolve,
)
from mien.study.errors import SpecError

NAMES = ParameterNames(
    ("Intercept", "valence", "age"), ("1|participant", "valence|participant", "1|stimulus"), ("participant",)
)
SCALE = DataScale(
    mean_y=0.1,
    sd_y=0.05,
    mean_x={"valence": 0.0, "age": 30.0},
    sd_x={"valence": 0.5, "age": 10.0},
    sd_z={"1|participant": 1.0, "valence|participant": 0.5, "1|stimulus": 1.0},
)


def priors(overrides=()):
    return {name: resolved.prior for name, resolved in resolve(dict(overrides), NAMES, SCALE).items()}


def test_defaults_as_numbers_on_the_scale_of_the_data():
    found = priors()
    assert found["valence"] == Normal(0.0, 0.1)
    assert found["age"] == Normal(0.0, 0.005)
    assert found["sd:1|participant"] == HalfNormal(0.05)
    assert found["sd:valence|participant"] == HalfNormal(0.1)
    assert found["corr:participant"] == LKJ(2.0)
    assert found["sigma"] == HalfStudentT(4.0, 0.05)


def test_the_intercept_as_written_is_wide_where_a_column_is_not_centred():
    # sqrt((2.5 · .05)² + (.1 · 0)² + (.005 · 30)²)
    assert priors()["Intercept"].mean == 0.1
    assert priors()["Intercept"].sd == pytest.approx(0.1952562, abs=1e-7)


def test_a_name_wins_over_its_role_and_stands_as_written():
    found = priors(
        {"beta": Normal(0, 9), "valence": Flat(), "sd": HalfNormal(3), "sd:1|stimulus": Fixed(0.2)}
    )
    assert (found["age"], found["valence"]) == (Normal(0, 9), Flat())
    assert (found["sd:1|participant"], found["sd:1|stimulus"]) == (HalfNormal(3), Fixed(0.2))
    assert resolve({"valence": Flat()}, NAMES, SCALE)["valence"].source == "user"


def test_numbers_follow_the_unit_of_the_outcome():
    tenfold = SCALE._replace(mean_y=1.0, sd_y=0.5)
    assert resolve({}, NAMES, tenfold)["sigma"].prior == HalfStudentT(4.0, 0.5)
    assert resolve({}, NAMES, tenfold)["valence"].prior == Normal(0.0, 1.0)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"valance": Normal(0, 1)}, "did you mean 'valence'"),
        ({"sd:valence|stimulus": HalfNormal(1)}, "sd:valence|participant"),
        ({"valence": HalfNormal(1)}, "Normal, Flat, Fixed"),
        ({"sigma": Normal(0, 1)}, "HalfNormal"),
        ({"sd": Fixed(0.0)}, "above 0"),
        ({"corr": Fixed(1.0)}, "between -1 and 1"),
    ],
)
def test_what_is_no_parameter_or_no_prior_of_it_is_refused(overrides, words):
    with pytest.raises(SpecError, match="priors") as caught:
        resolve(overrides, NAMES, SCALE)
    assert words in str(caught.value)


CURVES = ParameterNames(
    ("Intercept", "time"), ("s(time)", "s(time):valence|participant", "1|participant"), ()
)
OF_CURVES = DataScale(
    0.1, 0.05, {"time": 2.0}, {"time": 1.0},
    {"s(time)": 1.0, "s(time):valence|participant": 0.5, "1|participant": 1.0},
)  # fmt: skip


def test_curves_have_a_role_of_their_own_with_the_numbers_of_a_group_sd():
    found = resolve({}, CURVES, OF_CURVES)
    assert found["sd:s(time)"].prior == HalfNormal(0.05)
    assert found["sd:s(time):valence|participant"].prior == HalfNormal(0.1)
    assert found["sd:s(time)"].id == "mien-weak/smooth-sd 1"
    assert found["sd:1|participant"].id == "mien-weak/group-sd 1"


def test_what_is_set_for_group_sds_holds_for_curves_unless_they_have_their_own():
    both = resolve({"sd": HalfNormal(0.2)}, CURVES, OF_CURVES)
    assert both["sd:s(time)"].prior == both["sd:1|participant"].prior == HalfNormal(0.2)
    own = resolve({"sd": HalfNormal(0.2), "smooth": LIBRARY.find("smooth-sd:narrow")}, CURVES, OF_CURVES)
    assert own["sd:s(time)"].prior == HalfNormal(0.025)
    assert own["sd:1|participant"].prior == HalfNormal(0.2)
    assert resolve({"sd": LIBRARY.find("group-sd:wide")}, CURVES, OF_CURVES)[
        "sd:s(time)"
    ].prior == HalfNormal(0.1)
    with pytest.raises(SpecError, match="smooth"):
        resolve({"sd:1|participant": LIBRARY.find("smooth-sd")}, CURVES, OF_CURVES)
