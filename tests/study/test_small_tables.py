"""Tables as people save them are read, and what is wrong is named with file, line and column."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.study import tables
from mien.study.errors import RecordingError, StudyError
from mien.study.tables import nearest, numbers_where_possible, read_json, read_table, read_text, write_table

ROWS = [["stimulus_id", "valence", "duration"], ["p1", "positive", "6"], ["p2", "negative", "4.5"]]


def as_text(separator="\t", ending="\n", mark=""):
    return mark + ending.join(separator.join(row) for row in ROWS) + ending


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_way_to_save_a_table_is_read(separator, ending, mark, write):
    table = read_table(write("t.tsv", as_text(separator, ending, mark)), numeric=("duration",))
    assert list(table.columns) == ROWS[0]
    assert list(table["stimulus_id"]) == ["p1", "p2"]
    assert list(table["duration"]) == [6.0, 4.5]
    assert [str(dtype) for dtype in table.dtypes] == ["str", "str", "float64"]


def test_empty_cells_and_n_a_are_missing(write):
    table = read_table(write("t.tsv", "a\tb\nx\t\nn/a\t1\n NaN \tNA\n"), numeric=("b",))
    assert table["a"].isna().tolist() == [False, True, True]
    assert table["b"].isna().tolist() == [True, False, True]


def test_no_line_feed_at_the_end_and_empty_lines_after_it(write):
    assert len(read_table(write("t.tsv", "a\tb\nx\ty"))) == 1
    assert len(read_table(write("t.tsv", "a\tb\nx\ty\n\n\t\n \n"))) == 1


def test_a_header_alone_is_an_empty_table(write):
    table = read_table(write("t.tsv", "a\tb\n"))
    assert table.empty
    assert list(table.columns) == ["a", "b"]


def test_quoted_cells_hold_separators_quotes_and_line_breaks(write):
    table = read_table(write("t.csv", 'id,note\n1,"a, b"\n2,"said ""no"""\n3,"two\nlines"\n4,x\n'))
    assert list(table["note"]) == ["a, b", 'said "no"', "two\nlines", "x"]


def test_lines_are_counted_where_cells_hold_line_breaks(write):
    path = write("t.csv", 'id,age\n"two\nlines",3\n2,old\n')
    with pytest.raises(StudyError, match=r"t\.csv, line 4, column age: expected a number, found 'old'"):
        read_table(path, numeric=("age",))


@pytest.mark.parametrize("text", ["a,b,\n1,2,\n", "a,b, \n1,2,\n"])
def test_a_separator_at_the_end_of_every_line_is_no_column(text, write):
    assert list(read_table(write("psychopy.csv", text)).columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.tsv: expected a table with a header line, found an empty file"),
        ("\ufeff", "found an empty file"),
        (" \n\n", "found an empty file"),
        ("\na\tb\n", "found an empty first line"),
        (";", "found an empty first line"),
        (',""\n1,2\n', "found an empty first line"),
        ("a\tb\na\n", "t.tsv, line 2: expected 2 cells as in the header, found 1"),
        ("a\tb\n1\t2\n1\t2\t3\n", "t.tsv, line 3: expected 2 cells as in the header, found 3"),
        ("a\tb\n1\t2\n\n1\t2\n", "t.tsv, line 3: expected a row, found an empty line"),
        ("a\tb\ta\n1\t2\t3\n", "t.tsv, line 1: expected each column once, found two named a"),
        ("a\t\tc\n1\t2\t3\n", "t.tsv, line 1: expected a name for each column, found none for number 2"),
        (b"a\tb\n1\t2\ncaf\xe9\t2\n", "t.tsv, line 3: expected UTF-8 text, found the byte 0xe9"),
        ("a\tb\n1\t2\n".encode("utf-16"), "t.tsv, line 1: expected UTF-8 text, found the byte 0xff"),
        ("a\tb\n1\t2\n".encode("utf-16-le"), "found a binary file"),
        (b"a\tb\n1\t\x002\n", "found a binary file"),
        ('a\tb\n1\t"' + "x" * 200_000 + '"\n', "t.tsv, line 2: expected a table, but field larger than"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(content, message, write):
    with pytest.raises(StudyError) as caught:
        read_table(write("t.tsv", content))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1,5", "line 2, column age: expected a number, found '1,5': write it with a decimal point"),
        ("-0,25", "write it with a decimal point"),
        ("twelve", "found 'twelve': correct the cell"),
        ("1.234,5", "correct the cell"),
        ("1_000", "found '1_000'"),
        ("0x1F", "found '0x1F'"),
        ("٣", "found '٣'"),
        ("inf", "expected a number, found 'inf'"),
        ("-Infinity", "expected a number"),
        ("1e999", "expected a finite number, found '1e999'"),
        ("1 2", "expected a number"),
        ("NAN", "expected a number, found 'NAN'"),
    ],
)
def test_a_cell_that_is_no_number_is_named(value, message, write):
    with pytest.raises(StudyError) as caught:
        read_table(write("t.tsv", f"id\tage\nx\t{value}\n"), numeric=("age",))
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["3", "-3", "+3.", ".5", "1e-3", "1E5", "007"])
def test_numbers_as_tables_write_them(value, write):
    assert read_table(write("t.tsv", f"id\tage\nx\t{value}\n"), numeric=("age",))["age"].item() == float(
        value
    )


