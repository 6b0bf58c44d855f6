"""The PyMC model is the kernel's density times the priors that were asked for."""

import numpy as np
import pandas as pd
import pytest
from pytensor.compile.mode import Mode
from scipy.stats import expon, halfnorm, t

from mien.models.engines import gaussian_kernel as kernel
from mien.models.engines.gaussian_sampler import _prepare
from mien.models.engines.pymc_graph import build_model, prior_data, unconstrained_start
from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.priors import LKJ, Exponential, Fixed, HalfNormal, HalfStudentT

RNG = np.random.default_rng(5)
DATA = pd.DataFrame(
    {"x": RNG.normal(size=40), "y": RNG.normal(size=40), "g": np.arange(40) % 5, "h": np.arange(40) % 4}
).astype({"g": str, "h": str})


def log_density_of(ready):
    """The model's own log density of its unconstrained vector, interpreted and not compiled."""
    model = build_model(ready.structure, ready.data)
    compiled = model.compile_fn(
        model.logp(), mode=Mode(linker="py", optimizer=None), on_unused_input="ignore"
    )

    def density(vector):
        values, at = {}, 0
        for variable in model.value_vars:
            size = int(np.prod(variable.type.shape))
            values[variable.name] = vector[at : at + size]
            at += size
        return float(compiled(values))

    return density


def test_priors_are_those_asked_for():
    spec = ModelSpec(
        "y ~ x + (x | g) + (1 | h)",
        priors={
            "sd:1|g": HalfNormal(0.7),
            "sd:x|g": HalfStudentT(3, 0.4),
            "sd:1|h": Exponential(2.0),
            "corr": LKJ(3),
            "sigma": HalfStudentT(5, 1.5),
        },
    )
    problem, _, _ = make_problem(spec, DATA)
    ready = _prepare(problem.outcomes[0])

    def by_hand(sd, partial, sigma):
        kernel_part = kernel.packed_log_density(
            np.zeros(ready.structure.effects),
            np.log(sd),
            partial,
            np.log([sigma]),
            ready.data["numbers"],
            ready.data["places"],
        )[0]
        priors = (
            halfnorm(scale=0.7).logpdf(sd[0]) + t(3, scale=0.4).logpdf(sd[1]) + expon(scale=0.5).logpdf(sd[2])
        )
        priors += t(5, scale=1.5).logpdf(sigma) + 2 * np.log1p(-(partial[0] ** 2))
        jacobian = np.log(sd).sum() + np.log(sigma) + np.log1p(-(partial[0] ** 2))
        return kernel_part + priors + jacobian

    points = [
        (np.array([0.5, 0.2, 0.3]), np.array([0.3]), 0.9),
        (np.array([1.5, 0.6, 0.1]), np.array([-0.8]), 1.4),
    ]
    log_density = log_density_of(ready)
    gaps = [
        log_density(unconstrained_start(ready.structure, sd, partial, sigma)) - by_hand(sd, partial, sigma)
        for sd, partial, sigma in points
    ]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-8)


def test_partial_correlations_have_the_exponents_of_an_lkj():
    numbers = prior_data([HalfNormal(1)] * 3, HalfNormal(1), [LKJ(2)], [3])["partial_prior"]
    assert numbers.tolist() == [2.5, 2.5, 2.0]  # eta + (k − 2 − j) / 2 for the pairs (1,0), (2,0), (2,1)


def test_lkj_by_partial_correlations_has_the_marginals_of_an_lkj():
    rng = np.random.default_rng(0)
    alpha = prior_data([HalfNormal(1)] * 3, HalfNormal(1), [LKJ(2)], [3])["partial_prior"]
    partial = 2 * rng.beta(alpha, alpha, size=(20_000, 3)) - 1
    last = np.array([kernel.correlation_cholesky(draw, 0, 3) for draw in partial])
    found = (last @ last.transpose(0, 2, 1))[:, 2, 1]
    assert found.var() == pytest.approx(1 / (2 * 2.5 + 1), rel=0.03)  # Beta(2.5, 2.5) on (−1, 1)


def test_a_fixed_correlation_is_held():
    numbers = prior_data([HalfNormal(1)] * 3, HalfNormal(1), [Fixed(0.4)], [3])["partial_prior"]
    factor = kernel.correlation_cholesky(numbers, 0, 3)
    assert factor @ factor.T == pytest.approx(np.full((3, 3), 0.4) + 0.6 * np.eye(3))
