"""The details of one person's report, section by section: reactivity, course, sides, recordings, change, limits."""

from collections import Counter
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
from mien.reports_app.person_means import answers_by_recording, of_person, side_differences
from mien.reports_app.person_numbers import Person, Quality, recording_key
from mien.reports_app.person_writing import answer_text, dot_row, percentile_text, reason_text, value_text
from mien.reports_app.power_blocks import Block, Picture, Points, Section, Table, Text, picture
from mien.reports_app.rows import Row, rows_of
from mien.reports_app.texts import WORDS, Texts
from mien.reports_app.wording import decimals_for

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
    return texts(f"person.differs_{WORDS[word]}", direction=direction)


# Course


def _course(told: Told) -> list[Block]:
    if told.reason:
        return []
    texts, shapes = told.texts, told.shown[:COURSES]
    rows: Any = course_rows(told.trials, told.person, shapes)
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


def _sides_table(told: Told) -> pd.DataFrame:
    by_pair = side_differences(told.trials).groupby("pair", sort=False)
    rows = [_sides_row(told, str(pair), part) for pair, part in by_pair]
    return pd.DataFrame([row for row in rows if row])


def _sides_row(told: Told, pair: str, table: Any) -> dict[str, str]:
    """One pair: the person's left − right, the answer of it, and the others' answers."""
    texts, both = told.texts, ["negative", "positive"]
    mine = table[table["participant"] == told.person]
    answers = table.pivot_table(index="participant", columns="valence", values="difference")
    if not set(both) <= set(mine["valence"]):
        return {}
    answers = (answers["positive"] - answers["negative"]).dropna()
    others = answers.drop(told.person)
    spread = mine.groupby("valence")["difference"].agg(["var", "count"]).loc[both]
    error = float(np.sqrt((spread["var"] / spread["count"]).sum()))
    name, beside = texts.movement(pair), "–"
    if len(others) >= LEAST_OTHERS:
        decimals = decimals_for(error, digits=1)
        ends = [texts.number(float(others.quantile(one)), decimals, signed=True) for one in MIDDLE]
        beside = texts("person.to", lower=ends[0], upper=ends[1])
    return {
        texts("person.column_movement"): texts("person.one_signal", movement=name)
        if pair in NEARLY_ONE
        else name,
        texts("person.column_level"): _with_error(
            float(mine["difference"].mean()), float(mine["difference"].sem()), texts
        ),
        texts("person.column_side_answer"): _with_error(float(answers[told.person]), error, texts),
        texts("person.column_others"): beside,
    }


def _with_error(value: float, error: float, texts: Texts) -> str:
    decimals = decimals_for(error, digits=1)
    told = texts.number(value, decimals, signed=True)
    return texts("person.with_error", value=told, error=texts.number(error, decimals))


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
            texts("person.strip_caption", recording=_recording(str(one["source"]))), "strip", own_colours=True,
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
    """What a recording is called, from its source: without the person and the tracker."""
    session, task, run = recording_key(source)
    return _named(session if "_ses-" in source else "", task, run)


def _named(session: str, task: str, run: str) -> str:
    """`ses-1 · task-films · run-1`."""
    return " · ".join([*([f"ses-{session}"] if session else []), f"task-{task}", f"run-{run}"])


def _by_recording(told: Told) -> pd.DataFrame:
    """Plain answers of the main movements, a row for each session, task and run that has both valences."""
    texts, shapes = told.texts, list(told.shown[:RECORDED])
    found = answers_by_recording(told.trials, told.person, shapes)
    several = len({one["session"] for one in found}) > 1
    return pd.DataFrame(
        [
            {
                texts("person.column_source"): _named(
                    one["session"] if several else "", one["task"], one["run"]
                )
            }
            | {texts.movement(shape): texts.number(one[shape], 3, signed=True) for shape in shapes}
            | {texts("person.column_count"): f"{one['negative']} / {one['positive']}"}
            for one in found
        ]
    )


# Change


