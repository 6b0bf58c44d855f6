"""The details of one person's report, section by section: reactivity, course, sides, recordings, change, limits."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from mien.models import session_change
from mien.models.refit import levels_of_factor
from mien.models.retest import sessions_of
from mien.reports_app.defaults import CANNOT_TELL, Decisions
from mien.reports_app.figures.person_course import LEAST_OTHERS, course_rows, person_course
from mien.reports_app.figures.quantile_dots import DotRow, quantile_dots
from mien.reports_app.person_numbers import TRIAL, Person, Quality, of_person, recording_key
from mien.reports_app.person_writing import answer_text, dot_row, percentile_text, reason_text, value_text
from mien.reports_app.power_blocks import Block, Facts, Picture, Points, Section, Table, Text, picture
from mien.reports_app.rows import Row, rows_of
from mien.reports_app.texts import Texts
from mien.study.blend_shapes import BILATERAL_NAMES, members

__all__ = ["Strips", "Told", "sections"]

COURSES = 4  # movements whose course is drawn
RECORDED = 4  # movements whose answers stand by recording
FEW = 20  # people
MIDDLE = (0.1, 0.9)
NEARLY_ONE = frozenset(("eyeBlink", "eyeWide", "eyeSquint", "browOuterUp"))  # left and right: r ≥ .98


class Strips(NamedTuple):
    """Heat strips of recordings, side by side."""

    pictures: Sequence[Picture]
    kind: str = "strips"


class Told(NamedTuple):
    """All that sections are made of. shown : the main movements. reason : why nothing can be told, "" where it can."""

    fit: xr.DataTree
    person: str
    numbers: Person
    quality: Quality
    trials: pd.DataFrame
    participants: pd.DataFrame
    decisions: Decisions
    texts: Texts
    sides: str
    strips: Mapping[str, str]
    shown: Sequence[str]
    reason: str


def sections(told: Told) -> list[Section]:
    """In the order of reading."""
    made = {
        "reactivity": _reactivity, "course": _course, "asymmetry": _asymmetry, "recordings": _recordings,
        "change": _change, "meaning": _meaning, "reference": _reference, "decisions": _decisions,
    }  # fmt: skip
    found = [Section(told.texts(f"person.{key}"), make(told)) for key, make in made.items()]
    return [section for section in found if section.blocks]


def _cannot(told: Told) -> list[Block]:
    return [Text(told.texts("person.cannot", reason=told.reason), "warning")]


# Reactivity by region


def _reactivity(told: Told) -> list[Block]:
    if told.reason:
        return _cannot(told)
    texts, rows = told.texts, told.numbers.rows
    dots, region = [], ""
    for row in rows:
        if row["region"] != region:
            region = str(row["region"])
            dots.append(DotRow(texts.region(region)))
        dots.append(dot_row(row, texts))
    label = texts("person.dots_label", person=told.person, n=len(rows))
    chart = quantile_dots(dots, axis=texts("person.dots_axis"), small=True)
    return [
        Text(texts("person.reactivity_text")),
        Table(_reactivity_table(told), texts("person.reactivity_caption"), labels=2),
        picture(chart, "all_dots", label, texts("person.all_dots_caption")),
    ]


def _reactivity_table(told: Told) -> pd.DataFrame:
    texts, found = told.texts, []
    for row in told.numbers.rows:
        first = {
            texts("person.column_region"): texts.region(str(row["region"])),
            texts("person.column_movement"): texts.movement(str(row["blend_shape"])),
        }
        if row["reason"]:
            cells = [reason_text(row, texts), "–", "–", "–"]
        else:
            cells = [answer_text(row, texts), _word(row, told), percentile_text(row, texts),
                     texts.percentile(row["observed_percentile"])]  # fmt: skip
        heads = [texts(f"person.column_{name}") for name in ("answer", "word", "percentile", "plain")]
        trials = {texts("person.column_trials"): f"{row['negative']} / {row['positive']}"}
        found.append(first | dict(zip(heads, cells, strict=True)) | trials)
    return pd.DataFrame(found)


def _word(row: Row, told: Told) -> str:
    texts, word = told.texts, told.decisions.word(float(row["p_direction"]))
    if word == CANNOT_TELL:
        return texts.word(word)
    direction = texts("person.stronger" if row["direction"] > 0 else "person.weaker")
    return texts("person.word_direction", word=texts.word(word), direction=direction)


# Course


def _course(told: Told) -> list[Block]:
    if told.reason:
        return []
    texts, shapes = told.texts, told.shown[:COURSES]
    rows = course_rows(told.trials, told.person, shapes)
    if not len(rows):
        return [Text(texts("person.course_none", least=LEAST_OTHERS))]
    chart = person_course(
        rows, names={name: texts.movement(name) for name in shapes},
        media={name: texts(f"medium.{name}") for name in ("picture", "film")}, axis=texts("person.course_axis"),
        units=texts("person.course_y"), comma=texts("common.decimal") == ",",
    )  # fmt: skip
    caption = texts(
        "person.course_caption", person=told.person, n=int(rows["others"].max()), least=LEAST_OTHERS
    )
    return [picture(chart, "course", texts("person.course_label", person=told.person), caption)]


# Left and right


def _asymmetry(told: Told) -> list[Block]:
    texts = told.texts
    if told.sides == "mean":
        return [Text(texts("person.asymmetry_mean"))]
    caution = Text(texts("person.asymmetry_caution"), "note")
    if told.sides == "asymmetry":
        return [Text(texts("person.asymmetry_all")), caution]
    if told.reason:
        return []
    table = _sides_table(told)
    blocks: list[Block] = [Text(texts("person.asymmetry_text")), caution]
    return [*blocks, Table(table, texts("person.asymmetry_caption"))] if len(table) else blocks


def side_differences(trials: pd.DataFrame) -> pd.DataFrame:
    """Left − right of every pair, trial by trial: columns participant, pair, valence, difference."""
    kept: Any = trials[trials["excluded"] == ""]
    names = ["participant", *TRIAL, "valence", "blend_shape"]
    kept = kept[[*names, "activation"]].astype(dict.fromkeys(names, "str"))
    wide = kept.groupby(names)["activation"].mean().unstack("blend_shape")
    found = []
    for pair in BILATERAL_NAMES:
        left_right = members(pair)
        if len(left_right) == 2 and set(left_right) <= set(wide.columns):
            difference = (wide[left_right[0]] - wide[left_right[1]]).dropna().rename("difference")
            found.append(
                difference.reset_index().assign(pair=pair)[["participant", "pair", "valence", "difference"]]
            )
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=["participant", "pair", "valence", "difference"])
    )


def _sides_table(told: Told) -> pd.DataFrame:
    texts, rows = told.texts, []
    table = side_differences(told.trials)
    for pair, of_pair in table.groupby("pair", sort=False):
        mine: Any = of_pair[of_pair["participant"] == told.person]
        by_person = of_pair.groupby(["participant", "valence"])["difference"].mean().unstack("valence")
        if not {"negative", "positive"} <= set(by_person.columns) or mine["valence"].nunique() < 2:
            continue
        answers = by_person["positive"] - by_person["negative"]
        others = answers.drop(told.person, errors="ignore").dropna()
        spread = mine.groupby("valence")["difference"].agg(["var", "count"]).loc[["negative", "positive"]]
        error = float(np.sqrt((spread["var"] / spread["count"]).sum()))
        level, of_level = float(mine["difference"].mean()), float(mine["difference"].sem())
        name = texts.movement(str(pair))
        low, high = others.quantile(MIDDLE[0]), others.quantile(MIDDLE[1])
        rows.append(
            {
                texts("person.column_movement"): texts("person.one_signal", movement=name) if pair in NEARLY_ONE else name,
                texts("person.column_level"): _with_error(level, of_level, texts),
                texts("person.column_side_answer"): _with_error(float(answers[told.person]), error, texts),
                texts("person.column_others"): texts(
                    "person.to", lower=texts.number(low, 3, signed=True), upper=texts.number(high, 3, signed=True)
                ) if len(others) >= LEAST_OTHERS else "–",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _with_error(value: float, error: float, texts: Texts) -> str:
    return texts("person.with_error", value=texts.number(value, 3, signed=True), error=texts.number(error, 3))


# Recordings


def _recordings(told: Told) -> list[Block]:
    texts, reports = told.texts, told.quality.reports
    if not reports:
        return [Text(texts("person.no_recording"), "warning")]
    frame = pd.DataFrame(
        [
            {
                texts("person.column_recording"): _recording(str(one["source"])),
                texts("person.column_verdict"): texts(f"verdict.{one['verdict']}"),
                texts("person.column_tracked"): texts.share(float(one["tracked_share"]), 1),
                texts("person.column_duration"): texts(
                    "person.minutes", n=texts.number(float(one["duration_s"]) / 60, 1)
                ),
                texts("person.column_warnings"): "; ".join(map(str, one.get("warnings", ()))) or "–",
            }
            for one in reports
        ]
    )
    blocks: list[Any] = [Table(frame, texts("person.recordings_caption"))]
    strips = [
        Picture(
            f"strip{number}", told.strips[str(one["source"])],
            texts("person.strip_label", recording=_recording(str(one["source"]))),
            texts("person.strip_caption", recording=_recording(str(one["source"]))), "strip",
        )
        for number, one in enumerate(reports) if str(one["source"]) in told.strips
    ]  # fmt: skip
    if strips:
        blocks.append(Strips(strips))
    by_recording = pd.DataFrame() if told.reason else _by_recording(told)
    if len(by_recording) > 1:
        blocks.append(Table(by_recording, texts("person.answers_caption")))
    return blocks


def _recording(source: str) -> str:
    """`ses-1 · films · run 1` of a source; its parts without the person and the tracker."""
    session, task, run = recording_key(source)
    parts = [f"ses-{session}"] if "_ses-" in source else []
    return " · ".join([*parts, f"task-{task}", f"run-{run}"])


def _by_recording(told: Told) -> pd.DataFrame:
    """Plain answers of the main movements, a row for each session, task and run that has both valences."""
    texts, shapes = told.texts, list(told.shown[:RECORDED])
    mine: Any = of_person(told.trials, told.person)
    mine = mine[(mine["excluded"] == "") & mine["blend_shape"].astype("str").isin(shapes)]
    names = [*TRIAL, "valence", "blend_shape"]
    mine = mine[[*names, "activation"]].astype(dict.fromkeys(names, "str"))
    trials = mine.groupby(names)["activation"].mean().reset_index()
    rows = []
    for (session, task, run), part in trials.groupby(["session", "task", "run"]):
        means = part.groupby(["blend_shape", "valence"])["activation"].mean().unstack("valence")
        if not {"negative", "positive"} <= set(means.columns):
            continue
        counts = part.drop_duplicates(TRIAL)["valence"].value_counts()
        answers = means["positive"] - means["negative"]
        several = trials["session"].nunique() > 1
        name = " · ".join([*([f"ses-{session}"] if several else []), f"task-{task}", f"run-{run}"])
        rows.append(
            {texts("person.column_source"): name}
            | {
                texts.movement(shape): texts.number(float(answers.get(shape, np.nan)), 3, signed=True)
                for shape in shapes
            }
            | {texts("person.column_count"): f"{counts.get('negative', 0)} / {counts.get('positive', 0)}"}
        )
    return pd.DataFrame(rows)


# Change


def _change(told: Told) -> list[Block]:
    texts = told.texts
    recorded = of_person(told.trials, told.person)["session"].astype("str").nunique()
    if recorded < 2:
        return [Text(texts("person.change_one"))]
    if len(sessions_of(told.fit, told.person)) < 2:
        return [Text(texts("person.change_model", n=recorded))]
    if told.reason:
        return _cannot(told)
    reasons = {row["blend_shape"]: row["reason"] for row in told.numbers.rows}
    table = session_change(told.fit, told.person, delta=told.decisions.delta)
    found = []
    for row in rows_of(table):
        if reasons.get(row["blend_shape"]):
            continue
        spread = (row["eti_upper"] - row["eti_lower"]) / 4
        found.append(
            {
                texts("person.column_movement"): texts.movement(str(row["blend_shape"])),
                texts("person.column_sessions"): f"{row['before']} → {row['after']}",
                texts("person.column_change"): value_text(
                    row["mean"], row["eti_lower"], row["eti_upper"], texts, spread=spread
                ),
                texts("person.column_own"): value_text(
                    row["own_mean"], row["own_lower"], row["own_upper"], texts, spread=spread
                ),
                texts("person.column_delta"): texts.number(row["delta"], 3),
                texts("person.column_rise"): texts.probability(row["p_rise"]),
                texts("person.column_fall"): texts.probability(row["p_fall"]),
            }
        )
    text = texts.counted(
        "person.change_text", int(table["retested"].max()), delta=texts.general(told.decisions.delta)
    )
    return [Text(text), Table(pd.DataFrame(found), texts("person.change_caption"))] if found else [Text(text)]


# What it does not mean, who it is compared with, and the limits


def _meaning(told: Told) -> list[Block]:
    names = ("diagnosis", "norm", "feeling", "stimuli", "limits")
    return [Points([told.texts(f"person.meaning_{name}") for name in names])]


def _reference(told: Told) -> list[Block]:
    texts, numbers = told.texts, told.numbers
    labels = set(levels_of_factor(told.fit, "participant")) - {told.person}
    table = told.participants
    label = table["participant_id"].astype("str").str.removeprefix("sub-")
    others: Any = table[label.isin(labels)]
    mine: Any = table[label == told.person]
    ages = others["age"].dropna().astype(float) if "age" in others else pd.Series(dtype=float)
    known = (
        {"low": texts.general(np.floor(ages.min())), "high": texts.general(np.floor(ages.max()))}
        if len(ages)
        else {}
    )
    range_text = texts("person.reference_ages", **known) if known else texts("person.reference_unknown_ages")
    points = [
        texts(f"person.reference_{'in' if numbers.known else 'out'}", n=numbers.reference, ages=range_text)
    ]
    if not numbers.known:
        points.append(texts("person.reference_norms_fixed"))
    age = (
        float(mine["age"].iloc[0])
        if len(mine) and "age" in mine and pd.notna(mine["age"].iloc[0])
        else float("nan")
    )
    if known and not np.isfinite(age):
        points.append(texts("person.reference_no_age", person=told.person))
    elif known and not ages.min() <= age <= ages.max():
        points.append(
            texts("person.reference_outside", person=told.person, age=texts.general(np.floor(age)), **known)
        )
    if numbers.reference < FEW:
        points.append(texts("person.reference_few", n=numbers.reference))
    if "group" in others and len(counts := others["group"].dropna().astype("str").value_counts()) > 1:
        points.append(
            texts("person.reference_groups", list=texts.listed([f"{n} {name}" for name, n in counts.items()]))
        )
    return [Points(points)]


def _decisions(told: Told) -> list[Block]:
    texts, decisions = told.texts, told.decisions
    pairs = [
        (texts("person.decision_clearly"), texts.general(decisions.clearly)),
        (texts("person.decision_probably"), texts.general(decisions.probably)),
        (texts("person.decision_signs"), texts.general(decisions.signs)),
        (texts("person.decision_trials"), str(decisions.valid_trials)),
        (texts("person.decision_tracked"), texts.share(decisions.tracked_share)),
        (texts("person.decision_delta"), texts.general(decisions.delta)),
    ]
    fit = told.fit.attrs
    model = texts(
        "person.model", formula=fit["formula"], fit=fit.get("name", "") or "–", version=fit["mien_version"]
    )
    return [Text(texts("person.decisions_text")), Facts(pairs), Text(model, "small")]
