"""One person's report: it says what the fit says, and where nothing can be told it says why, and nothing else."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models import session_change, standing
from mien.reports_app import person_part as person_part_module
from mien.reports_app import person_sections, power_blocks
from mien.reports_app.defaults import DEFAULTS, Decisions
from mien.reports_app.figures.person_course import LEAST_OTHERS, course_rows
from mien.reports_app.person_means import answers_by_recording, side_differences, valid_trials
from mien.reports_app.person_numbers import main_shapes, person_numbers, quality_of_person, recording_key
from mien.reports_app.person_part import person_part
from mien.reports_app.texts import LANGUAGES, Texts
from mien.study.errors import FitError
from tests.models.conftest import make_trials

EN = Texts.of("en")
PERSON = "03"
# Words that turn a place into a judgement, in both languages
JUDGING = re.compile(
    r"\b(ab)?normal|auffällig|patholog|impaired|deviant|gestört|krankhaft|gesund ist", re.IGNORECASE
)


def recording(source=f"sub-{PERSON}_task-met_tracksys-arkit_run-1", **changes):
    return {
        "source": source, "frames": 9000, "duration_s": 150.0, "tracked_share": 0.99, "verdict": "good", "warnings": [],
    } | changes  # fmt: skip


@pytest.fixture(scope="module")
def trials():
    return make_trials(participants=10, stimuli=24, bins=3, seed=3)


@pytest.fixture(scope="module")
def fit(trials):
    return mien.fit(mien.models.valence(), trials, engine="collapsed", draws=150)


@pytest.fixture(scope="module")
def people():
    return pd.DataFrame(
        {"participant_id": [f"sub-{i:02d}" for i in range(1, 11)], "age": [25.0 + i for i in range(1, 11)],
         "group": ["control"] * 10}
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def undrawn():
    """Charts are not made, which takes most of the time: their rows stand in place of them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (person_part_module, person_sections):
            patch.setattr(module, "quantile_dots", lambda rows, **_: rows)
        patch.setattr(person_sections, "person_course", lambda rows, **_: rows)
        patch.setattr(power_blocks, "to_svg", lambda chart, label: f'<svg width="9">{label}{chart!r}</svg>')
        yield


@pytest.fixture(scope="module")
def made(fit, trials, people):
    kept = {}

    def make(person=PERSON, *, texts=EN, **changes):
        given = {
            "quality": [recording(), recording("sub-04_task-met_run-1", verdict="repeat", tracked_share=0.1)],
            "trials": trials, "participants": people, "decisions": DEFAULTS,
        } | changes  # fmt: skip
        if changes:
            return person_part(given.pop("fit", fit), person, texts=texts, **given)
        if (person, texts.language) not in kept:
            kept[person, texts.language] = person_part(fit, person, texts=texts, **given)
        return kept[person, texts.language]

    return make


def section(part, key, texts=EN):
    return next(one for one in part.sections if one.title == texts(f"person.{key}"))


def table(part, key, texts=EN):
    return next(block.frame for block in section(part, key, texts).blocks if block.kind == "table")


def words(part):
    """Every text of a part, with its tables."""
    found = [part.title, part.note, part.quality, part.lead, part.signs, *part.cautions]
    for one in part.sections:
        found.append(one.title)
        for block in one.blocks:
            found += [getattr(block, "text", ""), *getattr(block, "texts", ())]
            found += block.frame.to_csv().split("\n") if block.kind == "table" else []
            found.append(getattr(block, "caption", ""))
    return "\n".join(found)


# What is told is what the fit says


def test_details_come_in_their_order(made):
    keys = ["reactivity", "course", "asymmetry", "recordings", "change", "meaning", "reference", "decisions"]
    assert [one.title for one in made().sections] == [EN(f"person.{key}") for key in keys]