def test_a_missing_column_is_named_with_what_it_may_be(write):
    path = write("t.tsv", "stimulusid\tvalence\n1\tx\n")
    with pytest.raises(
        RecordingError, match=r"line 1: expected the column stimulus_id, found stimulusid, valence"
    ):
        read_table(path, required=("stimulus_id",), error=RecordingError)
    with pytest.raises(StudyError, match=r"did you mean 'stimulusid'"):
        read_table(path, required=("stimulus_id", "valence"))


def test_no_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(StudyError, match="No such file"):
        read_table(tmp_path / "none.tsv")
    with pytest.raises(StudyError, match="directory"):
        read_table(tmp_path)


def test_a_huge_table_is_refused_before_it_is_read(write, monkeypatch):
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 10)
    with pytest.raises(StudyError, match="at most 0 MB"):
        read_text(write("t.tsv", "a\tb\n" * 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n,}", "line 2: expected JSON"),
        ("[]", "expected a JSON object, found list"),
        ("1" * 5000, "expected JSON, but Exceeds"),
        ("[" * 100_000, "expected JSON"),
        ("", "line 1: expected JSON"),
    ],
)
def test_bad_json_is_refused(content, message, write):
    with pytest.raises(StudyError) as caught:
        read_json(write("x.json", content))
    assert message in str(caught.value)


def test_text_of_numbers_becomes_numbers_but_codes_stay_text():
    table = pd.DataFrame(
        {
            "score": ["1", None, "2.5"],
            "code": ["007", "012", "100"],
            "decimal": ["0.5", "0", "0.25"],
            "mixed": ["1", "x", None],
            "empty": [None, None, None],
            "group": ["1", "2", "1"],
            "odd": ["inf", "1", "2"],
        },
        dtype="str",
    )
    result = numbers_where_possible(table, keep=("group",))
    assert {name: str(dtype) for name, dtype in result.dtypes.items()} == {
        "score": "float64", "code": "str", "decimal": "float64", "mixed": "str", "empty": "str", "group": "str",
        "odd": "str",
    }  # fmt: skip
    assert str(table["score"].dtype) == "str", "the table given stays as it was"
    np.testing.assert_array_equal(result["score"], [1.0, np.nan, 2.5])


def test_numbers_of_which_some_have_a_decimal_comma_are_refused():
    table = pd.DataFrame({"empathy": ["3", "3,5"]}, dtype="str")
    with pytest.raises(StudyError, match=r"line 3, column empathy: expected a number, found '3,5'"):
        numbers_where_possible(table)


def test_a_table_is_written_as_bids_wants_it(tmp_path):
    frame = pd.DataFrame(
        {"a": [1.0, 2.5, np.nan], "b": ["x", None, "y"], "c": [1, 2, 3], "d": [True, False, True]}
    )
    write_table(frame, tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_bytes() == (
        b"a\tb\tc\td\n1\tx\t1\tTrue\n2.5\tn/a\t2\tFalse\nn/a\ty\t3\tTrue\n"
    )


@pytest.mark.parametrize("value", ['"', '"a"', '"a\tb', "a\nb", " a", "\x00", "=1+1", "a,b;c"])
def test_awkward_text_stays_one_cell(value, tmp_path):
    write_table(pd.DataFrame({"a": [value], "b": ["next"]}), tmp_path / "t.tsv")
    table = read_table(tmp_path / "t.tsv")
    assert list(table["b"]) == ["next"]
    expected = value.replace("\t", " ").replace("\n", " ").replace("\x00", " ").strip()
    assert table["a"].fillna("").item() == expected


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8).map(str.strip)
cells = st.one_of(st.none(), words.filter(lambda word: word not in tables.MISSING))
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(cells, numbers), max_size=5))
def test_what_is_written_is_read(rows, tmp_path):
    frame = pd.DataFrame(
        {"text": pd.Series([row[0] for row in rows], dtype="str"), "number": [row[1] for row in rows]}
    ).astype({"number": "float64"})
    write_table(frame, tmp_path / "t.tsv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.tsv", numeric=("number",)), frame)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(cells, max_size=4))
def test_a_table_of_one_column_is_read_too(rows, tmp_path):
    frame = pd.DataFrame({"text": pd.Series(rows, dtype="str")})
    write_table(frame, tmp_path / "t.tsv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.tsv"), frame)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=60), st.text("ab\t;,\n\r\"'01.\x00é", max_size=40).map(str.encode))
)
def test_any_bytes_give_a_table_or_a_study_error(content, tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(content)
    with suppress(StudyError):  # anything else fails the test
        table = read_table(path, numeric=("a",))
        assert "" not in table.columns


def test_the_nearest_word_is_offered_only_when_it_is_near():
    assert nearest("mouthSmle", ["mouthSmile", "jawOpen"]) == " (did you mean 'mouthSmile'?)"
    assert nearest("xyz", ["mouthSmile"]) == ""
    assert nearest("", []) == ""
