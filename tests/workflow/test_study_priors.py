"""Priors of a study by the command line: set, freeze, fit registered, compare; what is wrong changes nothing."""

import json
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest

from mien.cli import main
from mien.models import load
from mien.priors.library import SOURCES
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.study.tables import write_table
from mien.workflow import fitting, priors
from mien.workflow.fitting import newest_fits
from mien.workflow.prior_checks import stored_check

SHAPES = ("mouthSmile", "cheekSquint", "mouthFrown", "browDown")


@pytest.fixture
def study(tmp_path):
    """A study with prepared trials; what the door asks for recordings is left out."""
    rng = np.random.default_rng(3)
    truth = draw_truth(rng, shapes=SHAPES, factors=1, between=1)
    simulated = simulate_factors(truth, rng, participants=8, stimuli=12)
    made = Study.create(tmp_path / "study")
    people = pd.DataFrame(
        {"participant_id": [f"sub-{k:02d}" for k in range(1, 9)], "empathy": np.arange(8) % 5}
    )
    write_table(people, made.path / "participants.tsv")
    shown = simulated.trials.drop_duplicates("stimulus")
    stimuli = pd.DataFrame(
        {"stimulus_id": shown["stimulus"].astype("str"), "valence": shown["valence"].astype("str")}
    )
    write_table(stimuli.assign(medium="picture", duration=2.0), made.path / "stimuli" / "stimuli.tsv")
    made.derivatives.mkdir(parents=True, exist_ok=True)
    simulated.trials.to_parquet(made.derivatives / "trials.parquet")
    (made.derivatives / "prep.json").write_text(json.dumps({"recipe_sha256": "ab"}))
    return Study(made.path)


@pytest.fixture(autouse=True)
def no_recordings(monkeypatch):
    for module in (fitting, priors):
        monkeypatch.setattr(module, "require_complete", lambda study: None)