def test_the_sentence_counts_what_is_probable(made, fit):
    part = made()
    draws = standing(fit, PERSON)["contrast"].sel(participant_term="valence").isel(participant=0)
    positive = (draws > 0).mean(("chain", "draw")).to_series()
    stronger = [EN.movement(name) for name in positive.index if positive[name] >= 0.95]
    weaker = [EN.movement(name) for name in positive.index if positive[name] <= 0.05]
    assert stronger  # saboteur: the case has something to tell
    assert f"In {len(stronger) + len(weaker)} of 3 movements" in part.lead
    assert all(name in part.lead.partition("stronger:")[2].partition("weaker:")[0] for name in stronger)
    assert all(name in part.lead.partition("weaker:")[2] for name in weaker)
    sure = np.maximum(positive, 1 - positive)
    assert f"{(1 - sure[sure >= 0.95]).sum():.2f} wrong" in part.signs
    assert EN.movement("browInnerUp") not in part.lead or sure["browInnerUp"] >= 0.95


def test_nothing_sure_is_said_so(made):
    part = made(decisions=Decisions(clearly=1.0, probably=1.0, flag=0.5))
    told = "For none of 3 movements can it be told" in part.lead
    assert told == (part.signs == "")


def test_the_table_holds_percentiles_of_the_standing(made, fit):
    found = standing(fit, PERSON).sel(participant_term="valence").isel(participant=0)
    rows = table(made(), "reactivity").set_index(EN("person.column_movement"))
    for name in ("mouthSmile", "mouthFrown", "browInnerUp"):
        one, row = found.sel(blend_shape=name), rows.loc[EN.movement(name)]
        low, middle, high = np.quantile(one["percentile"], [0.025, 0.5, 0.975])
        wanted = f"{EN.percentile(middle)} ({EN.percentile(low)} to {EN.percentile(high)})"
        assert row[EN("person.column_percentile")] == wanted
        assert row[EN("person.column_plain")] == EN.percentile(float(one["observed_percentile"]))
        assert row[EN("person.column_trials")] == "12 / 12"
    other = table(made("04", quality=[]), "reactivity")
    assert not other.equals(table(made(), "reactivity"))  # saboteur: another person has another table


def test_dots_are_quantiles_of_the_percentile(fit, trials, people):
    numbers = person_numbers(fit, PERSON, trials, people, DEFAULTS)
    row = next(row for row in numbers.rows if row["blend_shape"] == "mouthSmile")
    draws = standing(fit, PERSON)["percentile"].sel(participant_term="valence", blend_shape="mouthSmile")
    np.testing.assert_allclose(
        [np.mean(draws <= dot) for dot in row["dots"]], np.arange(0.025, 1, 0.05), atol=0.01
    )


def test_the_first_page_shows_what_the_group_answers_with(fit, trials, people):
    numbers = person_numbers(fit, PERSON, trials, people, DEFAULTS)
    shown = main_shapes(fit, numbers.rows, flag=0.95, most=2)
    posterior = fit["posterior"]["valence"]
    sure = abs(posterior.mean(("chain", "draw")) / posterior.std(("chain", "draw"))).to_series()
    assert shown == sure.sort_values(ascending=False).index[:2].tolist()


def test_a_person_whom_the_fit_has_not_is_scored_with_norms_fixed(trials, people, made):
    others = trials[trials["participant"] != PERSON]
    without = mien.fit(mien.models.valence(), others, engine="collapsed", draws=100)
    part = made(fit=without)
    scored = mien.score(without, trials[trials["participant"] == PERSON]).sel(participant_term="valence")
    one = scored.isel(participant=0).sel(blend_shape="mouthSmile")
    row = table(part, "reactivity").set_index(EN("person.column_movement")).loc["smile"]
    assert row[EN("person.column_plain")] == EN.percentile(float(one["observed_percentile"]))
    points = section(part, "reference").blocks[0].texts
    assert points[0].startswith("9 people of this study, without this person")
    assert EN("person.reference_norms_fixed") in points
    assert EN("person.reference_norms_fixed") not in section(made(), "reference").blocks[0].texts


# Cannot tell


