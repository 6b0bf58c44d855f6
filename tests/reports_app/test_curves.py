import re

import pytest

from mien.reports_app.figures.curves import (
    arrow,
    band,
    closed,
    disc,
    mirrored,
    opened,
    ring_sector,
    symmetric,
)

NUMBER = r"-?\d+(?:\.\d)?"


def xs_and_ys(path):
    numbers = [float(text) for text in re.findall(NUMBER, path)]
    return numbers[::2], numbers[1::2]


def test_a_closed_curve_runs_through_its_points_and_closes():
    path = closed([(0, 0), (10, 0), (10, 10), (0, 10)])
    assert path.startswith("M0 0C")
    assert path.endswith("Z")
    assert path.count("C") == 4
    for end in ("10 0", "10 10", "0 10", "0 0"):
        assert re.search(rf" {end}(C|Z)", path)


def test_a_corner_has_no_handles():
    assert opened([(0, 0, "corner"), (6, 6, "corner")]) == "M0 0C0 0 6 6 6 6"


@pytest.mark.parametrize(
    "path",
    [
        closed([(1, 2), (30, 4), (20, 50)]), disc((5, 6), 3), ring_sector((92, 328), (9, 25), (50, 130)),
        arrow((196, 540), (242, 540), width=15, head=34), band([(10, 10), (20, 30), (30, 60)], [4, 6, 2]),
    ],
)  # fmt: skip
def test_mirroring_turns_the_sign_of_x_and_leaves_y(path):
    x, y = xs_and_ys(path)
    mirrored_x, mirrored_y = xs_and_ys(mirrored(path))
    assert mirrored_x == [-value for value in x]
    assert mirrored_y == y
    assert xs_and_ys(mirrored(mirrored(path))) == (x, y)


def test_a_symmetric_curve_is_its_own_mirror_image():
    x, _ = xs_and_ys(symmetric([(0, 0), (10, 5), (8, 20), (0, 25)]))
    assert min(x) == -max(x)


def test_no_minus_zero_is_written():
    assert "-0 " not in closed([(-0.01, 0), (5, -0.02), (5, 5)]) + " "
