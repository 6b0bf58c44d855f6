import pandas as pd
import pytest

from mien.capture.formats import read_recording
from mien.data_prep.recipe import Recipe
from mien.data_prep.trials import prepare_recording
from mien.simulation.design import Design, stimuli_table
from mien.simulation.study import write_raw_study
from mien.simulation.trials import simulate_trials
from mien.study.events import read_events
from mien.study.labels import RecordingId
from mien.study.tables import read_table
from mien.study.trials import validate_trials

TINY = Design(participants=2, pictures_per_valence=2, films_per_valence=1, picture_s=2.0, film_s=3.0)


def test_trials_without_files_are_those_of_the_files(tmp_path):
    write_raw_study(tmp_path / "raw", TINY, seed=4, workers=1)
    sessions = read_table(tmp_path / "raw" / "sessions.tsv")
    tables = []
    for _, row in sessions.iterrows():
        recording = read_recording(tmp_path / "raw" / row["source"])
        events = read_events(tmp_path / "raw" / row["events"]).table
        name = RecordingId(row["participant"], "1", row["task"], "1")
        tables.append(
            prepare_recording(
                recording, events, stimuli_table(TINY), Recipe(), recording_id=name, aligned=True
            ).trials
        )
    from_files = pd.concat(tables, ignore_index=True)
    direct = validate_trials(simulate_trials(TINY, seed=4).trials)
    assert len(direct) == len(from_files)
    assert list(direct["stimulus"].astype(str)) == list(from_files["stimulus"].astype(str))
    for measure in ("activation", "raw", "baseline"):
        # A frame at the edge of a window may fall on either side of it, by 17 µs of timecode.
        apart = (direct[measure] - from_files[measure]).abs()
        assert apart.median() < 1e-7
        assert apart.max() < 2e-3


def test_participants_come_with_their_traits():
    found = simulate_trials(TINY, seed=4)
    assert list(found.participants["participant_id"]) == ["sub-01", "sub-02"]
    assert set(found.trials["participant"].cat.categories) == {"01", "02"}
    assert "rating_empathy" in found.trials.columns


def test_processes_do_not_change_the_trials():
    one, two = (simulate_trials(TINY, seed=2, workers=workers).trials for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("seed", [0, 1])
def test_most_trials_are_kept_and_some_bins_are_lost(seed):
    excluded = simulate_trials(Design(participants=4), seed=seed).trials["excluded"]
    assert 0.001 < (excluded != "").mean() < 0.08
