from dataclasses import replace

import numpy as np
import pytest

from mien.simulation.truth import Truth, default_truth
from mien.study.blend_shapes import BILATERAL_NAMES


def test_the_table_has_a_row_for_each_bilateral_shape():
    truth = default_truth()
    assert tuple(shape.blend_shape for shape in truth.shapes) == BILATERAL_NAMES
    smile = truth.shapes[BILATERAL_NAMES.index("mouthSmile")]
    assert (smile.synergy, smile.gain_picture, smile.gain_film) == ("smile", 0.98, 1.67)


def test_some_shapes_answer_and_some_are_exact_nulls():
    gain = default_truth().column("gain_picture")
    assert (gain > 0).sum() == 7
    assert (gain < 0).sum() == 6
    assert (gain == 0).sum() == 21


def test_films_move_positive_expressions_more():
    truth = default_truth()
    positive = truth.column("gain_picture") > 0
    assert np.all(truth.column("gain_film")[positive] > truth.column("gain_picture")[positive])


def test_every_number_is_in_the_hash():
    truth = default_truth()
    first = replace(truth.shapes[0], trial_sd=0.21)
    assert replace(truth, shapes=(first, *truth.shapes[1:])).sha256 != truth.sha256
    assert replace(truth, blinks_per_min=14.0).sha256 != truth.sha256


def test_a_table_with_shapes_out_of_order_is_refused():
    with pytest.raises(ValueError, match="one row for each"):
        Truth(default_truth().shapes[::-1])
