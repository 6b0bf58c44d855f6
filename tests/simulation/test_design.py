from dataclasses import replace

import pytest

from mien.simulation.design import Design, demo_design, quick_design, small_design, stimuli_of, stimuli_table


def test_the_demo_shows_24_pictures_and_8_films_to_32_people():
    table = stimuli_table(demo_design())
    assert demo_design().participants == 32
    assert table.groupby(["medium", "valence"]).size().to_dict() == {
        ("film", "negative"): 4,
        ("film", "positive"): 4,
        ("picture", "negative"): 12,
        ("picture", "positive"): 12,
    }
    assert set(table.loc[table["medium"] == "picture", "duration"]) == {5.0}


def test_the_session_does_not_depend_on_the_sample_size_or_the_clock():
    design = demo_design()
    assert replace(design, participants=8, clock="stimulus").session_sha256 == design.session_sha256
    assert replace(design, picture_s=6.0).session_sha256 != design.session_sha256
    assert quick_design().session_sha256 == small_design().session_sha256


def test_swapping_valences_keeps_everything_else():
    plain, swapped = stimuli_of(small_design()), stimuli_of(small_design(), swap_valence=True)
    assert [one.stimulus_id for one in plain] == [one.stimulus_id for one in swapped]
    assert all(one.sign == -other.sign for one, other in zip(plain, swapped, strict=True))
    assert plain[0].sign == -0.5


@pytest.mark.parametrize("wrong", [{"participants": 0}, {"films_per_valence": -1}, {"clock": "wall"}])
def test_an_impossible_design_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Design(**wrong)
