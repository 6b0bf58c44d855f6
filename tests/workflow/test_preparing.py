import json

import numpy as np
import pandas as pd
import pytest

from mien.data_prep.recipe import Recipe
from mien.study.errors import MienError, StudyError, TrialsError
from mien.study.folder import Study
from mien.workflow.checking import check_study
from mien.workflow.exporting import export_trials
from mien.workflow.importing import import_recordings
from mien.workflow.preparing import load_prep, load_trials, prepare, prepare_and_store
from mien.workflow.sessions import ImportRequest


@pytest.fixture
def study(study_folder, make_take, make_events):
    events = make_events(rating_empathy=[1, 2, 3])
    requests = [
        ImportRequest(
            make_take(f"{person}{run}.csv", 10 * person + run),
            f"0{person}",
            "met",
            events=events,
            clock="same",
        )
        for person in (1, 2)
        for run in (1, 2)
    ]
    import_recordings(study_folder, requests)
    return Study(study_folder)


def test_trials_are_counted_on_through_the_runs(study):
    trials = prepare(study)
    for _, person in trials.groupby("participant", observed=True):
        by_run = person.groupby("run", observed=True)["trial"]
        assert by_run.unique().map(sorted).to_dict() == {"1": [1, 2, 3], "2": [4, 5, 6]}


def test_stored_trials_read_back_the_same(study):
    made = prepare_and_store(study)
    stored = load_trials(study)
    pd.testing.assert_frame_equal(stored, made.trials)
    prep = load_prep(study)
    assert prep["rows"] == len(stored)
    assert prep["recipe_sha256"] == Recipe().sha256
    assert Recipe.from_toml(prep["recipe_toml"]) == Recipe()


def test_workers_change_nothing(study):
    pd.testing.assert_frame_equal(prepare(study, workers=2), prepare(study))


def test_the_recipe_of_mien_toml_is_used(study):
    (study.path / "mien.toml").write_text('[recipe]\nsides = "both"\n')
    assert prepare(study)["blend_shape"].nunique() == 52


def test_a_misspelt_recipe_key_names_the_file(study):
    (study.path / "mien.toml").write_text('[recipe]\nsidess = "both"\n')
    with pytest.raises(MienError, match=r"mien\.toml.*did you mean 'sides'"):
        prepare(study)


def test_unaligned_events_are_refused_unless_the_recipe_assumes(study):
    for path in study.path.rglob("*_events.json"):
        content = json.loads(path.read_text())
        del content["ClockAlignment"]
        path.write_text(json.dumps(content))
    with pytest.raises(StudyError, match="mien align"):
        prepare(study)
    assert len(prepare(study, Recipe(clock="assume_aligned")))


def test_an_incomplete_study_names_everything_that_is_missing(tmp_path):
    study = Study.create(tmp_path / "empty")
    with pytest.raises(StudyError) as error:
        prepare(study)
    for word in ("participants.tsv", "stimuli.tsv", "recordings"):
        assert word in str(error.value)


def test_check_finds_what_is_wrong_and_writes_nothing(study):
    assert check_study(study).problems == ()
    (study.path / "participants.tsv").write_text("participant_id\nsub-01\n")
    next(study.path.rglob("*run-2_events.tsv")).unlink()
    study.refresh()
    problems = "\n".join(check_study(study).problems)
    assert "sub-02" in problems
    assert "_events.tsv" in problems


def test_trials_before_prep_and_a_damaged_table_are_explained(study):
    with pytest.raises(StudyError, match="mien prep"):
        load_trials(study)
    prepare_and_store(study)
    (study.derivatives / "trials.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(TrialsError, match="mien prep"):
        load_trials(study)


def test_export_wide_holds_the_kept_activations(study):
    trials = prepare_and_store(study).trials
    wide = pd.read_csv(export_trials(study, wide=True), dtype={"participant": "str", "run": "str"})
    kept = trials[(trials["excluded"] == "") & (trials["blend_shape"] == "mouthSmile")]
    row = kept.iloc[5]
    same = wide[
        (wide["participant"] == row["participant"])
        & (wide["trial"] == row["trial"])
        & (wide["bin"] == row["bin"])
    ]
    assert same["mouthSmile"].to_list() == pytest.approx([row["activation"]], rel=1e-6)
    assert int(wide["mouthSmile"].notna().sum()) == len(kept)
    assert {"age", "sex", "rating_empathy"} <= set(wide.columns)


def test_export_long_to_parquet(study):
    made = prepare_and_store(study).trials
    table = pd.read_parquet(export_trials(study, format="parquet"))
    assert len(table) == len(made)
    np.testing.assert_array_equal(table["activation"], made["activation"])
    with pytest.raises(StudyError, match="csv, parquet"):
        export_trials(study, format="xlsx")