def few(trials, **counts):
    """Fewer valid trials of the person: valence → how many are left."""
    mine = (trials["participant"] == PERSON).to_numpy()
    excluded = trials["excluded"].to_numpy(dtype=object).copy()
    for valence, left in counts.items():
        of_valence = mine & (trials["valence"] == valence).to_numpy()
        numbers = np.unique(trials["trial"].to_numpy()[of_valence])[left:]
        excluded[of_valence & np.isin(trials["trial"].to_numpy(), numbers)] = "tracking lost"
    return trials.assign(excluded=pd.Series(excluded, index=trials.index, dtype="str"))


CANNOT = {
    "repeat": (
        {"quality": [recording(verdict="repeat")]},
        "1 recording that the trials come from did not pass",
    ),
    "tracked": (
        {"quality": [recording(verdict="usable", tracked_share=0.79)]},
        "the face was tracked in 79\u00a0%",
    ),
    "trials": ({}, "12 negative and 7 positive valid trials, at least 8"),
}


@pytest.mark.parametrize("why", CANNOT)
@pytest.mark.parametrize("language", LANGUAGES)
def test_where_nothing_can_be_told_only_the_reason_is(made, trials, why, language):
    changes, reason = CANNOT[why]
    changes = {**changes, "trials": few(trials, positive=7)} if why == "trials" else changes
    part = made(texts=Texts.of(language), **changes)
    if language == "en":
        assert part.lead.startswith("Cannot tell: ")
        assert reason in part.lead
    assert not part.good
    assert part.face is None
    assert part.dots is None
    assert part.signs == ""
    titles = [one.title for one in part.sections]
    assert Texts.of(language)("person.course") not in titles
    reactivity = section(part, "reactivity", Texts.of(language))
    assert [block.kind for block in reactivity.blocks] == ["warning"]
    assert not re.search(r"[+−]\d[.,]\d", words(part))  # no answer anywhere


def test_saboteur_limits_that_are_met_let_numbers_through(made, trials):
    lenient = Decisions(valid_trials=7, tracked_share=0.79)
    part = made(trials=few(trials, positive=7), quality=[recording(tracked_share=0.79)], decisions=lenient)
    assert part.good
    assert part.face is not None
    assert re.search(r"[+−]\d\.\d", words(part))
    assert made(trials=few(trials, positive=8)).good


def test_anothers_bad_recording_and_one_without_trials_do_not_count(made):
    assert made(quality=[recording(), recording("sub-04_task-met_run-1", verdict="repeat")]).good
    unused = recording(f"sub-{PERSON}_task-other_run-1", verdict="repeat", tracked_share=0.2)
    assert made(quality=[recording(), unused]).good
    assert not made(quality=[recording(), recording(verdict="repeat")]).good


def test_a_movement_with_too_few_trials_or_a_failed_computation_is_left_out_alone(made, trials, fit):
    smile = (
        (trials["participant"] == PERSON) & (trials["blend_shape"] == "mouthSmile") & (trials["trial"] > 12)
    )
    fewer = trials.assign(excluded=trials["excluded"].mask(smile, "too few frames"))
    failed = fit.copy()
    detail = json.loads(fit.attrs["diagnostics_detail"]) | {"failed": {"mouthSmile": ["khat 0.9"]}}
    failed.attrs = fit.attrs | {"diagnostics_detail": json.dumps(detail), "diagnostics": "failed"}
    for part, reason in ((made(trials=fewer), "short_trials"), (made(fit=failed), "short_failed")):
        assert part.good
        row = table(part, "reactivity").set_index(EN("person.column_movement")).loc["smile"]
        assert row[EN("person.column_answer")] == f"cannot tell: {EN(f'person.{reason}')}"
        assert row[EN("person.column_percentile")] == "–"
        assert "smile" not in part.lead
        assert 'data-shape="mouthSmile" data-value' not in part.face.plain
        assert 'data-shape="mouthFrown" data-value' in part.face.plain
        assert EN.movement("mouthSmile") not in part.dots.plain
    assert "smile" in made().lead


