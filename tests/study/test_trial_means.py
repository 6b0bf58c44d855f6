"""Means over bins and contrasts of shapes, against loops and hand computation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.study.errors import TrialsError
from mien.study.trials import SERIES_KEY, contrast, mean_over_bins, validate_trials


def test_bins_are_weighted_by_tracked_frames(as_trials):
    trials = as_trials(
        [
            {
                "bin": 0,
                "time": 0.25,
                "activation": 0.1,
                "raw": 0.3,
                "peak": 0.4,
                "n_frames": 30,
                "valid": 1.0,
            },
            {
                "bin": 1,
                "time": 0.75,
                "activation": 0.5,
                "raw": 0.7,
                "peak": 0.9,
                "n_frames": 30,
                "valid": 1 / 3,
            },
        ]
    )
    row = mean_over_bins(trials).iloc[0]
    assert row["activation"] == pytest.approx((30 * 0.1 + 10 * 0.5) / 40)
    assert row["raw"] == pytest.approx((30 * 0.3 + 10 * 0.7) / 40)
    assert row["time"] == pytest.approx((30 * 0.25 + 10 * 0.75) / 40)
    assert row["peak"] == np.float32(0.9)
    assert (row["n_frames"], row["bin"], row["excluded"]) == (60, 0, "")
    assert row["valid"] == pytest.approx(40 / 60)


def test_excluded_bins_do_not_count(as_trials):
    trials = as_trials(
        [
            {"bin": 0, "activation": 0.1, "n_frames": 10},
            {"bin": 1, "activation": 0.9, "n_frames": 99, "peak": 1.0, "excluded": "outlier"},
        ]
    )
    row = mean_over_bins(trials).iloc[0]
    assert row["activation"] == np.float32(0.1)
    assert (row["n_frames"], row["peak"], row["excluded"]) == (10, np.float32(0.3), "")


def test_a_trial_without_a_kept_bin_stays_with_its_reason(as_trials):
    nan = float("nan")
    trials = as_trials(
        [
            {
                "bin": 0,
                "time": 0.25,
                "activation": nan,
                "raw": nan,
                "peak": nan,
                "valid": 0.0,
                "excluded": "lost",
            },
            {
                "bin": 1,
                "time": 0.75,
                "activation": nan,
                "raw": nan,
                "peak": nan,
                "valid": 0.0,
                "excluded": "few",
            },
        ]
    )
    result = mean_over_bins(trials)
    row = result.iloc[0]
    assert len(result) == 1
    assert row["excluded"] == "lost"
    assert np.isnan(row["activation"])
    assert np.isnan(row["peak"])
    assert row["valid"] == 0.0
    assert row["time"] == 0.5, "the middle of its bins, since no frame was tracked"
    validate_trials(result)


def test_the_result_is_a_trials_table_with_ratings(as_trials):
    trials = as_trials(
        [{"bin": bin, "trial": trial, "rating_valence": 10.0 * trial} for trial in (1, 2) for bin in (0, 1)]
    )
    result = validate_trials(mean_over_bins(trials))
    assert list(result.columns) == list(trials.columns)
    assert list(result["rating_valence"]) == [10.0, 20.0]
    assert list(result.index) == [0, 1]


rows = st.lists(
    st.fixed_dictionaries(
        {
            "trial": st.integers(1, 3),
            "participant": st.sampled_from(["01", "02"]),
            "blend_shape": st.sampled_from(["mouthSmile", "jawOpen"]),
            "activation": st.floats(-1, 1, width=32),
            "raw": st.floats(0, 1, width=32),
            "peak": st.one_of(st.just(float("nan")), st.floats(0, 1, width=32)),
            "time": st.floats(0, 9, width=32),
            "n_frames": st.integers(1, 40),
            "valid": st.sampled_from([0.25, 0.5, 1.0]),
            "excluded": st.sampled_from(["", "", "outlier", "lost"]),
        }
    ),
    min_size=1,
    max_size=14,
)


def brute_force(trials):
    """The same by a loop, one series after the other."""
    expected = {}
    for _, row in trials.iterrows():
        expected.setdefault(tuple(row[name] for name in SERIES_KEY), []).append(row)
    for key, series in expected.items():
        kept = [row for row in series if row["excluded"] == ""]
        used = kept or series
        tracked = [float(row["n_frames"]) * float(row["valid"]) for row in used]
        peaks = [float(row["peak"]) for row in used if not np.isnan(row["peak"])]
        values = {
            name: sum(w * float(row[name]) for w, row in zip(tracked, used, strict=True)) / sum(tracked)
            for name in ("activation", "raw", "baseline", "time")
        }
        expected[key] = {
            **values,
            "peak": max(peaks, default=float("nan")),
            "n_frames": sum(int(row["n_frames"]) for row in used),
            "valid": sum(tracked) / sum(float(row["n_frames"]) for row in used),
            "excluded": "" if kept else series[0]["excluded"],
        }
    return expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, data=st.data())
def test_means_agree_with_a_loop(rows, data, as_trials):
    trials = as_trials([{**row, "bin": number} for number, row in enumerate(rows)])
    trials.index = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    result = mean_over_bins(trials)
    expected = brute_force(trials)
    assert len(result) == len(expected)
    for _, row in result.iterrows():
        for name, value in expected[tuple(row[key] for key in SERIES_KEY)].items():
            assert row[name] == (
                value if name == "excluded" else pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True)
            )
    validate_trials(result)


def test_single_bins_are_treated_as_beside_longer_trials(as_trials):
    """A table of single bins takes a shorter way to the same numbers."""
    odd = [
        {}, {"valid": 0.0}, {"n_frames": 0}, {"activation": np.nan, "excluded": "lost"}, {"peak": np.nan},
        {"excluded": "moving"}, {"bin": 7, "time": 3.75},
    ]  # fmt: skip
    single = [{"trial": number, **row} for number, row in enumerate(odd, start=1)]
    longer = [{"trial": 99, "bin": number} for number in (0, 1)]
    beside = mean_over_bins(as_trials([*single, *longer]))
    pd.testing.assert_frame_equal(
        mean_over_bins(as_trials(single)), beside.iloc[: len(single)], check_exact=True
    )


@pytest.fixture
def two_shapes(as_trials):
    return as_trials(
        [
            {"blend_shape": "mouthSmile", "bin": 0, "activation": 0.5, "raw": 0.6, "baseline": 0.1},
            {
                "blend_shape": "mouthFrown",
                "bin": 0,
                "activation": 0.2,
                "raw": 0.2,
                "baseline": 0.0,
                "valid": 0.5,
            },
            {"blend_shape": "mouthSmile", "bin": 1, "activation": 0.25},
            {
                "blend_shape": "mouthFrown",
                "bin": 1,
                "activation": -0.25,
                "excluded": "outlier",
                "n_frames": 12,
            },
        ]
    )


def test_a_contrast_is_the_weighted_sum(two_shapes):
    result = contrast(
        two_shapes, {"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}, "half": {"mouthFrown": 0.5}}
    )
    np.testing.assert_allclose(result["activation"], [0.3, 0.5, 0.1, -0.125], rtol=1e-6)
    np.testing.assert_allclose(result["raw"][:1], [0.4], rtol=1e-6)
    np.testing.assert_allclose(result["baseline"][:1], [0.1], rtol=1e-6)
    assert list(result["blend_shape"]) == ["smile - frown", "smile - frown", "half", "half"]
    assert list(result["blend_shape"].cat.categories) == ["smile - frown", "half"]
    assert list(result["excluded"]) == ["", "outlier", "", "outlier"]
    assert list(result["valid"]) == [0.5, 1.0, 0.5, 1.0]
    assert list(result["n_frames"]) == [30, 12, 30, 12]
    assert result["peak"].isna().all()


def test_a_contrast_is_a_trials_table(two_shapes):
    more = two_shapes.assign(rating_valence=3.0)
    result = validate_trials(contrast(more, {"both": {"mouthSmile": 0.5, "mouthFrown": 0.5}}))
    assert list(result.columns) == list(more.columns)
    assert result.dtypes.drop("blend_shape").equals(more.dtypes.drop("blend_shape"))


def test_a_bin_that_lacks_one_of_the_shapes_has_no_row(two_shapes):
    result = contrast(two_shapes.iloc[:3], {"d": {"mouthSmile": 1, "mouthFrown": -1}})
    assert list(result["bin"]) == [0]


def test_rows_may_stand_in_any_order_with_any_index(two_shapes):
    weights = {"d": {"mouthSmile": 2, "mouthFrown": -1}}
    shuffled = two_shapes.iloc[[3, 0, 2, 1]].set_axis([5, 5, 5, 5])
    ordered = contrast(shuffled, weights).sort_values("bin", ignore_index=True)
    pd.testing.assert_frame_equal(ordered, contrast(two_shapes, weights))


def test_means_and_contrasts_agree_in_either_order(as_trials):
    rng = np.random.default_rng(1)
    trials = as_trials(
        [
            {"blend_shape": shape, "bin": bin, "activation": rng.random(), "n_frames": 20 + bin}
            for shape in ("mouthSmile", "mouthFrown")
            for bin in range(4)
        ]
    )
    weights = {"d": {"mouthSmile": 1, "mouthFrown": -0.5}}
    one = mean_over_bins(contrast(trials, weights))["activation"].item()
    other = contrast(mean_over_bins(trials), weights)["activation"].item()
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "expected at least one, found none"),
        ({"d": {}}, "contrast 'd': expected at least one shape with a weight"),
        ({"d": {"mouthSmle": 1}}, r"found 'mouthSmle' \(did you mean 'mouthSmile'\?\)"),
        ({"d": {"jawOpen": 1}}, "found 'jawOpen'"),
        ({"mouthSmile": {"mouthSmile": 1, "mouthFrown": -1}}, "expected a name that no shape has"),
        ({"d": {"mouthSmile": float("nan")}}, "expected a finite weight of mouthSmile"),
    ],
)
def test_a_bad_contrast_is_named(weights, message, two_shapes):
    unused = two_shapes.assign(blend_shape=two_shapes["blend_shape"].cat.add_categories(["jawOpen"]))
    with pytest.raises(TrialsError, match=message):
        contrast(unused, weights)


def test_rows_that_occur_twice_are_refused(two_shapes):
    with pytest.raises(TrialsError, match=r"of mouthSmile once, found two rows of \{'participant': '01'"):
        contrast(pd.concat([two_shapes, two_shapes.iloc[:1]]), {"d": {"mouthSmile": 1}})


def test_shapes_that_never_meet_are_refused(two_shapes):
    with pytest.raises(TrialsError, match="expected bins with all of its shapes, found none"):
        contrast(two_shapes.iloc[[0, 3]], {"d": {"mouthSmile": 1, "mouthFrown": -1}})
