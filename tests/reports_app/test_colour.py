import itertools

import numpy as np
import pytest

from mien.reports_app.figures.colour import diverging, lightness, nice_limit

POSITIONS = np.linspace(0, 1, 21)


@pytest.mark.parametrize("sign", [-1, 1])
def test_lightness_falls_from_zero_to_either_end(sign):
    steps = [lightness(diverging(sign * position)) for position in POSITIONS]
    assert all(later < earlier - 0.01 for earlier, later in itertools.pairwise(steps))


def test_both_sides_are_equally_dark():
    for position in POSITIONS:
        assert lightness(diverging(position)) == pytest.approx(lightness(diverging(-position)), abs=0.012)


def test_sides_have_their_own_hue_and_beyond_the_end_is_the_end():
    blue, orange = diverging(-0.8), diverging(0.8)
    assert int(blue[5:7], 16) > int(blue[1:3], 16)
    assert int(orange[1:3], 16) > int(orange[5:7], 16)
    assert diverging(3.0) == diverging(1.0)


@pytest.mark.parametrize(
    ("largest", "limit"),
    [(0.041, 0.05), (0.05, 0.05), (0.0501, 0.06), (0.11, 0.15), (0.9, 1.0), (7.0, 8.0), (0.0, 1.0)],
)
def test_the_scale_ends_at_a_round_number(largest, limit):
    assert nice_limit(largest) == pytest.approx(limit)


def blue_against_yellow(colour):
    """What every form of red-green blindness keeps: the blue channel against the mean of red and green, 0-255."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return blue - (red + green) / 2


@pytest.mark.parametrize("position", [0.1, 0.3, 0.6, 1.0])
def test_the_sides_differ_in_blue_against_yellow(position):
    assert blue_against_yellow(diverging(-position)) > 15
    assert blue_against_yellow(diverging(position)) < -15