def test_a_fit_that_failed_everywhere_tells_nothing(made, fit):
    failed = fit.copy()
    names = ("mouthSmile", "mouthFrown", "browInnerUp")
    detail = {"failed": {name: ["khat 0.9"] for name in names}}
    failed.attrs = fit.attrs | {"diagnostics_detail": json.dumps(detail)}
    part = made(fit=failed)
    assert "did not pass its checks for any movement" in part.lead
    assert not part.good


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_percentile_is_never_a_judgement_and_what_it_is_not_is_always_said(made, trials, language):
    texts = Texts.of(language)
    for changes in ({}, {"trials": few(trials, positive=3)}):
        part = made(texts=texts, **changes)
        assert not JUDGING.search(words(part).replace(texts("person.meaning_diagnosis"), ""))
        assert texts("person.meaning_diagnosis") in part.cautions
        assert texts("person.meaning_norm") in part.cautions
        assert texts("person.meaning_limits") in section(part, "meaning", texts).blocks[0].texts
        assert str(DEFAULTS.valid_trials) in table(part, "decisions", texts).to_csv()
    assert JUDGING.search("an abnormal face")  # saboteur
    assert JUDGING.search("eine auffällige Reaktion")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_place_stays_open_and_german_has_no_decimal_points(made, language):
    found = words(made(texts=Texts.of(language)))
    assert "{" not in found
    numbers = re.sub(r"mien \S+", "", found)
    assert bool(re.search(r"\d\.\d", numbers)) == (language == "en")


# Who it is compared with


def test_ages_of_the_others_and_a_flag_outside_them(made, people):
    assert "aged 26 to 35 years" in made().cautions[2]
    old = people.assign(age=people["age"].where(people["participant_id"] != f"sub-{PERSON}", 70.0))
    points = section(made(participants=old), "reference").blocks[0].texts
    assert any(
        f"Person {PERSON} is 70 years old, outside the ages of the others (26 to 35)" in one for one in points
    )
    assert not any("outside" in one for one in section(made(), "reference").blocks[0].texts)
    unknown = people.assign(age=people["age"].where(people["participant_id"] != f"sub-{PERSON}"))
    assert any("age of person 03 is not known" in one for one in made(participants=unknown).cautions)
    assert "their ages are not known" in made(participants=people.drop(columns="age")).cautions[2]


def test_few_people_and_groups_are_named(made, people):
    assert any("10 people are few" in one for one in made().cautions)
    groups = people.assign(group=["patient"] * 3 + ["control"] * 7)
    assert "Groups: 7 control and 2 patient." in made(participants=groups).cautions
    assert not any("Groups" in one for one in made().cautions)


def test_a_person_all_of_whose_trials_are_excluded_can_be_asked_for(made, trials, people):
    gone = trials.assign(excluded=trials["excluded"].mask(trials["participant"] == PERSON, "tracking lost"))
    without = mien.fit(mien.models.valence(), gone, engine="collapsed", draws=50)
    part = made(fit=without, trials=gone)
    assert "0 negative and 0 positive valid trials" in part.lead
    assert "9 people of this study, without this person" in part.cautions[2]


def test_a_model_without_the_groups_answer_shows_the_movements_there_are(trials, people):
    alone = mien.fit("activation ~ 1 + (valence | participant)", trials, engine="collapsed", draws=50)
    numbers = person_numbers(alone, PERSON, trials, people, DEFAULTS)
    assert main_shapes(alone, numbers.rows, flag=0.95) == [row["blend_shape"] for row in numbers.rows]


def test_properties_that_the_model_takes_into_account_are_named(made, trials, people):
    by_age = mien.fit(
        mien.models.valence(covariates=("age_z",)), trials, participants=people, engine="collapsed", draws=50
    )
    assert (
        "The model takes age into account: percentiles are among people alike in this."
        in made(fit=by_age).cautions
    )
    assert not any("into account" in one for one in made().cautions)


# Plain means


def test_valid_trials_are_counted_once_each(trials):
    assert valid_trials(trials, PERSON).loc["mouthSmile"].to_dict() == {"negative": 12, "positive": 12}
    assert valid_trials(few(trials, negative=5), PERSON).loc["mouthSmile"].to_dict() == {
        "negative": 5,
        "positive": 12,
    }


