import json

from mien.cli.arguments import without_nan


def test_what_a_table_lacks_is_null():
    value = {"effects": [{"mean": 0.1, "pooled_mean": float("nan")}], "bounds": (float("inf"), 1)}
    assert json.loads(json.dumps(without_nan(value), allow_nan=False)) == {
        "effects": [{"mean": 0.1, "pooled_mean": None}],
        "bounds": [None, 1],
    }
