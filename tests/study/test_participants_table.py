"""participants.tsv at the door."""

import pytest

from mien.study.errors import StudyError
from mien.study.participants import new_participants, read_participants


def test_numbers_are_numbers_and_labels_are_text(write):
    path = write(
        "participants.tsv",
        "participant_id\tage\tsex\tgroup\tiri_ec\tcode\tnote\n"
        "sub-01\t23\tF\t1\t3.5\t007\tx\nsub-02\tn/a\tM\t2\t4\t012\tn/a\n",
    )
    table = read_participants(path)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "participant_id": "str", "age": "float64", "sex": "str", "group": "str", "iri_ec": "float64", "code": "str",
        "note": "str",
    }  # fmt: skip
    assert list(table["participant_id"]) == ["sub-01", "sub-02"]
    assert list(table["code"]) == ["007", "012"]


def test_a_label_without_its_prefix_gets_it(write):
    table = read_participants(write("participants.tsv", "participant_id;age\r\n01;30\r\nA2;31\r\n"))
    assert list(table["participant_id"]) == ["sub-01", "sub-A2"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "sub-01\t30\nsub-01\t31\n",
            "line 3, column participant_id: expected each participant once, found sub-01 also",
        ),
        ("sub-01\t30\n01\t31\n", "found sub-01 also in line 2"),
        ("n/a\t30\n", "line 2, column participant_id: expected an id such as sub-01, found none"),
        ("sub-anna_s\t30\n", "line 2, column participant_id: participant: expected letters and digits only"),
        (
            "sub-01\t30,5\n",
            "line 2, column age: expected a number, found '30,5': write it with a decimal point",
        ),
        ("sub-01\told\n", "line 2, column age"),
    ],
)
def test_a_bad_row_is_named(rows, message, write):
    with pytest.raises(StudyError) as caught:
        read_participants(write("participants.tsv", "participant_id\tage\n" + rows))
    assert message in str(caught.value)
    assert "participants.tsv" in str(caught.value)


def test_a_decimal_comma_in_a_trait_is_named(write):
    path = write("participants.tsv", "participant_id\tiri_ec\nsub-01\t3\nsub-02\t3,5\n")
    with pytest.raises(StudyError, match=r"participants\.tsv, line 3, column iri_ec.*decimal point"):
        read_participants(path)


def test_no_table_and_no_column(write, tmp_path):
    with pytest.raises(StudyError, match="mien new"):
        read_participants(tmp_path / "participants.tsv")
    with pytest.raises(StudyError, match="expected the column participant_id"):
        read_participants(write("participants.tsv", "id\tage\n01\t2\n"))


def test_nobody_yet(write):
    assert read_participants(write("participants.tsv", "participant_id\tage\n")).empty
    assert list(new_participants().columns) == ["participant_id", "age", "sex", "group"]