def test_courses_are_plain_differences_beside_the_middle_of_the_others(trials):
    rows = course_rows(trials, PERSON, ["mouthSmile"])
    assert rows["time"].tolist() == [0.25, 0.75, 1.25]
    smile = trials[trials["blend_shape"] == "mouthSmile"]
    table = smile.pivot_table(
        index=["time", "participant"], columns="valence", values="activation", observed=True
    )
    answers = (table["positive"] - table["negative"]).rename("answer").reset_index()
    answers = answers.pivot_table(index="time", columns="participant", values="answer", observed=True)
    np.testing.assert_allclose(rows["value"], answers[PERSON], atol=1e-6)
    others = answers.drop(columns=PERSON)
    np.testing.assert_allclose(rows["lower"], others.quantile(0.1, axis=1), atol=1e-6)
    np.testing.assert_allclose(rows["upper"], others.quantile(0.9, axis=1), atol=1e-6)
    assert rows["others"].tolist() == [9, 9, 9]
    with_person = answers.quantile(0.9, axis=1)
    assert (
        np.abs(rows["upper"] - with_person.to_numpy()).max() > 1e-6
    )  # saboteur: the person is not in the band


def test_no_course_without_bins_or_with_few_others(trials, made):
    assert len(course_rows(trials[trials["bin"] == 0], PERSON, ["mouthSmile"])) == 0
    handful = trials[trials["participant"].isin([f"{i:02d}" for i in range(1, LEAST_OTHERS + 1)])]
    assert len(course_rows(handful, PERSON, ["mouthSmile"])) == 0
    assert len(course_rows(trials[trials["valence"] == "positive"], PERSON, ["mouthSmile"])) == 0
    text = section(made(trials=trials[trials["bin"] == 0]), "course").blocks[0].text
    assert text == EN("person.course_none", least=LEAST_OTHERS)


@pytest.fixture(scope="module")
def sided():
    """Trials of both sides: the left smiles by .02 more, and by another .01 with positive stimuli."""
    left, right = make_trials(participants=8, stimuli=16, shapes=("mouthSmile",), seed=5), None
    right = left.assign(blend_shape="mouthSmileRight")
    more = 0.02 + 0.01 * (left["valence"] == "positive").to_numpy() + 0.001 * left["trial"].to_numpy() / 16
    left = left.assign(blend_shape="mouthSmileLeft", activation=left["activation"] + more)
    both = pd.concat([left, right], ignore_index=True)
    return both.assign(blend_shape=both["blend_shape"].astype("category"))


def test_left_minus_right_is_that_of_the_same_trial(sided):
    found = side_differences(sided)
    assert set(found["pair"]) == {"mouthSmile"}
    by = found[found["participant"] == PERSON].groupby("valence")["difference"].mean()
    assert by["positive"] - by["negative"] == pytest.approx(0.01, abs=2e-4)
    assert len(found) == 8 * 16


def test_sides_are_told_only_where_trials_have_them(made, sided):
    assert section(made(), "asymmetry").blocks[0].text == EN("person.asymmetry_mean")
    fit = mien.fit(mien.models.valence(), sided, engine="collapsed", draws=100)
    part = made(fit=fit, trials=sided, sides="both")
    row = table(part, "asymmetry").iloc[0]
    assert row[EN("person.column_movement")] == "smile"
    assert row[EN("person.column_side_answer")].startswith("+0.010")
    assert row[EN("person.column_level")].startswith("+0.02")
    kinds = [block.kind for block in section(part, "asymmetry").blocks]
    assert kinds == ["", "note", "table"]
    assert "nearly as one signal" in section(part, "asymmetry").blocks[1].text
    assert 'data-shape="mouthSmileLeft" data-value' in part.face.plain
    all_asymmetry = made(sides="asymmetry")
    assert section(all_asymmetry, "asymmetry").blocks[0].text == EN("person.asymmetry_all")


