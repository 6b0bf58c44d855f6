"""The gate on fabricated draws: what is good passes, every way of being bad fails."""

import json

import numpy as np
import pytest
import xarray as xr

from mien.models.diagnostics import array_checks, gate, scalar_draws, weighted_gate

SHAPE = (4, 1000)


def tree(seed=0, **changed):
    rng = np.random.default_rng(seed)
    draws = {
        name: rng.normal(size=SHAPE) for name in ("Intercept", "valence", "sigma", "1|participant_sigma")
    }
    draws |= {"1|participant": rng.normal(size=(*SHAPE, 3))}
    stats = {"energy": rng.normal(size=SHAPE), "diverging": np.zeros(SHAPE, dtype=bool)}
    for name, change in changed.items():
        where = stats if name in stats else draws
        where[name] = change(where[name])
    posterior = {
        name: (("chain", "draw", "participant")[: values.ndim], values) for name, values in draws.items()
    }
    sampled = {name: (("chain", "draw"), values) for name, values in stats.items()}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(posterior), "sample_stats": xr.Dataset(sampled)})


def one_chain_elsewhere(draws):
    return draws + np.array([0, 0, 0, 0.5]).reshape(4, 1, *[1] * (draws.ndim - 2))


def slow(draws):
    out = np.zeros_like(draws)
    for step in range(1, draws.shape[1]):
        out[:, step] = 0.99 * out[:, step - 1] + draws[:, step]
    return out


def one_divergence(values):
    values = values.copy()
    values[2, 10] = True
    return values


def test_independent_draws_pass():
    found = gate(tree())
    assert found.verdict == "passed"
    assert found.detail["failed"] == {}
    assert found.detail["min_ess_bulk"] > 3000
    assert found.detail["limits"] == {"r_hat": 1.01, "ess": 400.0, "bfmi": 0.3, "divergences": 0}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"valence": one_chain_elsewhere}, "R-hat of valence"),
        ({"1|participant_sigma": slow}, "ESS of 1|participant_sigma"),
        ({"diverging": one_divergence}, "1 divergences"),
        ({"energy": slow}, "BFMI"),
    ],
    ids=["chains apart", "slow", "divergence", "energy"],
)
def test_each_fault_fails(changed, words):
    found = gate(tree(**changed))
    assert found.verdict == "failed"
    assert any(words in text for text in found.detail["failed"][""])


def test_group_effects_are_counted_and_do_not_decide():
    found = gate(tree(**{"1|participant": one_chain_elsewhere}))
    assert found.verdict == "passed"
    assert found.detail["group_effects"] == {"count": 3, "r_hat_above_limit": 3}


def test_fixed_parameters_have_nothing_to_converge():
    assert gate(tree(sigma=lambda draws: np.full_like(draws, 0.5))).verdict == "passed"


def test_one_chain_alone_cannot_pass():
    rng = np.random.default_rng(0)
    failed = array_checks({"x": rng.normal(size=(1, 4000))}, rng.normal(size=(1, 4000)), np.zeros((1, 4000)))
    assert failed == ["R-hat of x nan"]


GOOD = {
    "kind": "importance", "passed": True, "reason": "", "khat_engine": 0.21, "ess": 2900.0, "ess_min": 1800.0,
    "ess_of": {"sigma": 1800.0}, "max_z": 2.1, "points": 4000, "distinct": 2500, "fallback": "", "notes": [],
}  # fmt: skip


def test_an_engine_that_gives_its_own_verdict_is_not_judged_by_r_hat():
    fit = tree(valence=one_chain_elsewhere)
    fit.attrs["engine_verdict"] = json.dumps({"": GOOD})
    found = gate(fit)
    assert found.verdict == "passed"
    assert found.detail == {
        "kind": "importance", "limits": {"khat_engine": 0.5, "ess": 400.0, "z": 4.0}, "max_khat": 0.21,
        "min_ess": 1800.0, "max_z": 2.1, "outcomes": 1, "failed": {}, "fallbacks": {},
    }  # fmt: skip
    del fit.attrs["engine_verdict"]
    assert gate(fit).verdict == "failed"
    assert gate(fit).detail["kind"] == "sampling"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"passed": False, "reason": "Pareto k 0.9"}, "Pareto k 0.9"),
        ({"passed": False, "reason": ""}, "did not say why"),
        ({"khat_engine": 0.61}, "Pareto k 0.61"),
        ({"khat_engine": float("nan")}, "Pareto k nan"),
        ({"ess_min": 120.0}, "ESS 120"),
        ({"max_z": 5.2}, "|z| between runs 5.2"),
    ],
    ids=["its word", "no reason", "khat", "khat unknown", "ess", "z"],
)
def test_what_a_weighted_fit_misses_fails(changed, words):
    found = weighted_gate({"jawOpen": GOOD, "mouthSmile": GOOD | changed})
    assert found.verdict == "failed"
    assert list(found.detail["failed"]) == ["mouthSmile"]
    assert words in found.detail["failed"]["mouthSmile"][0]
    json.dumps(found.detail, allow_nan=False)


def test_outcomes_that_fell_back_are_counted_and_judged_by_the_engine():
    nuts = {"kind": "importance", "passed": True, "reason": "", "fallback": "nuts", "notes": []}
    found = weighted_gate({"a": GOOD, "b": nuts, "c": GOOD | {"fallback": "more points"}})
    assert found.verdict == "passed"
    assert found.detail["fallbacks"] == {"nuts": 1, "more points": 1}
    assert found.detail["min_ess"] == 1800.0
    missed = nuts | {"passed": False, "reason": "R-hat of sigma 1.40"}
    assert weighted_gate({"b": missed}).detail["failed"] == {"b": ["R-hat of sigma 1.40"]}
    assert weighted_gate({"b": missed}).detail["max_khat"] is None


def test_strata_of_sigma_and_rho_are_hyperparameters():
    rng = np.random.default_rng(0)
    fit = tree()
    posterior = fit["posterior"].to_dataset().drop_vars("sigma")
    posterior["sigma"] = (("chain", "draw", "medium"), rng.normal(size=(*SHAPE, 2)))
    posterior["rho"] = (("chain", "draw"), rng.normal(size=SHAPE))
    fit["posterior"] = xr.DataTree(posterior.assign_coords(medium=["film", "picture"]))
    assert {"sigma[film]", "sigma[picture]", "rho"} <= set(scalar_draws(fit))


def test_shapes_as_strata_of_one_outcome_are_no_outcomes():
    fit = tree()
    posterior = fit["posterior"].to_dataset().drop_vars("sigma")
    posterior["sigma"] = (("chain", "draw", "blend_shape"), np.random.default_rng(0).normal(size=(*SHAPE, 2)))
    fit["posterior"] = xr.DataTree(posterior.assign_coords(blend_shape=["jawOpen", "mouthSmile"]))
    assert gate(fit).detail["outcomes"] == 1
