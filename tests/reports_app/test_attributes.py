import json

import pytest
import xarray as xr

from mien.reports_app.attributes import failures, left_out, parsed, rope_widths


def tree(sigma, dims, **attrs):
    made = xr.DataTree.from_dict({"posterior": xr.Dataset({"sigma": (dims, sigma)}, coords=coords(dims))})
    made.attrs = attrs
    return made


def coords(dims):
    return {"blend_shape": ["mouthSmile", "jawOpen"]} if "blend_shape" in dims else {}


def test_the_rope_is_a_share_of_each_outcomes_residual_sd():
    many = tree([[[0.1, 0.3], [0.3, 0.5]]], ("chain", "draw", "blend_shape"))
    assert rope_widths(many, 0.1) == pytest.approx({"mouthSmile": 0.02, "jawOpen": 0.04})
    assert rope_widths(tree([[1.0, 3.0]], ("chain", "draw")), 0.2) == pytest.approx({"": 0.4})


def test_reasons_are_read_and_missing_ones_are_none():
    detail = {"failed": {"jawOpen": ["R-hat of sigma 1.400", "3 divergences"]}}
    fit = tree(
        [[1.0]],
        ("chain", "draw"),
        diagnostics_detail=json.dumps(detail),
        left_out='{"tongueOut": "never moved"}',
    )
    assert failures(fit) == {"jawOpen": "R-hat of sigma 1.400, 3 divergences"}
    assert left_out(fit) == {"tongueOut": "never moved"}
    bare = tree([[1.0]], ("chain", "draw"), coding="not json", seed=3)
    assert (failures(bare), left_out(bare), parsed(bare, "coding"), parsed(bare, "seed")) == (
        {},
        {},
        "not json",
        3,
    )