def test_lids_are_named_as_nearly_one_signal(made, sided):
    lids = sided.assign(blend_shape=sided["blend_shape"].astype("str").str.replace("mouthSmile", "eyeSquint"))
    fit = mien.fit(mien.models.valence(), lids, engine="collapsed", draws=100)
    row = table(made(fit=fit, trials=lids, sides="both"), "asymmetry").iloc[0]
    assert row[EN("person.column_movement")] == "lower lids tightened (nearly one signal)"


def test_recordings_and_their_plain_answers(made, trials):
    early = (trials["trial"] <= 12).to_numpy()
    split = trials.assign(
        task=pd.Series(np.where(early, "met", "films"), index=trials.index).astype("category")
    )
    found = answers_by_recording(split, PERSON, ["mouthSmile"])
    assert [one["task"] for one in found] == ["films", "met"]
    mine = split[
        (split["participant"] == PERSON) & (split["task"] == "met") & (split["blend_shape"] == "mouthSmile")
    ]
    by = mine.groupby("valence", observed=True)["activation"].mean()
    assert found[1]["mouthSmile"] == pytest.approx(by["positive"] - by["negative"], abs=1e-6)
    assert (found[1]["negative"], found[1]["positive"]) == (6, 6)
    films = recording(f"sub-{PERSON}_task-films_tracksys-arkit_run-1", warnings=["a gap"])
    strip = '<svg viewBox="0 0 3 1"></svg>'
    part = made(
        trials=split,
        quality=[films, recording()],
        strips={films["source"]: strip, recording()["source"]: strip},
    )
    blocks = section(part, "recordings").blocks
    assert [block.kind for block in blocks] == ["table", "strips", "table"]
    assert blocks[0].frame.iloc[0].tolist()[0] == "task-films · run-1"
    assert len(blocks[1].pictures) == 2
    assert [block.kind for block in section(made(), "recordings").blocks] == ["table"]
    assert "no quality report" in made(quality=[]).quality


def test_a_recordings_name_gives_its_session_task_and_run():
    assert recording_key("sub-01_ses-2_task-met_tracksys-arkit_run-3_motion") == ("2", "met", "3")
    assert recording_key("sub-01_task-met") == ("1", "met", "1")


def test_tracked_share_is_weighted_by_frames(trials):
    other = recording(f"sub-{PERSON}_task-met_run-1_b", frames=1000, tracked_share=0.0)
    found = quality_of_person([recording(), other], trials, PERSON)
    assert found.tracked == pytest.approx(0.99 * 0.9)


# Change


def two_sessions(trials):
    again = trials.assign(session=pd.Series("2", index=trials.index).astype("category"))
    rng = np.random.default_rng(0)
    again = again.assign(activation=again["activation"] + rng.normal(0, 0.01, len(again)).astype(np.float32))
    both = pd.concat([trials, again], ignore_index=True)
    return both.assign(session=both["session"].astype("category"))


def test_change_needs_sessions_and_a_model_that_knows_them(made, trials):
    assert section(made(), "change").blocks[0].text == EN("person.change_one")
    both = two_sessions(trials)
    assert section(made(trials=both), "change").blocks[0].text == EN("person.change_model", n=2)
    fit = mien.fit(mien.models.valence(session=True), both, engine="collapsed", draws=150)
    part = made(trials=both, fit=fit)
    row = table(part, "change").set_index(EN("person.column_movement")).loc["smile"]
    wanted = session_change(fit, PERSON).set_index("blend_shape").loc["mouthSmile"]
    assert row[EN("person.column_sessions")] == "1 → 2"
    assert row[EN("person.column_rise")] == EN.probability(wanted["p_rise"])
    assert row[EN("person.column_delta")] == EN.number(wanted["delta"], 3)
    assert "from 10 persons recorded more than once" in section(part, "change").blocks[0].text


# Refusals


def test_models_without_a_persons_answer_and_persons_without_trials_are_refused(made, trials):
    level = mien.fit("activation ~ valence + (1 | participant)", trials, engine="collapsed", draws=50)
    with pytest.raises(FitError, match=r"expected a model with \(valence \| participant\)"):
        made(fit=level)
    with pytest.raises(FitError, match="expected trials of person '99', found none"):
        made("99")
