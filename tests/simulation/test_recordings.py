import numpy as np

from mien.simulation.design import Design, small_design
from mien.simulation.people import draw_stimulus_effects
from mien.simulation.recordings import participant_of, simulate_person, stimulus_effects_of
from mien.simulation.truth import default_truth
from mien.study.blend_shapes import NAMES
from mien.study.events import validate_events


def test_a_person_has_a_take_for_pictures_and_one_for_films(small_person):
    assert [take.task for take in small_person.takes] == ["met", "films"]
    recording = small_person.takes[0].recording()
    assert list(recording["blend_shape"].to_numpy()) == list(NAMES)
    assert recording.attrs["nominal_rate"] == 60.0
    assert abs(recording.attrs["effective_rate"] - 59.9) < 0.2


def test_events_are_valid_and_lie_within_the_recording(small_person):
    for take in small_person.takes:
        events = validate_events(take.events)
        assert events["onset"].is_monotonic_increasing
        assert events["onset"].iloc[-1] < take.frames.time[-1]
        assert list(events["trial_type"].iloc[[0, 1, 2, -1]]) == ["blink"] * 4
        assert (events["trial_type"] == "blink").sum() == 6
        assert events.loc[events["stimulus_id"].notna(), "rating_empathy"].between(0, 9).all()


def test_every_stimulus_is_shown_once_in_an_order_of_the_persons_own():
    design, truth = small_design(), default_truth()
    effects = stimulus_effects_of(design, truth, 3)
    orders = [
        list(
            participant_of(design, truth, effects, seed=3, participant=number)
            .takes[0]
            .events["stimulus_id"]
            .dropna()
        )
        for number in (0, 1)
    ]
    assert sorted(orders[0]) == sorted(orders[1])
    assert len(set(orders[0])) == 20
    assert orders[0] != orders[1]


def test_a_seed_and_a_number_make_a_person(small_person):
    design, truth = small_design(), default_truth()
    effects = stimulus_effects_of(design, truth, 0)
    again, other = (participant_of(design, truth, effects, seed=0, participant=number) for number in (0, 1))
    assert np.array_equal(again.takes[1].frames.activation, small_person.takes[1].frames.activation)
    assert not np.array_equal(other.takes[1].frames.time, small_person.takes[1].frames.time)


def test_the_mirror_image_differs_only_in_the_reactions():
    design, truth = small_design(), default_truth()
    takes = []
    for swap in (False, True):
        rng = np.random.default_rng(5)
        effects = draw_stimulus_effects(design, truth, rng)
        takes.append(simulate_person(design, truth, effects, rng, swap_valence=swap).takes[0])
    one, other = takes
    assert list(one.events["onset"]) == list(other.events["onset"])
    before = one.frames.time[:300]
    assert np.array_equal(before, other.frames.time[:300])
    jaw, smile = NAMES.index("jawForward"), NAMES.index("mouthSmileLeft")
    frames = min(len(one.frames.time), len(other.frames.time), 2_000)
    assert np.array_equal(one.frames.activation[:300], other.frames.activation[:300])
    assert not np.array_equal(one.frames.activation[:frames, smile], other.frames.activation[:frames, smile])
    assert one.frames.activation[:, jaw].mean() > 0


def test_the_stimulus_computers_clock_starts_elsewhere_and_drifts():
    truth = default_truth()
    events = {}
    for clock in ("aligned", "stimulus"):
        design = Design(participants=1, pictures_per_valence=10, films_per_valence=2, clock=clock)
        effects = stimulus_effects_of(design, truth, 0)
        events[clock] = participant_of(design, truth, effects, seed=0, participant=0).takes[0].events["onset"]
    apart = (events["stimulus"] - events["aligned"]).to_numpy()
    assert 20 < apart.min() < apart.max() < 401
    assert 1e-4 < np.ptp(apart) < 0.1