@pytest.fixture
def mien(capsys, monkeypatch):
    """Run a command; code, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        told = capsys.readouterr()
        return stop.value.code or 0, told.out, told.err

    return run


def below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("model", ["valence", "time", "task", "traits", "co_activation"])
def test_every_family_lists_its_priors_without_a_study(mien, model):
    code, out, _ = mien("priors", "list", "--model", model, "--json")
    assert code == 0
    for listed in json.loads(out):
        assert len(listed["sha256"]) == 64
        assert all(row["source"] in SOURCES and row["reason"] for row in listed["priors"])
        assert all(row["implies"] and row["families"] for row in listed["priors"])


def test_a_study_gives_the_numbers(mien, study):
    found = json.loads(mien("priors", "list", study.path, "--json")[1])[0]
    rows = {row["parameter"]: row for row in found["priors"]}
    assert rows["valence"]["outcomes"] == 4
    assert rows["valence"]["prior"].startswith("Normal(0, ")
    assert "coefficient:sceptical" in rows["valence"]["alternatives"]
    text = mien("priors", "list", study.path)[1]
    assert "mien-weak/coefficient 1, of a beta" in text


def test_a_set_prior_reaches_the_fit_and_goes_again(mien, study):
    assert mien("priors", "set", study.path, "valence", "coefficient:sceptical")[0] == 0
    assert tomllib.loads((study.path / "priors" / "valence.toml").read_text()) == {
        "valence": "mien-weak/coefficient:sceptical"
    }
    assert "priors/" in (study.path / ".bidsignore").read_text().splitlines()
    assert mien("fit", study.path, "--model", "valence", "--draws", "200")[0] in (0, 1)
    fit = load(newest_fits(study)["valence"])
    stored = json.loads(fit.attrs["priors"])["mouthSmile"]["valence"]
    assert stored["id"] == "mien-weak/coefficient:sceptical 1"
    assert mien("priors", "set", study.path, "valence", "default")[0] == 0
    assert tomllib.loads((study.path / "priors" / "valence.toml").read_text()) == {}


def test_freezing_setting_and_a_registered_fit(mien, study):
    own = ("--source", "rule", "--reason", "half a percent of the range is little")
    assert mien("priors", "set", study.path, "valence", "Normal(0, 0.5)", *own)[0] == 0
    code, out, _ = mien("priors", "freeze", study.path, "--json")
    assert code == 0
    frozen = json.loads(out)[0]
    assert frozen["unsourced"] == []
    code, out, _ = mien("fit", study.path, "--model", "valence", "--registered", "--draws", "200", "--json")
    assert code in (0, 1)
    told = json.loads(out)
    assert any(frozen["sha256"][:8] in note for note in told["notes"])
    fit = load(told["path"])
    assert fit.attrs["priors_sha256"] == frozen["sha256"]
    assert fit.attrs["registered"] == "yes"
    code, out, _ = mien("priors", "compare", frozen["path"], told["path"], "--json")
    assert json.loads(out)["same"]
    before = below(study.path)
    for refused in (("set", study.path, "sd", "group-sd"), ("freeze", study.path)):
        code, _, err = mien("priors", *refused)
        assert code == 2
        assert "frozen" in err
    assert below(study.path) == before
    assert mien("priors", "freeze", study.path, "--replace")[0] == 0


def test_two_sets_are_compared(mien, study):
    mien("priors", "freeze", study.path)
    first = study.path / "priors" / "valence.frozen.json"
    kept = study.path / "kept.json"
    first.rename(kept)
    mien("priors", "set", study.path, "sigma", "HalfNormal(2)")
    mien("priors", "freeze", study.path)
    rows = {
        row["parameter"]: row
        for row in json.loads(mien("priors", "compare", kept, first, "--json")[1])["priors"]
    }
    assert [name for name, row in rows.items() if not row["same"]] == ["sigma"]
    assert rows["valence"]["ratio"] == 1.0
    assert rows["sigma"]["entry_other"] == "user"
    assert "1 of 7 priors differ" in mien("priors", "compare", kept, first)[1]


def test_co_activation_takes_set_and_frozen_priors(mien, study):
    assert (
        mien("priors", "set", study.path, "uniqueness", "LogNormal(-1, 0.8)", "--model", "co_activation")[0]
        == 0
    )
    assert mien("priors", "freeze", study.path, "--model", "co_activation")[0] == 0
    arguments = ("--model", "co_activation", "--factors", "1", "--between", "1", "--draws", "200")
    code, _, err = mien("fit", study.path, *arguments, "--registered")
    assert code == 2
    assert "found none for uniqueness" in err
    several = (
        "--model",
        "co_activation",
        "--factors",
        "1-2",
        "--between",
        "1",
        "--folds",
        "0",
        "--draws",
        "200",
    )
    code, _, err = mien("fit", study.path, *several, "--registered")
    assert code == 2
    assert "found none for uniqueness" in err
    assert mien("fit", study.path, *arguments)[0] in (0, 1)
    fit = load(newest_fits(study)["co_activation"])
    assert json.loads(fit.attrs["priors"])["uniqueness"]["mu"] == -1.0
    assert fit.attrs["priors_frozen"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("valense", "Normal(0, 1)"), "did you mean 'valence'"),
        (("valence", "HalfNormal(1)"), "expected one of Normal"),
        (("valence", "Normal(0, -1)"), "positive"),
        (("valence", "Normal(0)"), "Normal(mean, sd)"),
        (("valence", "Normal(0, wide)"), "expected numbers"),
        (("valence", "Cauchy(0, 1)"), "families"),
        (("valence", "group-sd"), "of role sd"),
        (("valence", "coefficient:skeptical"), "coefficient:sceptical"),
        (("valence", "Normal(0, 1)", "--source", "literature", "--reason", "read"), "DOI"),
        (
            ("valence", "Normal(0, 1)", "--source", "hearsay", "--reason", "told"),
            "expected one of literature",
        ),
        (("valence", "Normal(0, 1)", "--reason", "why not"), "--source"),
        (("valence",), "found none"),
        (("valence", "Normal(0, 1)", "--chips", "0,1: 3"), "found a prior and --chips"),
        (("valence", "default"), "none was"),
        (("uniqueness", "uniqueness"), "uniqueness"),
    ],
)
def test_bad_priors_are_one_sentence_and_change_nothing(mien, study, arguments, told):
    before = below(study.path)
    code, _, err = mien("priors", "set", study.path, *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert below(study.path) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "coeficient"), "did you mean"),
        (("list", "--model", "valense"), "did you mean 'valence'"),
        (("list", "--model", "all"), "expected one of"),
        (("compare", "nothing.json", "nothing.json"), "found nothing there"),
    ],
)
def test_bad_questions(mien, arguments, told):
    code, _, err = mien("priors", *arguments)
    assert code == 2
    assert told in err


def test_a_damaged_file_of_set_priors_is_named(mien, study):
    path = study.path / "priors" / "valence.toml"
    path.parent.mkdir()
    for text in ("valence = ", "valence = 3", "[valence]\nfamily = 'Normal'", "valence = 'coeficient'"):
        path.write_text(text)
        code, _, err = mien("fit", study.path, "--model", "valence")
        assert code == 2
        assert "valence.toml" in err


def test_an_entry_is_shown_with_its_variants(mien):
    code, out, _ = mien("priors", "show", "beta")
    assert code == 0
    assert "mien-weak/coefficient 1: Normal(0, 1), standardised" in out
    assert "coefficient:sceptical" in out
    shown = json.loads(mien("priors", "show", "coefficient:sceptical", "--json")[1])
    assert [entry["id"] for entry in shown] == ["mien-weak/coefficient:sceptical"]
    assert shown[0]["implies"]["sentence"].startswith("With probability")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("valence", "--quantile", ".05=-0.5", "--quantile", ".95=0.5"), "elicited"),
        (("sd:valence|participant", "--interval", "0", "1", "--probability", ".9"), "elicited"),
        (("sd:valence|participant", "--interval", "-1", "1", "--people"), "elicited"),
        (("valence", "--chips", "-1,-0.5,0,0.5,1: 1,6,7,2"), "elicited"),
        (
            ("valence", "--effect", ".4", "--interval", ".1", ".7", "--doi", "10.1/x", "--sentence", "d = .4"),
            "literature",
        ),
    ],
)  # fmt: skip
def test_answers_become_sourced_priors(mien, study, arguments, kind):
    code, out, err = mien("priors", "set", study.path, *arguments)
    assert code == 0, err
    assert f"; {kind}: " in out
    assert kind == "literature" or "With probability" in out
    mien("priors", "freeze", study.path)
    frozen = json.loads((study.path / "priors" / "valence.frozen.json").read_text())
    assert frozen["outcomes"]["mouthSmile"][arguments[0]]["source"] == kind
    assert any(
        entry["source"].get("record") or entry["source"].get("doi") for entry in frozen["entries"].values()
    )


def test_a_pilot_becomes_a_prior(mien, study):
    mien("fit", study.path, "--model", "valence", "--draws", "200")
    pilot = newest_fits(study)["valence"]
    arguments = ("valence", "--pilot", pilot, "--shape", "mouthSmile", "--weight", "0.5")
    code, _, err = mien("priors", "set", study.path, *arguments)
    if load(pilot).attrs["diagnostics"] == "passed":
        assert code == 0, err
        stored = tomllib.loads((study.path / "priors" / "valence.toml").read_text())["valence"]
        assert stored["source"]["record"]["answers"]["weight"] == 0.5
    else:
        assert code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--quantile", ".05=.5", "--quantile", ".95=-.5"), "rise"),
        (("--quantile", "many"), "0.05=-0.1"),
        (("--chips", "0,1"), "edges and counts"),
        (("--chips", "0,1,2: 3,-1"), "counts"),
        (("--interval", "1", "-1"), "expected"),
        (("--effect", "0.4", "--interval", ".1", ".7"), "DOI"),
        (("--pilot", "nowhere"), "expected a fit"),
    ],
)
def test_impossible_answers_are_one_sentence(mien, study, arguments, told):
    code, _, err = mien("priors", "set", study.path, "valence", *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


def test_a_check_is_of_the_fits_that_have_its_priors(mien, study):
    code, out, _ = mien("priors", "check", study.path, "--draws", "80", "--json")
    assert code in (0, 1)
    told = json.loads(out)[0]
    assert told["verdict"] in ("passed", "look")
    mien("fit", study.path, "--model", "valence", "--draws", "200")
    every = load(newest_fits(study)["valence"])
    assert every.attrs["priors_sha256"] == told["priors_sha256"]
    found = stored_check(study, "valence", every)
    assert found is not None
    assert found.table["check"].tolist() == [row["check"] for row in told["table"]]
    mien("fit", study.path, "--model", "valence", "--draws", "200", "--shapes", "mouthSmile")
    assert stored_check(study, "valence", load(newest_fits(study)["valence"])) is not None
    mien("priors", "set", study.path, "beta", "Normal(0, 500)")
    mien("fit", study.path, "--model", "valence", "--draws", "200")
    wide = load(newest_fits(study)["valence"])
    assert stored_check(study, "valence", wide) is None
    code, out, _ = mien("priors", "check", study.path, "--draws", "80", "--json")
    assert code == 1
    assert json.loads(out)[0]["verdict"] == "look"
    assert stored_check(study, "valence", wide) is not None
    next((study.derivatives / "priors").glob("valence-*.json")).write_text("{}")
    with pytest.raises(StudyError, match="damaged"):
        stored_check(study, "valence", every)


def test_sensitivity_is_computed_once_and_stays_with_its_fit(mien, study):
    mien("fit", study.path, "--model", "valence", "--draws", "200")
    code, out, _ = mien("priors", "sensitivity", study.path, "--json")
    assert code == 0
    told = json.loads(out)[0]
    assert {row["blend_shape"] for row in told["sensitivity"]} == set(SHAPES)
    assert {row["effect"] for row in told["widths"]} == {"valence"}
    path = newest_fits(study)["valence"] / "sensitivity.parquet"
    before = path.stat().st_mtime_ns
    assert "decisions that stay" in mien("priors", "sensitivity", study.path, "--model", "valence")[1]
    assert path.stat().st_mtime_ns == before
    code, _, err = mien("priors", "sensitivity", study.path, "--model", "time")
    assert code == 2
    assert "mien fit" in err
