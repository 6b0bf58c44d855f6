"""`mien fit STUDY --model co_activation`: one number of factors or several, stored once, told in words and in JSON."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from mien.cli import main
from mien.models import load
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.study.errors import SpecError
from mien.study.folder import Study
from mien.study.tables import write_table
from mien.workflow import fitting
from mien.workflow.co_activation import FactorChoice, compared_numbers, read_numbers
from mien.workflow.fitting import fit_models, newest_fits

SHAPES = ("mouthSmile", "cheekSquint", "mouthFrown", "browDown", "jawOpen", "mouthPress")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose prepared trials have two factors; `complete` is what the door asks for recordings."""
    rng = np.random.default_rng(3)
    simulated = simulate_factors(
        draw_truth(rng, shapes=SHAPES, factors=2, between=1), rng, participants=10, stimuli=24
    )
    made = Study.create(tmp_path_factory.mktemp("co_activation") / "study")
    people = pd.DataFrame(
        {"participant_id": [f"sub-{k:02d}" for k in range(1, 11)], "age": np.arange(10) + 20}
    )
    write_table(people, made.path / "participants.tsv")
    made.derivatives.mkdir(parents=True, exist_ok=True)
    simulated.trials.to_parquet(made.derivatives / "trials.parquet")
    (made.derivatives / "prep.json").write_text(json.dumps({"recipe_sha256": "ab"}))
    return Study(made.path)


@pytest.fixture(autouse=True)
def no_recordings(monkeypatch):
    monkeypatch.setattr(fitting, "require_complete", lambda study: None)


def run(capsys, monkeypatch, *arguments):
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["mien", "fit", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    told = capsys.readouterr()
    return stop.value.code or 0, told.out, told.err


def test_one_number_is_fitted_as_it_is(study, capsys, monkeypatch):
    code, out, _ = run(
        capsys,
        monkeypatch,
        study.path,
        "--model",
        "co_activation",
        "--factors",
        "2",
        "--between",
        "1",
        "--draws",
        "300",
    )
    assert code == 0, out
    assert "W1" in out
    assert "B1" in out
    assert "verdict: passed" in out
    assert "igenvalue" in out
    stored = load(newest_fits(study)["co_activation"])
    assert stored["posterior"].sizes["factor"] == 2
    assert compared_numbers(stored) is None


def test_several_are_compared_and_the_recommended_one_is_stored(study, capsys, monkeypatch):
    arguments = (study.path, "--model", "co_activation", "--factors", "1-3", "--between", "1", "--folds", "0",
                 "--draws", "300", "--json")  # fmt: skip
    code, out, _ = run(capsys, monkeypatch, *arguments)
    assert code == 0
    told = json.loads(out)
    stored = load(told["path"])
    table, answer = compared_numbers(stored)
    assert table["factors"].tolist() == [1, 2, 3]
    assert stored["posterior"].sizes["factor"] == answer["recommended"] == 2
    assert table["diff_trials"].max() == 0
    assert answer["answer"] in told["notes"]
    assert [row["factors"] for row in told["factor_numbers"]] == [1, 2, 3]
    assert {"W1", "W2"} <= {row["factor"] for row in told["effects"]}
    again = json.loads(run(capsys, monkeypatch, *arguments)[1])
    assert told["new"]
    assert not again["new"]
    assert again["path"] == told["path"]
    other = json.loads(run(capsys, monkeypatch, *arguments[:4], "1-2", *arguments[5:])[1])
    assert other["path"] != told["path"]


def test_parts_have_names_of_their_own(study):
    made = fit_models(
        study, "co_activation", factors=FactorChoice((1,), between=1, part="stimulus_driven"), draws=200
    )
    assert made[0].name == "co_activation-stimulus_driven"
    assert load(made[0].path).attrs["formula"] == "activation ~ participant + (1 | stimulus)"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--factors", "many"), "3-7"),
        (("--factors", "0"), "factors"),
        (("--factors", "2-9"), "below that of the shapes"),
        (("--factors", "2-3", "--engine", "nuts"), "hours"),
        (("--factors", "2", "--part", "spontanous"), "spontaneous"),
        (("--factors", "2", "--covariate", "mood"), "mood"),
        (("--factors", "2", "--shapes", "mouthSmile,jawOpen"), "at least 3 shapes"),
    ],
)
def test_bad_options_are_one_sentence_and_code_2(study, capsys, monkeypatch, arguments, told):
    code, _, err = run(capsys, monkeypatch, study.path, "--model", "co_activation", *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


def test_numbers_are_read():
    assert read_numbers("5") == (5,)
    assert read_numbers("3-5") == (3, 4, 5)
    assert read_numbers("2,4-5, 4") == (2, 4, 5)
    for text in ("", "a", "0", "5-3", "-2", "2-"):
        with pytest.raises(SpecError, match="factors"):
            read_numbers(text)
