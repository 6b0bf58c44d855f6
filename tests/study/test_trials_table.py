"""The Trials table at the door, and the order of shapes."""

import numpy as np
import pandas as pd
import pytest

from mien.study.blend_shapes import BILATERAL_NAMES, NAMES
from mien.study.errors import TrialsError
from mien.study.trials import RESERVED, TRIAL_COLUMNS, order_of_shape, row_codes, validate_trials


@pytest.fixture
def trials(as_trials):
    return as_trials([{"bin": 0}, {"bin": 1}, {"bin": 0, "blend_shape": "jawOpen"}, {"bin": 0, "trial": 2}])


def test_a_good_table_is_returned_as_it_is(trials):
    assert validate_trials(trials) is trials
    further = trials.assign(rating_valence=[1.0, np.nan, 2.0, 3.0])
    assert validate_trials(further) is further


def test_an_empty_table_is_a_table(trials):
    assert validate_trials(trials.iloc[:0]).empty


@pytest.mark.parametrize("name", list(TRIAL_COLUMNS))
def test_a_missing_column_is_named(name, trials):
    with pytest.raises(TrialsError, match=f"found no {name}: make the table with"):
        validate_trials(trials.drop(columns=name), where="mine")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("activation", "float64"),
        ("bin", "int64"),
        ("participant", "str"),
        ("excluded", "object"),
        ("excluded", "category"),
    ],
)
def test_a_wrong_type_is_named(name, dtype, trials):
    with pytest.raises(TrialsError, match=f"mine: expected column {name} of type .*, found {dtype}"):
        validate_trials(trials.astype({name: dtype}), where="mine")


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("valence", "postive", r"found 'postive' \(did you mean 'positive'\?\)"),
        ("medium", "movie", "medium to be one of picture, film, found 'movie'"),
        ("tracker", "kinect", "found 'kinect'"),
    ],
)
def test_an_unknown_level_is_named(name, level, message, trials):
    changed = trials.assign(**{name: trials[name].cat.rename_categories({trials[name].iloc[0]: level})})
    with pytest.raises(TrialsError, match=message):
        validate_trials(changed)


@pytest.mark.parametrize(
    "name", [name for name, dtype in TRIAL_COLUMNS.items() if dtype in ("category", "str")]
)
def test_a_missing_label_is_named_with_its_row(name, trials):
    values = trials[name].copy()
    values.iloc[2] = None
    with pytest.raises(TrialsError, match=f"row 2: expected {name} in every row"):
        validate_trials(trials.assign(**{name: values}))


def test_a_key_that_occurs_twice_is_shown(trials):
    twice = pd.concat([trials, trials.iloc[[1]]])
    with pytest.raises(
        TrialsError, match=r"found two rows of \{'participant': '01'.*'bin': 1, 'blend_shape'"
    ):
        validate_trials(twice)


def test_a_repeated_index_is_no_repeated_key(as_trials):
    parts = [as_trials([{"bin": 0}, {"bin": 1}], participant=participant) for participant in ("01", "02")]
    together = pd.concat(parts).astype({"participant": "category"})
    assert list(together.index) == [0, 1, 0, 1]
    assert validate_trials(together) is together


@pytest.mark.parametrize("name", ["activation", "raw", "baseline", "peak"])
def test_infinite_values_are_refused(name, trials):
    with pytest.raises(TrialsError, match=f"finite numbers in {name}"):
        validate_trials(trials.assign(**{name: np.float32([0, np.inf, 0, 0])}))


def test_a_kept_row_has_an_activation(trials):
    gap = trials.assign(activation=np.float32([0.1, np.nan, 0.1, 0.1]))
    with pytest.raises(TrialsError, match="row 1: expected an activation in every row that is kept"):
        validate_trials(gap)
    reason = pd.Series(["", "tracking lost", "", ""], dtype="str")
    assert len(validate_trials(gap.assign(excluded=reason))) == 4


def test_levels_that_no_row_uses_are_allowed(trials):
    more = trials.assign(stimulus=trials["stimulus"].cat.add_categories(["p9"]))
    assert validate_trials(more) is more


def test_a_table_survives_parquet(trials, tmp_path):
    trials.to_parquet(tmp_path / "trials.parquet")
    pd.testing.assert_frame_equal(validate_trials(pd.read_parquet(tmp_path / "trials.parquet")), trials)


def test_names_of_the_table_are_reserved():
    assert {*TRIAL_COLUMNS, "onset", "duration", "stimulus_id", "onset_stimulus"} <= RESERVED
    assert "rating_valence" not in RESERVED


def test_shapes_are_ordered_as_arkit_orders_them():
    assert [order_of_shape(name) for name in NAMES] == list(range(52))
    assert order_of_shape("mouthSmile") == order_of_shape("mouthSmileLeft") == NAMES.index("mouthSmileLeft")
    assert order_of_shape("jawLeft") == NAMES.index("jawLeft")
    assert order_of_shape("smile - frown") == 52
    assert len({order_of_shape(name) for name in BILATERAL_NAMES}) == 34


def test_rows_are_numbered_by_first_occurrence(as_trials):
    rows = [
        {"trial": trial, "blend_shape": shape}
        for trial, shape in [(7, "b"), (7, "a"), (2, "b"), (7, "a"), (7, "b")]
    ]
    table = as_trials(rows)
    assert row_codes(table, ["trial", "blend_shape"]).tolist() == [0, 1, 2, 1, 0]
    expected = table.groupby(["trial", "blend_shape"], sort=False, observed=True).ngroup()
    assert row_codes(table, ["trial", "blend_shape"]).tolist() == expected.tolist()
    assert row_codes(table.iloc[:0], ["trial"]).tolist() == []
