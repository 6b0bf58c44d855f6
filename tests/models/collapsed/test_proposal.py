"""Proposals: their draws have their density, and the density integrates to 1 over the folded space."""

import numpy as np
import pytest

from mien.models.engines.collapsed.mode import find_mode
from mien.models.engines.collapsed.proposal import draw, from_moments, log_density, make_frame, split_start
from mien.priors import HalfNormal

MEAN = np.array([[0.4, 0.7, 0.6], [0.5, 3.0, -0.4]])  # two runs, two sds and their correlation
COVARIANCE = np.array([[[0.3, 0.05, 0.1], [0.05, 0.4, 0.05], [0.1, 0.05, 0.5]]] * 2)


def grid(lower, upper, count):
    axes = [
        np.linspace(a, b, n + 1)[:-1] + (b - a) / n / 2 for a, b, n in zip(lower, upper, count, strict=True)
    ]
    step = np.prod([axis[1] - axis[0] for axis in axes])
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)), step


def mass(proposal, frame):
    points, step = grid((0, 0, -25), (25, 25, 25), (120, 120, 160))
    return [np.exp(log_density(proposal, frame, points[None]))[run].sum() * step for run in range(1)]


def one_run(proposal):
    """The first run's part."""
    return proposal._replace(
        mean=proposal.mean[:1], root=proposal.root[:1], columns=proposal.columns[:1],
        offset=proposal.offset[:1], log_constant=proposal.log_constant[:1],
    )  # fmt: skip


def test_a_folded_mixture_integrates_to_one(scatter):
    frame = make_frame(scatter().parameters)
    proposal = from_moments(frame, MEAN, COVARIANCE)
    np.testing.assert_array_equal(proposal.folded, [0, 1])
    assert proposal.mean.shape == (2, 3, 3)  # the t, and a null component of either sd
    assert mass(one_run(proposal), frame)[0] == pytest.approx(1.0, abs=0.01)


def test_without_images_it_does_not(scatter):
    """The saboteur of the test above."""
    frame = make_frame(scatter().parameters)
    proposal = one_run(from_moments(frame, MEAN, COVARIANCE))
    alone = proposal._replace(folds=np.zeros_like(proposal.folds))
    assert mass(alone, frame)[0] < 0.9


def test_the_split_start_integrates_to_one(scatter):
    density = scatter(sds=(0.6, 0.2), count=30)
    frame = make_frame(density.parameters)
    proposal = split_start(density, frame, find_mode(density))
    assert (proposal.upper != proposal.lower).any()
    assert mass(proposal, frame)[0] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", ["moments", "split"])
def test_draws_have_the_density(scatter, kind):
    """Means of bounded functions of draws against the grid."""
    density = scatter(sds=(0.6, 0.2), count=30)
    frame = make_frame(density.parameters)
    proposal = (
        one_run(from_moments(frame, MEAN, COVARIANCE))
        if kind == "moments"
        else split_start(density, frame, find_mode(density))
    )
    x = draw(proposal, frame, 40_000, [np.random.default_rng(1)])[0]
    assert (x[:, :2] >= 0).all()
    points, step = grid((0, 0, -25), (25, 25, 25), (120, 120, 160))
    q = np.exp(log_density(proposal, frame, points[None]))[0] * step

    def functions(z):
        return np.stack([
            np.tanh(z[:, 0]), np.tanh(z[:, 1]), np.tanh(z[:, 2]), np.tanh(z[:, 2]) * np.exp(-z[:, 0]),
            np.tanh(z[:, 0]) * np.tanh(z[:, 1]), np.tanh(z[:, 2]) ** 2,
        ])  # fmt: skip

    found, wanted = functions(x), functions(points) @ q
    error = found.std(axis=1) / 200
    np.testing.assert_array_less(np.abs(found.mean(axis=1) - wanted), 4 * error + 0.005)


def test_density_is_the_sum_over_images(scatter):
    """Written out for one t density: both sds within reach of 0."""
    frame = make_frame(scatter().parameters)
    proposal = from_moments(frame, MEAN[:1], COVARIANCE[:1])
    main = proposal._replace(
        columns=proposal.columns[:, :1], offset=proposal.offset[:, :1],
        log_constant=proposal.log_constant[:, :1], folds=proposal.folds[:1],
    )  # fmt: skip
    x = np.abs(np.random.default_rng(2).normal(size=(9, 3)))
    wanted = np.zeros(9)
    for a in (1, -1):
        for b in (1, -1):
            away = x * [a, b, a * b] - MEAN[0]
            distance = (away @ np.linalg.inv(COVARIANCE[0]) * away).sum(axis=1)
            wanted += (1 + distance / 5) ** -4.0
    found = np.exp(log_density(main, frame, x[None]))[0]
    np.testing.assert_allclose(found / found[0], wanted / wanted[0], rtol=1e-10)


@pytest.mark.parametrize("kind", ["moments", "split"])
def test_far_points_keep_their_density(scatter, kind):
    """Where densities underflow they are made of logarithms: a t of 5 falls by 2^−8 with twice the distance."""
    density = scatter(sds=(0.6, 0.2), count=30)
    frame = make_frame(density.parameters)
    proposal = one_run(from_moments(frame, MEAN, COVARIANCE))
    if kind == "split":
        proposal = split_start(density, frame, find_mode(density))
    power = 8 if kind == "moments" else 18  # (5 + 3) of one t; three times (5 + 1)
    near, far = np.full(3, 1e60), np.full(3, 2e60)
    assert np.exp(log_density(proposal, frame, far[None, None]))[0, 0] == 0.0
    fall = np.diff(log_density(proposal, frame, np.stack([near, far])[None]))[0, 0]
    assert fall == pytest.approx(-power * np.log(2.0), rel=1e-6)


def test_sds_far_from_zero_are_not_folded(scatter):
    frame = make_frame(scatter().parameters)
    far = np.array([[8.0, 7.9, 0.0]])
    proposal = from_moments(frame, far, np.eye(3)[None])
    assert len(proposal.folded) == 0
    assert proposal.mean.shape == (1, 1, 3)
    between = from_moments(frame, np.array([[6.0, 7.9, 0.0]]), np.eye(3)[None])
    np.testing.assert_array_equal(between.folded, [0])
    assert between.mean.shape == (1, 1, 3)  # folded, without a null component


def test_many_sigmas_are_gaussian_given_the_rest(scatter):
    names = tuple(f"s{i}" for i in range(14))
    from mien.models.engines.collapsed.parameters import make_parameters
    from mien.priors import ResolvedPrior

    priors = {"sigma": ResolvedPrior(HalfNormal(1.0), "user", "sigma")}
    frame = make_frame(make_parameters([], priors, names, False, np.zeros(0)))
    assert frame.t_dim == 0
    proposal = from_moments(frame, np.zeros((1, 14)), np.eye(14)[None])
    x = np.random.default_rng(3).normal(size=(1, 5, 14))
    np.testing.assert_allclose(
        log_density(proposal, frame, x)[0], -0.5 * (x[0] ** 2).sum(axis=1) - 7 * np.log(2 * np.pi), rtol=1e-12
    )
