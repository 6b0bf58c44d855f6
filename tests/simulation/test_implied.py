"""Every statement of the library, by data simulated through the model; and the same check on wrong entries."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mien.models.fitting import make_problem
from mien.models.spec import ModelSpec
from mien.priors import (
    LIBRARY,
    LKJ,
    Entry,
    Fixed,
    HalfNormal,
    HalfStudentT,
    LogNormal,
    Normal,
    Source,
    Statement,
)
from mien.simulation.implied import _response, _table, implied_share
from mien.study.errors import SpecError

DRAWS = 4000
ENTRIES = [entry.id.partition("/")[2] for entry in LIBRARY]
QUICK = ["intercept", "coefficient:sceptical", "group-sd", "residual-sd", "link-coefficient", "uniqueness"]


def distance(entry, seed=0, draws=DRAWS):
    """|simulated share − stated probability| in Monte-Carlo standard errors of the stated one."""
    stated = entry.implies.probability
    found = implied_share(entry, draws=draws, seed=seed)
    assert len(found.draws_of_quantity) == draws
    return abs(found.share - stated) / math.sqrt(stated * (1.0 - stated) / draws)


def holds(entry, seed=0, draws=DRAWS):
    return distance(entry, seed, draws) <= 4.0


def wider(entry, factor=1.3):
    """The prior's width times a factor, its statement left as it was."""
    match entry.prior:
        case Normal(mean, sd):
            prior = Normal(mean, sd * factor)
        case HalfNormal(sd):
            prior = HalfNormal(sd * factor)
        case HalfStudentT(df, scale):
            prior = HalfStudentT(df, scale * factor)
        case LogNormal(mu, sigma):
            prior = LogNormal(mu, sigma * factor)
        case LKJ(eta):  # the sd of a correlation of two is 1 / √(2 eta + 1)
            prior = LKJ(((2.0 * eta + 1.0) / factor**2 - 1.0) / 2.0)
    return replace(entry, prior=prior)


def wider_bounds(entry, factor=1.2):
    """The interval a fifth too wide on either side, the prior left as it was."""
    lower, upper = entry.implies.lower, entry.implies.upper
    if lower is not None:
        lower = lower * factor if lower < 0 else lower / factor
    return replace(entry, implies=replace(entry.implies, lower=lower, upper=upper * factor))


# Some, with each kind of saboteur


@pytest.mark.parametrize("name", QUICK)
def test_a_statement_holds_in_simulated_data(name):
    assert holds(LIBRARY.find(name))


@pytest.mark.parametrize("name", QUICK)
def test_a_prior_that_is_wider_than_its_statement_fails(name):
    assert not holds(wider(LIBRARY.find(name)))


@pytest.mark.parametrize(
    "name", ["intercept", "coefficient:sceptical", "group-sd", "residual-sd", "uniqueness"]
)
def test_bounds_that_are_a_fifth_too_wide_fail(name):
    assert not holds(wider_bounds(LIBRARY.find(name)))


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("intercept", "none"), ("intercept", "outcome"), ("coefficient", "none"), ("coefficient", "outcome"),
        ("coefficient", "per_column"), ("group-sd", "outcome"), ("group-sd", "none"), ("residual-sd", "none"),
        ("link-intercept", "none"), ("link-coefficient", "outcome"), ("link-group-sd", "none"),
        ("log-residual-sd", "none"),
    ],
)  # fmt: skip
def test_a_prior_on_another_scale_fails(name, times):
    entry = LIBRARY.find(name)
    assert holds(entry, draws=1000)
    assert not holds(replace(entry, times=times), draws=1000)


def test_the_draws_are_those_of_the_closed_form():
    """Not the share alone: the whole distribution of what is measured."""
    found = implied_share(LIBRARY.find("coefficient:narrow"), draws=2000, seed=2).draws_of_quantity
    assert stats.kstest(found, stats.norm(0, 0.5).cdf).pvalue > 1e-3
    found = implied_share(LIBRARY.find("group-sd"), draws=2000, seed=2).draws_of_quantity
    assert stats.kstest(found, stats.halfnorm(0, 1).cdf).pvalue > 1e-3
    assert stats.kstest(found, stats.halfnorm(0, 1.1).cdf).pvalue < 1e-3


