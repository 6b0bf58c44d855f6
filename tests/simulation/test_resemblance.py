import numpy as np
import pytest

from mien.capture.formats import read_recording
from mien.simulation.resemblance import RANGES, autocorrelation_time, figures, side_correlations

# A range-of-motion take at 30 frames/s: its rows and times in frames are not those of a 60 Hz take.
OF_ANY_RATE = ("zero_share", "lids_squint_outer_brow_r", "highest", "lowest")


def outside(found, names=tuple(RANGES)):
    return [name for name in names if not RANGES[name][0] <= found[name] <= RANGES[name][1] + 1e-6]


@pytest.fixture(scope="module")
def recordings(demo_takes):
    return [take.recording() for take in demo_takes]


def test_simulated_takes_have_the_figures_measured_on_real_ones(recordings):
    assert outside(figures(recordings)) == []


def test_a_real_take_has_them_too(real_take):
    recording = read_recording(real_take)
    found = figures([recording])
    assert outside(found, OF_ANY_RATE) == []
    assert 70 <= 2 * found["autocorrelation_frames"] <= 170  # at 60 frames/s


def test_sides_are_nearly_one_for_lids_and_less_elsewhere(recordings):
    found = side_correlations(recordings[0])
    assert min(found[name] for name in ("eyeBlink", "eyeSquint", "browOuterUp")) >= 0.98
    assert 0.8 < found["mouthFrown"] < 0.98
    assert found["eyeLookIn"] < 0


def test_gaze_passes_one_and_some_shapes_never_move(recordings):
    over = np.concatenate([one["activation"].to_numpy().max(0) for one in recordings]).reshape(-1, 52) > 1
    assert {recordings[0]["blend_shape"].to_numpy()[column] for column in np.flatnonzero(over.any(0))} <= {
        "eyeLookInLeft",
        "eyeLookInRight",
    }
    still = [(one["activation"].to_numpy().std(0) == 0).sum() for one in recordings]
    assert 0 < np.mean(still) < 8


def test_takes_differ_in_their_clocks(recordings):
    rates = [1 / np.median(np.diff(one["time"].to_numpy())) for one in recordings]
    assert np.mean(rates) == pytest.approx(59.904, abs=0.015)
    assert 0.004 < np.std(rates) < 0.03


@pytest.mark.parametrize(
    ("spoil", "figure"),
    [
        (lambda r: r.assign(activation=r["activation"] + 0.01), "zero_share"),
        (lambda r: r.assign_coords(time=r["time"] * 59.904 / 61), "rows_per_second"),
        (lambda r: r.assign(activation=r["activation"].clip(max=0.7)), "highest"),
        (lambda r: r.assign(activation=r["activation"][np.random.default_rng(1).permutation(r.sizes["time"])]
                            .assign_coords(time=r["time"])), "autocorrelation_frames"),
    ],
)  # fmt: skip
def test_a_generator_that_forgets_one_of_them_is_found_out(recordings, spoil, figure):
    assert figure in outside(figures([spoil(one) for one in recordings[:4]]))


def test_autocorrelation_time_of_known_signals(rng):
    assert autocorrelation_time(rng.standard_normal(50_000)) == pytest.approx(1.0, abs=0.1)
    assert np.isnan(autocorrelation_time(np.ones(100)))