def _change(told: Told) -> list[Block]:
    texts = told.texts
    recorded = len(set(of_person(told.trials, told.person)["session"].astype("str")))
    if recorded < 2:
        return [Text(texts("person.change_one"))]
    if len(sessions_of(told.fit, told.person)) < 2:
        return [Text(texts("person.change_model", n=recorded))]
    if told.reason:
        return _cannot(told)
    reasons = {row["blend_shape"]: row["reason"] for row in told.numbers.rows}
    rows = rows_of(session_change(told.fit, told.person, delta=told.decisions.delta))
    table = pd.DataFrame([_change_row(row, texts) for row in rows if not reasons.get(row["blend_shape"])])
    text = texts.counted("person.change_text", rows[0]["retested"], delta=texts.general(told.decisions.delta))
    return [Text(text), Table(table, texts("person.change_caption"))]


def _change_row(row: Row, texts: Texts) -> dict[str, str]:
    spread = (row["eti_upper"] - row["eti_lower"]) / 4  # an sd, about
    whole = value_text(row["mean"], row["eti_lower"], row["eti_upper"], texts, spread=spread)
    own = value_text(row["own_mean"], row["own_lower"], row["own_upper"], texts, spread=spread)
    return {
        texts("person.column_movement"): texts.movement(str(row["blend_shape"])),
        texts("person.column_sessions"): f"{row['before']} → {row['after']}",
        texts("person.column_change"): whole,
        texts("person.column_own"): own,
        texts("person.column_delta"): texts.number(row["delta"], 3),
        texts("person.column_rise"): texts.probability(row["p_rise"]),
        texts("person.column_fall"): texts.probability(row["p_fall"]),
    }


# What it does not mean, who it is compared with, and the limits


def _meaning(told: Told) -> list[Block]:
    names = ("diagnosis", "norm", "feeling", "stimuli", "limits")
    return [Points([told.texts(f"person.meaning_{name}") for name in names])]


def _reference(told: Told) -> list[Block]:
    texts, numbers = told.texts, told.numbers
    labels = set(levels_of_factor(told.fit, "participant")) - {told.person}
    people: list[Row] = [
        row | {"label": str(row["participant_id"]).removeprefix("sub-")} for row in rows_of(told.participants)
    ]
    others = [row for row in people if row["label"] in labels]
    ages = [age for age in map(_age, others) if np.isfinite(age)]
    mine = next((_age(row) for row in people if row["label"] == told.person), float("nan"))
    known = {"low": f"{min(ages):.0f}", "high": f"{max(ages):.0f}"} if ages else {}
    told_ages = texts("person.reference_ages", **known) if ages else texts("person.reference_unknown_ages")
    points = [
        texts(f"person.reference_{'in' if numbers.known else 'out'}", n=numbers.reference, ages=told_ages)
    ]
    if not numbers.known:
        points.append(texts("person.reference_norms_fixed"))
    if ages and not np.isfinite(mine):
        points.append(texts("person.reference_no_age", person=told.person))
    elif ages and not min(ages) <= mine <= max(ages):
        points.append(texts("person.reference_outside", person=told.person, age=f"{mine:.0f}", **known))
    if numbers.reference < FEW:
        points.append(texts("person.reference_few", n=numbers.reference))
    if numbers.alike:
        points.append(texts("person.reference_alike", list=texts.listed(numbers.alike)))
    groups = Counter(str(row["group"]) for row in others if str(row.get("group", "nan")) != "nan")
    if len(groups) > 1:
        listed = texts.listed([f"{n} {name}" for name, n in sorted(groups.items())])
        points.append(texts("person.reference_groups", list=listed))
    return [Points(points)]


def _age(row: Row) -> float:
    """Whole years; NaN where it is not known."""
    age = row.get("age")
    return float(np.floor(age)) if isinstance(age, int | float) else float("nan")


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
    table = pd.DataFrame(pairs, columns=[texts("person.column_limit"), texts("person.column_value")])
    return [
        Text(texts("person.decisions_text")), Table(table, texts("person.decisions_caption")), Text(model, "small"),
    ]  # fmt: skip