def test_the_same_seed_gives_the_same_draws():
    entry = LIBRARY.find("group-sd")
    first, again, other = (implied_share(entry, draws=50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.draws_of_quantity, again.draws_of_quantity)
    assert (first.draws_of_quantity != other.draws_of_quantity).all()
    assert first.mcse == pytest.approx(math.sqrt(first.share * (1 - first.share) / 50))


def test_an_uncentred_column_widens_the_intercept_as_the_words_say():
    """Where the column is 0, far from its average, the line is as uncertain as its slope makes it."""
    table = _table("gaussian", 50)
    for column, widened in (("c", False), ("x", True)):
        outcome = make_problem(ModelSpec(f"y ~ {column}"), table)[0].outcomes[0]
        sd = outcome.priors["Intercept"].prior.sd / table["y"].std(ddof=0)
        assert (sd == pytest.approx(2.5)) != widened
    assert sd == pytest.approx(math.hypot(2.5, 1.5 / 2.5))  # mean and sd of x


def test_bends_are_those_of_the_functions_themselves():
    """The bounds against the distribution of a quadratic form in the smooth's own functions."""
    time = np.tile(np.linspace(0.0, 6.0, 40), 5)
    y = 80.0 + 7.0 * np.random.default_rng(1).normal(size=len(time))
    spec = ModelSpec("y ~ 1", smooths=("s(time)",), priors={"sigma": Fixed(1e-6)})
    outcome = make_problem(spec, pd.DataFrame({"y": y, "time": time}))[0].outcomes[0]
    functions = np.column_stack([block.columns[:40] for block in outcome.design.blocks])
    line = np.column_stack([np.ones(40), time[:40]])
    bends = functions - line @ np.linalg.lstsq(line, functions, rcond=None)[0]
    unit = outcome.priors["sd:s(time)"].prior.sd / y.std()  # of the default, which is 1 on its scale
    shares = np.linalg.eigvalsh(bends.T @ bends / 40) * unit**2
    rng = np.random.default_rng(5)
    squares = rng.standard_normal((200_000, len(shares))) ** 2 @ shares
    drawn = np.sqrt(squares) * np.abs(rng.standard_normal(len(squares)))
    for text, factor in (("smooth-sd", 1.0), ("smooth-sd:wide", 2.0), ("smooth-sd:narrow", 0.5)):
        upper = LIBRARY.find(text).implies.upper
        assert abs(np.mean(factor * drawn < upper) - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / len(drawn))
        assert abs(np.mean(1.3 * factor * drawn < upper) - 0.95) > 4 * math.sqrt(0.95 * 0.05 / len(drawn))


# A user's own


def test_a_users_own_entry_in_raw_units():
    source = Source("rule", "a coefficient lies between 0 and 1")
    says = Statement("effect_raw", -0.1, 0.3, 0.9545)
    entry = Entry("own/smile", "1", "beta", Normal(0.1, 0.1), "raw", "none", source, says)
    assert holds(entry)
    assert not holds(wider(entry))
    assert not holds(replace(entry, times="per_unit"))
    says = Statement("residual_spread_raw", None, 0.2, 0.9545)
    assert holds(Entry("own/rest", "1", "sigma", HalfNormal(0.1), "raw", "none", source, says))
    says = Statement("group_spread_raw", None, 0.2, 0.9545)
    assert holds(Entry("own/people", "1", "sd", HalfNormal(0.1), "raw", "none", source, says))
    says = Statement("level_raw", 0.1, 0.3, 0.6827)
    assert holds(Entry("own/level", "1", "Intercept", Normal(0.2, 0.1), "raw", "none", source, says))


def test_an_entry_that_says_nothing_is_refused():
    with pytest.raises(SpecError, match="expected an implied statement"):
        implied_share(replace(LIBRARY.default("beta"), implies=None))


def test_the_tables_units_are_their_own():
    """Else a prior on the wrong scale would pass."""
    table = _table("gaussian", 50)
    for name in ("y", "x"):
        assert abs(table[name].mean()) > 1.2
        assert table[name].std(ddof=0) > 2.0
    spec = ModelSpec("y ~ x")
    outcome = make_problem(spec, table)[0].outcomes[0]
    assert not np.allclose(_response("gaussian", outcome, np.random.default_rng(0)), outcome.response)


# All


@pytest.mark.statistical("priors")
@pytest.mark.parametrize("name", ENTRIES)
def test_every_statement_of_the_library(name):
    entry = LIBRARY.find(name)
    off = distance(entry, seed=1)
    print(f"{name}: {off:.2f} standard errors")
    assert off <= 4.0


@pytest.mark.statistical("priors")
@pytest.mark.parametrize("name", ENTRIES)
def test_every_statement_knows_the_width_of_its_prior(name):
    off = distance(wider(LIBRARY.find(name)), seed=1, draws=1500)
    print(f"{name}: {off:.2f} standard errors")
    assert off > 4.0
