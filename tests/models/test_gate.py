"""The gate on fabricated draws: what is good passes, every way of being bad fails."""

import numpy as np
import pytest
import xarray as xr

from mien.models.diagnostics import array_checks, gate

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
