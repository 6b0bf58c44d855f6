import numpy as np
import pytest

from mien.models import SHAPE_SETS, ModelSpec, effects, fit, load, save, shape_contrasts
from mien.models.shape_sets import residual_sds
from mien.study.errors import SpecError

SHAPES = (
    "mouthSmile",
    "mouthFrown",
    "browDown",
    "browInnerUp",
    "browOuterUp",
    "noseSneer",
    "eyeBlink",
    "eyeLookUp",
)


@pytest.fixture(scope="module")
def table(trials_maker):
    return trials_maker(shapes=SHAPES)


def test_regions_are_means_of_two_shapes_or_more_without_gaze_and_blinks(table):
    found = shape_contrasts("regions", table, scale="raw")
    assert found == {
        "mouth": {"mouthSmile": 0.5, "mouthFrown": 0.5},
        "brow": {"browDown": 1 / 3, "browInnerUp": 1 / 3, "browOuterUp": 1 / 3},
    }


def test_residual_sds_are_those_of_least_squares(table):
    one = table[table["blend_shape"] == "mouthSmile"]
    labels = (one[name].to_numpy(dtype=object) for name in ("participant", "stimulus"))
    columns = np.column_stack([(own[:, None] == np.unique(own)).astype(float) for own in labels])
    y = one["activation"].to_numpy(dtype=np.float64)
    left = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    wanted = np.sqrt((left**2).sum() / (len(y) - np.linalg.matrix_rank(columns)))
    assert residual_sds(table)["mouthSmile"] == pytest.approx(wanted, rel=1e-8)


def test_weights_are_divided_by_residual_sds(table):
    sds = residual_sds(table)
    assert shape_contrasts("smile - frown", table) == {
        "smile - frown": {
            "mouthSmile": pytest.approx(1 / sds["mouthSmile"]),
            "mouthFrown": pytest.approx(-1 / sds["mouthFrown"]),
        }
    }
    own = {"raised": {"browInnerUp": 2.0, "browDown": -1.0}}
    assert shape_contrasts(own, table, scale="raw") == own
    assert shape_contrasts(own, table)["raised"]["browInnerUp"] == pytest.approx(2 / sds["browInnerUp"])


def test_a_shape_ten_times_as_large_has_a_tenth_of_the_weight(table):
    larger = table.copy()
    mine = larger["blend_shape"] == "browDown"
    larger.loc[mine, "activation"] *= 10
    before, after = (shape_contrasts("regions", data)["brow"]["browDown"] for data in (table, larger))
    assert after == pytest.approx(before / 10, rel=1e-5)


def test_sides_and_action_units(trials_maker):
    data = trials_maker(
        shapes=("mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "browInnerUp")
    )
    assert shape_contrasts("asymmetry", data, scale="raw") == {
        "mouthSmile left - right": {"mouthSmileLeft": 1.0, "mouthSmileRight": -1.0},
        "mouthFrown left - right": {"mouthFrownLeft": 1.0, "mouthFrownRight": -1.0},
    }
    assert shape_contrasts("action_units", data, scale="raw") == {
        "AU12": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5},
        "AU15": {"mouthFrownLeft": 0.5, "mouthFrownRight": 0.5},
    }
    assert shape_contrasts("smile - frown", data, scale="raw")["smile - frown"] == {
        "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "mouthFrownLeft": -0.5, "mouthFrownRight": -0.5,
    }  # fmt: skip


def test_a_fit_has_them_as_outcomes_and_keeps_their_weights(table, tmp_path):
    weights = shape_contrasts(("regions", "smile - frown"), table)
    made = fit(ModelSpec("activation ~ valence + (1 | participant)", contrasts=weights), table, draws=200)
    rows = effects(made).set_index("blend_shape")
    assert {"mouth", "brow", "smile - frown"} <= set(rows.index)
    assert rows.loc["mouth", "region"] == "contrast"
    assert rows.loc["mouth", "units"] == "contrast"
    assert rows.loc["mouthSmile", "units"] == "coefficient"
    back = ModelSpec.from_json(str(load(save(made, tmp_path / "contrasts-0")).attrs["model_spec"]))
    assert {name: dict(own) for name, own in back.contrasts.items()} == weights


def test_shapes_that_do_not_move_are_in_no_set(table):
    still = table.copy()
    still.loc[still["blend_shape"] == "browDown", "activation"] = np.float32(0.0)
    assert "browDown" not in shape_contrasts("regions", still)["brow"]
    with pytest.raises(SpecError, match="shapes that move"):
        shape_contrasts({"x": {"browDown": 1.0}}, still)


@pytest.mark.parametrize("name", SHAPE_SETS)
def test_every_set_says_what_it_lacks(name, trials_maker):
    with pytest.raises(SpecError, match="expected a table with"):
        shape_contrasts(name, trials_maker(shapes=("noseSneer", "browDown")))


def test_what_is_not_known_is_refused(table):
    with pytest.raises(SpecError, match="did you mean 'regions'"):
        shape_contrasts("region", table)
    with pytest.raises(SpecError, match="scale: expected"):
        shape_contrasts("regions", table, scale="sd")
    with pytest.raises(SpecError, match="did you mean 'mouthSmile'"):
        shape_contrasts({"x": {"mouthSmil": 1.0}}, table)
