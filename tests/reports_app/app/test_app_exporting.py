"""Exports: no formulas, numbers as they are, no small groups, no file without role and log line."""

import ast
import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.reports_app import app
from mien.reports_app.app.access import NotAllowedError, Visitor
from mien.reports_app.app.exporting import SMALL, csv_bytes, handed_out, offer, small_groups
from mien.reports_app.app.journal import LOG
from mien.reports_app.app.settings import Settings, configure

ATTACKS = (
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "＝1+1", "＋1", "－1+1", "＠x",
    '=HYPERLINK("https://example.org","x")', "-cmd", "+49 151", "|calc", "%0A=1", "-inf", "-", "=",
)  # fmt: skip


def read_back(frame):
    return list(csv.reader(io.StringIO(csv_bytes(frame).decode("utf-8"), newline="")))


@pytest.mark.parametrize("text", ATTACKS)
def test_a_text_that_could_begin_a_formula_gets_an_apostrophe(text):
    frame = pd.DataFrame({"note": pd.Series([text], dtype="str")})
    assert read_back(frame)[1] == ["'" + text]
    assert read_back(frame.astype("category"))[1] == ["'" + text]
    assert read_back(pd.DataFrame({text: [1]}))[0] == ["'" + text]


@pytest.mark.parametrize(
    "text", ["-0.5", "+3", "−0.5", "-1e-3", "smile - frown", "a=b", "valence:medium", "[-1, 2]"]
)
def test_numbers_as_texts_and_harmless_texts_stay(text):
    assert read_back(pd.DataFrame({"x": [text]}))[1] == [text]


def test_negative_numbers_stay_numbers_with_every_digit():
    values = [-0.1, -1e-17, 1 / 3, -5.0, np.nan]
    for column in (pd.Series(values), pd.Series(values, dtype=object), pd.Series(values, dtype="Float64")):
        rows = read_back(pd.DataFrame({"mean": column, "n": [-1, 2, 3, 4, 5]}))[1:]
        assert [float(row[0]) for row in rows[:4]] == values[:4]
        assert rows[4][0] == ""
        assert rows[0][1] == "-1"
    assert b'"-0.1"' not in csv_bytes(pd.DataFrame({"mean": [-0.1]}))


def test_a_separator_inside_a_text_begins_no_cell_elsewhere():
    content = csv_bytes(pd.DataFrame({"note": ["harmless;=1+1"], "n": [1]})).decode()
    assert '"harmless;=1+1"' in content


@given(
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
)
def test_no_cell_begins_a_formula_whatever_it_holds(texts):
    for row in read_back(pd.DataFrame({"x": pd.Series(texts, dtype=object)}))[1:]:
        begins = "".join(row).lstrip(" \u00a0")[:1]
        assert begins not in set("=@\t\r\n") or not begins
        if begins in set("+-") and begins:
            float("".join(row).strip(" "))


def people(sizes):
    names = [name for name, size in sizes.items() for _ in range(size)]
    return pd.DataFrame({"participant_id": [f"{i:02d}" for i in range(len(names))], "group": names})


def counts(frame):
    return frame["group"].value_counts().to_dict()


def test_groups_under_five_are_put_together():
    assert counts(small_groups(people({"a": 9, "b": 4, "c": 3}), "group")) == {"a": 9, SMALL: 7}


def test_a_small_group_alone_takes_the_next_one_along():
    assert counts(small_groups(people({"a": 9, "b": 6, "c": 1}), "group")) == {"a": 9, SMALL: 7}


def test_groups_of_five_stay():
    frame = people({"a": 5, "b": 6})
    pd.testing.assert_frame_equal(small_groups(frame, "group"), frame)


def test_persons_are_counted_not_rows_and_missing_groups_stay_missing():
    frame = pd.concat([people({"a": 6, "b": 3, "c": 2})] * 10, ignore_index=True)
    frame.loc[0, "group"] = None
    found = small_groups(frame.astype({"group": "category"}), "group")
    assert set(found["group"].dropna()) == {"a", SMALL}
    assert found["group"].isna().sum() == 1


def told(study):
    configure(Settings(study))


def test_bytes_come_with_a_line_in_the_log_and_not_without(tmp_path):
    told(tmp_path)
    anna = Visitor("anna", "clinician")
    made = handed_out(anna, "effects", "effects.csv", lambda: b"abc", {"fit": "valence"})
    assert not (tmp_path / LOG).exists()
    assert made() == b"abc"
    assert json.loads((tmp_path / LOG).read_text())["what"] == {
        "page": "effects", "file": "effects.csv", "bytes": 3, "fit": "valence",
    }  # fmt: skip


def test_no_bytes_without_the_role(tmp_path):
    told(tmp_path)
    read = []
    made = handed_out(Visitor("eve", "planner"), "effects", "e.csv", lambda: read.append(1) or b"", {})
    with pytest.raises(NotAllowedError):
        made()
    with pytest.raises(NotAllowedError):
        offer(Visitor("eve", "planner"), "effects", "Table", "e.csv", lambda: b"")
    assert not read
    assert not (tmp_path / LOG).exists()


def test_no_page_hands_out_files_by_another_door():
    for path in Path(app.__file__).parent.rglob("*.py"):
        names = {
            node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
        }
        assert "download_button" not in names or path.name == "exporting.py", path.name
