"""stimuli.tsv at the door."""

import pytest

from mien.study.errors import StudyError
from mien.study.stimuli import read_stimuli

HEADER = "stimulus_id\tvalence\tmedium\tduration\tarousal\n"


def test_a_good_table_is_read_with_further_columns(write):
    table = read_stimuli(
        write("stimuli.tsv", HEADER + "1\tpositive\tpicture\t6\t4.2\n2\tneutral\tfilm\t30.5\t3\n")
    )
    assert list(table["stimulus_id"]) == ["1", "2"]
    assert list(table["duration"]) == [6.0, 30.5]
    assert list(table["arousal"]) == [4.2, 3.0]
    assert str(table["stimulus_id"].dtype) == str(table["valence"].dtype) == "str"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p1\tpostive\tpicture\t6\t1", "column valence: expected negative, neutral or positive, found 'postive' (did "
         "you mean 'positive'?)"),
        ("p1\tPositive\tpicture\t6\t1", "found 'Positive' (did you mean 'positive'?)"),
        ("p1\tn/a\tpicture\t6\t1", "column valence: expected negative, neutral or positive, found nothing"),
        ("p1\tpositive\tmovie\t6\t1", "column medium: expected picture or film, found 'movie'"),
        ("p1\tpositive\tpictures\t6\t1", "(did you mean 'picture'?)"),
        ("p1\tpositive\tpicture\t0\t1", "column duration: expected seconds above 0, found 0.0"),
        ("p1\tpositive\tpicture\t-1\t1", "column duration"),
        ("p1\tpositive\tpicture\tn/a\t1", "column duration: expected seconds above 0, found nan"),
        ("p1\tpositive\tpicture\t6,5\t1", "found '6,5': write it with a decimal point"),
        ("p1\tpositive\tpicture\t6\t1,5", "column arousal: expected a number, found '1,5'"),
        ("n/a\tpositive\tpicture\t6\t1", "column stimulus_id: expected an identifier, found none"),
        ("p0\tpositive\tpicture\t6\t1", "column stimulus_id: expected each stimulus once, found 'p0' also in line 2"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(row, message, write):
    path = write("stimuli.tsv", HEADER + "p0\tneutral\tfilm\t3\t2\n" + row + "\n")
    with pytest.raises(StudyError) as caught:
        read_stimuli(path)
    assert f"{path}, line 3" in str(caught.value)
    assert message in str(caught.value)


def test_no_table_no_rows_no_column(write, tmp_path):
    with pytest.raises(StudyError, match="gives a template"):
        read_stimuli(tmp_path / "stimuli.tsv")
    with pytest.raises(StudyError, match="found only the header"):
        read_stimuli(write("stimuli.tsv", HEADER))
    with pytest.raises(StudyError, match="expected the column duration"):
        read_stimuli(write("stimuli.tsv", "stimulus_id\tvalence\tmedium\nx\tneutral\tfilm\n"))
