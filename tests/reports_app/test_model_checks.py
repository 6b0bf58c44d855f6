"""Checks of the model in plain words: what lies outside, persons who come again, and what matters to the headline."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mien.models.criticism import CHECK_COLUMNS
from mien.reports_app.model_checks import model_checks

SHAPES = [f"shape{number}" for number in range(10)]


def made(fit, persons=(), pit=0):
    """A fit with checks in which these persons scatter twice as much, and PIT is outside in so many shapes."""
    rows = []
    for place, shape in enumerate(SHAPES):
        for person in ("01", "02", "03"):
            seen = 2.0 if person in persons else 1.0
            rows.append(("residual sd", shape, person, seen, 1.0, 0.8, 1.2, 0.95, 0.5, seen > 1.2))
        rows.append(("share of zeros", shape, "", 0.0, 0.0, 0.0, 0.0, 0.95, 0.5, False))
        rows.append(
            ("PIT", shape, "", 0.1, np.nan, np.nan, np.nan, 0.95, 1e-9 if place < pit else 0.9, place < pit)
        )
    table = pd.DataFrame(rows, columns=list(CHECK_COLUMNS))
    tree = fit.copy()
    columns = {name: ("row", np.array(table[name].tolist())) for name in CHECK_COLUMNS}
    tree["checks"] = xr.DataTree(xr.Dataset(columns))
    tree.attrs["checks"] = json.dumps({"notes": []})
    return tree


def test_a_right_model_has_sentences_and_nothing_that_matters(fit):
    told = model_checks("valence", made(fit))
    assert told.sentences[0].startswith("Scatter: 0 of 30 combinations of person and shape")
    assert told.sentences[0].endswith("by chance one expects about 2.")
    assert "in 0 of 10 shapes; by chance one expects less than 1." in told.sentences[1]
    assert (len(told.persons), len(told.outside), told.matters) == (0, 0, [])


@pytest.mark.parametrize("persons", [("02",), ("02", "03")])
def test_persons_who_come_again_are_named_at_the_head(fit, persons):
    told = model_checks("valence", made(fit, persons))
    assert list(told.persons["person"]) == list(persons)
    assert told.persons["shapes outside"].iloc[0] == "10 of 10"
    assert ("Person 02 scatters" if len(persons) == 1 else "Persons 02, 03 scatter") in told.matters[0]


def test_prediction_matters_where_it_fails_in_most_shapes(fit):
    assert model_checks("valence", made(fit, pit=5)).matters == []
    told = model_checks("valence", made(fit, pit=6))
    assert told.matters == ["The model does not foretell single trials well in 6 of 10 shapes."]
    assert list(told.outside["the model expects"]) == ["p < .001"] * 6


def test_a_fit_without_checks_says_why(fit):
    assert model_checks("valence", fit).missing == "they were not run with this fit"
    told = fit.copy()
    told.attrs["checks"] = json.dumps({"missing": "expected a fit that holds its rows."})
    assert model_checks("valence", told).missing == "expected a fit that holds its rows."


def test_the_report_shows_them(fit, effects, prep, quality, participants, stimuli):
    from mien.reports_app.documents import study_report

    def page(one):
        return study_report(
            "A study", effects={"valence": effects}, fits={"valence": one}, prep=prep, quality=quality,
            participants=participants, stimuli=stimuli,
        )  # fmt: skip

    whole = page(made(fit, persons=("02",), pit=1))
    head, section = whole.split('id="model-checks"')
    assert "Person 02 scatters otherwise" in head
    assert "Prediction: trials that were left out" in section
    assert "10 of 10" in section
    bare = page(fit)
    assert "This model was not checked: they were not run with this fit" in bare
    assert "the checks of the model</a>" not in bare
