"""Elicitation against scipy's own quantile functions and against simulated people."""

import json

import numpy as np
import pytest
from scipy import stats

from mien.priors import (
    LKJ,
    Entry,
    Exponential,
    HalfNormal,
    HalfStudentT,
    LogNormal,
    Normal,
    entry_from_dict,
    entry_to_dict,
)
from mien.priors.elicitation import from_draws, from_effect, from_quantiles, from_roulette, from_statement
from mien.priors.quantiles import below, quantile
from mien.study.errors import SpecError

DRAWS = 200_000


def of_scipy(prior):
    """The same distribution from scipy."""
    match prior:
        case Normal(mean, sd):
            return stats.norm(mean, sd)
        case HalfNormal(sd):
            return stats.halfnorm(scale=sd)
        case HalfStudentT(df, scale):
            return stats.truncate(stats.make_distribution(stats.t)(df=df), lb=0) * scale
        case Exponential(rate):
            return stats.expon(scale=1 / rate)
        case LogNormal(mu, sigma):
            return stats.lognorm(sigma, scale=np.exp(mu))
        case LKJ(eta):
            return stats.beta(eta, eta, loc=-1, scale=2)


def cdf(prior, x):
    if isinstance(prior, HalfStudentT):
        return 2 * stats.t.cdf(np.asarray(x) / prior.scale, prior.df) - 1
    return of_scipy(prior).cdf(x)


def ppf(prior, p):
    if isinstance(prior, HalfStudentT):
        return prior.scale * stats.t.ppf((1 + np.asarray(p)) / 2, prior.df)
    return of_scipy(prior).ppf(p)


PRIORS = [
    Normal(-0.2, 0.7), HalfNormal(0.3), HalfStudentT(3.5, 0.2), Exponential(4.0), LogNormal(-1.0, 0.6), LKJ(2.5),
]  # fmt: skip


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: type(prior).__name__)
def test_probabilities_and_quantiles_are_scipys(prior):
    p = np.array([0.001, 0.2, 0.5, 0.9, 0.999])
    assert quantile(prior, p) == pytest.approx(ppf(prior, p), rel=1e-9)
    assert below(prior, ppf(prior, p)) == pytest.approx(p, rel=1e-9)
    assert below(prior, [-np.inf, np.inf]).tolist() == [0.0, 1.0]


def test_flat_priors_have_no_quantiles():
    from mien.priors import Flat

    with pytest.raises(SpecError, match="no quantiles"):
        quantile(Flat(), 0.5)


# Quantiles


def given_back(prior, answers, from_link=np.asarray):
    """Whether quantiles are given back to 1 %."""
    return np.allclose(from_link(ppf(prior, list(answers))), list(answers.values()), rtol=0.01, atol=0)


TWO = [
    ("beta", {0.05: -0.1, 0.95: 0.3}, Normal), ("beta", {0.25: 1e-4, 0.9: 4e-4}, Normal),
    ("sd", {0.95: 0.3}, HalfNormal), ("sd", {0.5: 0.1, 0.95: 0.45}, HalfStudentT),
    ("sigma", {0.5: 1.0, 0.99: 5.0}, HalfStudentT), ("uniqueness", {0.1: 0.05, 0.9: 0.8}, LogNormal),
    ("rho", {0.1: -0.1, 0.9: 0.7}, Normal), ("zi", {0.05: 0.1, 0.95: 0.5}, Normal),
    ("nu", {0.05: 2.0, 0.95: 60.0}, Normal), ("corr", {0.9: 0.5}, LKJ),
]  # fmt: skip
FROM_LINK = {"rho": np.tanh, "zi": lambda x: 1 / (1 + np.exp(-x)), "nu": np.exp}


@pytest.mark.parametrize(("role", "answers", "family"), TWO)
def test_as_many_quantiles_as_free_numbers_are_given_back(role, answers, family):
    prior = from_quantiles("own", role, answers).prior
    assert isinstance(prior, family)
    assert given_back(prior, answers, FROM_LINK.get(role, np.asarray))


def test_a_prior_that_is_three_percent_wider_is_seen():
    answers = {0.05: -0.1, 0.95: 0.3}
    prior = from_quantiles("own", "beta", answers).prior
    assert not given_back(Normal(prior.mean, 1.03 * prior.sd), answers)
    assert not given_back(Normal(prior.mean + 0.03 * prior.sd, prior.sd), answers)


@pytest.mark.parametrize("family", ["HalfNormal", "HalfStudentT", "Exponential"])
def test_many_quantiles_of_one_member_find_it(family):
    truth = {"HalfNormal": HalfNormal(0.4), "HalfStudentT": HalfStudentT(6.0, 0.4), "Exponential": Exponential(3.0)}[
        family
    ]  # fmt: skip
    answers = {p: float(ppf(truth, p)) for p in (0.1, 0.3, 0.5, 0.8, 0.95)}
    entry = from_quantiles("own", "sd", answers)
    assert type(entry.prior) is type(truth)
    assert given_back(entry.prior, answers)
    assert entry.source.record["misfit"] < 1e-4
    named = from_quantiles("own", "sd", answers, family=family)
    assert named.prior == entry.prior


def test_three_quantiles_that_fit_nearly_are_met_by_least_squares():
    answers = {0.05: -0.1, 0.5: 0.08, 0.95: 0.3}
    entry = from_quantiles("own", "beta", answers, by="A", date="2026-01-05")
    z = stats.norm.ppf(list(answers))
    slope, mean = np.polyfit(z, list(answers.values()), 1)
    assert (entry.prior.mean, entry.prior.sd) == pytest.approx((mean, slope), abs=1e-5)
    record = entry.source.record
    assert record["misfit"] == pytest.approx(
        np.abs(mean + slope * z - list(answers.values())).max() / 0.4, abs=1e-4
    )
    assert record["answers"] == {"0.05": -0.1, "0.5": 0.08, "0.95": 0.3}
    assert (record["by"], record["date"]) == ("A", "2026-01-05")


@pytest.mark.parametrize(
    ("role", "answers", "said"),
    [
        ("beta", {0.05: 0.3, 0.95: -0.1}, "rise with their probabilities"),
        ("beta", {0.05: 0.3, 0.5: 0.3}, "rise with their probabilities"),
        ("beta", {0.0: -0.1, 0.95: 0.3}, "between 0 and 1"),
        ("beta", {0.5: 0.1, 1.2: 0.3}, "between 0 and 1"),
        ("beta", {0.5: 0.1}, "at least 2"),
        ("beta", {}, "found none"),
        ("beta", {0.1: float("nan"), 0.9: 1.0}, "finite number"),
        ("beta", {0.1: "small", 0.9: 1.0}, "finite number"),
        ("beta", {0.05: 0.0, 0.5: 0.02, 0.95: 0.6}, "only the two that matter most"),
        ("sd", {0.05: -0.1, 0.95: 0.3}, "above 0, found -0.1"),
        ("sd", {0.05: 0.0, 0.95: 0.3}, "nothing lies below it"),
        ("sd", {0.5: 0.2, 0.95: 0.25}, "highest at 0"),
        ("uniqueness", {0.5: -0.2, 0.95: 0.25}, "above 0"),
        ("zi", {0.5: 0.2, 0.95: 1.25}, "between 0 and 1"),
        ("rho", {0.5: 0.2, 0.95: 1.0}, "between -1 and 1"),
    ],
)
def test_impossible_quantiles_are_refused(role, answers, said):
    with pytest.raises(SpecError, match=said):
        from_quantiles("own", role, answers)


# Statements


@pytest.mark.parametrize(
    ("lower", "upper", "mass"), [(-0.3, 0.3, 0.95), (1e-4, 5e-4, 0.5), (-2.0, 900.0, 0.8)]
)
def test_a_normal_of_largest_entropy_lies_in_the_middle(lower, upper, mass):
    entry = from_statement("own", "beta", lower, upper, mass)
    wanted = (upper - lower) / 2 / stats.norm.ppf((1 + mass) / 2)
    assert entry.prior.mean == pytest.approx((lower + upper) / 2, abs=1e-4 * wanted)
    assert entry.prior.sd == pytest.approx(wanted, rel=1e-4)
    assert entry.source.record["library"].startswith("preliz ")


def test_a_log_normal_has_the_mass_and_more_entropy_than_its_neighbours():
    prior = from_statement("own", "uniqueness", 0.05, 1.0, 0.9).prior

    def entropy_at(sigma):
        """Of the member of that sigma with the mass, found by search; −inf where there is none."""
        found = [
            LogNormal(mu, sigma) for mu in np.linspace(-6, 3, 9001)
            if abs(np.diff(stats.norm.cdf((np.log([0.05, 1.0]) - mu) / sigma))[0] - 0.9) < 5e-4
        ]  # fmt: skip
        return max((stats.lognorm(sigma, scale=np.exp(one.mu)).entropy() for one in found), default=-np.inf)

    assert np.diff(cdf(prior, [0.05, 1.0]))[0] == pytest.approx(0.9, abs=1e-4)
    here = stats.lognorm(prior.sigma, scale=np.exp(prior.mu)).entropy()
    around = [entropy_at(prior.sigma * factor) for factor in (0.8, 0.9, 0.95, 1.02, 1.1)]
    assert here > max(around) - 0.002


@pytest.mark.parametrize(
    ("role", "bounds", "mass", "more", "family"),
    [
        ("sd", (None, 0.3), 0.95, {}, HalfNormal), ("sd", (0, 0.3), 0.95, {"family": "HalfStudentT"}, HalfStudentT),
        ("sd", (0, 0.3), 0.95, {"family": "HalfStudentT", "df": 7.0}, HalfStudentT),
        ("sigma", (0.05, 0.3), 0.6, {}, HalfNormal), ("sd", (0, 3e-4), 0.5, {"family": "Exponential"}, Exponential),
        ("beta", (None, 0.3), 0.9, {"average": 0.1}, Normal), ("beta", (-0.1, 0.3), 0.9, {"average": 0.0}, Normal),
        ("corr", (-0.5, 0.5), 0.8, {}, LKJ),
    ],
)  # fmt: skip
def test_the_mass_is_in_the_interval(role, bounds, mass, more, family):
    prior = from_statement("own", role, *bounds, mass, **more).prior
    lower, upper = cdf(prior, [-50.0 if bounds[0] is None else bounds[0], bounds[1]])
    assert isinstance(prior, family)
    assert upper - max(lower, 0.0) == pytest.approx(mass, abs=1e-5)
    if "df" in more:
        assert prior.df == 7.0


def test_of_two_scales_with_the_mass_the_larger_is_taken():
    prior = from_statement("own", "sd", 0.2, 0.6, 0.4).prior
    scales = np.linspace(0.05, 3, 3000)
    masses = stats.halfnorm.cdf(0.6 / scales) - stats.halfnorm.cdf(0.2 / scales)
    assert prior.sd == pytest.approx(scales[masses >= 0.4].max(), rel=2e-3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("beta", 0.3, -0.3, 0.95), "lower below upper"), (("beta", -0.3, 0.3, 1.0), "between 0 and 1"),
        (("beta", None, None, 0.95), "found neither"), (("beta", None, 0.3, 0.95), "give average="),
        (("sd", -0.3, 0.3, 0.95), "above 0, found -0.3"), (("sd", 0.25, 0.3, 0.9), "at most"),
        (("corr", -0.2, 0.5, 0.9), "symmetric about 0"), (("rho", 0.0, 1.2, 0.9), "between -1 and 1"),
        (("bta", 0, 1, 0.9), "did you mean|one of"), (("uniqueness", None, 1.0, 0.9), "the other bound"),
        (("beta", -0.3, "0.3", 0.9), "finite number"),
    ],
)  # fmt: skip
def test_impossible_statements_are_refused(call, said):
    with pytest.raises(SpecError, match=said):
        from_statement("own", *call)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"family": "HalfNormal"}, "can have"), ({"units": "metres"}, "units"), ({"about": "everybody"}, "about"),
        ({"about": "people"}, "role 'sd'"), ({"average": Normal(0, 1)}, "about='people'"), ({"df": -1.0}, "above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(more, said):
    with pytest.raises(SpecError, match=said):
        from_statement("own", "beta", -0.3, 0.3, 0.95, **more)
    with pytest.raises(SpecError, match="name"):
        from_statement("no name", "beta", -0.3, 0.3, 0.95)


# People


def simulated_shares(prior, average, bounds, rng, worlds=4000):
    """Share of people inside, in worlds with an average and an sd from their priors: counted, none computed."""
    middles = rng.normal(average.mean, average.sd, worlds)
    spreads = ppf(prior, rng.uniform(size=worlds))
    people = middles[:, None] + spreads[:, None] * rng.standard_normal((worlds, 400))
    return np.mean((people > bounds[0]) & (people < bounds[1]), axis=1)


KNOWN = [
    (Normal(0.0, 1e-9), "HalfNormal"),
    (Normal(0.05, 0.1), "HalfNormal"),
    (Normal(0.05, 0.1), "HalfStudentT"),
]


@pytest.mark.parametrize(("average", "family"), KNOWN)
def test_a_statement_about_people_is_true_of_simulated_people(average, family):
    rng = np.random.default_rng(3)
    bounds, share = (-0.3, 0.4), 0.9
    people = from_statement(
        "own", "sd", *bounds, share, about="people", average=average, family=family, units="raw"
    ).prior
    shares = simulated_shares(people, average, bounds, rng)
    error = 0.5 / np.sqrt(len(shares))  # of the share of worlds below the median
    assert abs(np.mean(shares < share) - 0.5) < 4 * error + 0.02  # 400 people a world are a coarse share

    person = from_statement(
        "own", "sd", *bounds, share, about="person", average=average, family=family, units="raw"
    ).prior
    shares = simulated_shares(person, average, bounds, rng)
    assert abs(shares.mean() - share) < 4 * shares.std() / np.sqrt(len(shares))
    assert quantile(person, 0.5) < quantile(people, 0.5)

    wrong = (
        HalfNormal(1.2 * person.sd) if family == "HalfNormal" else HalfStudentT(person.df, 1.2 * person.scale)
    )
    shares = simulated_shares(wrong, average, bounds, rng)  # the saboteur: a fifth too wide
    assert abs(shares.mean() - share) > 4 * shares.std() / np.sqrt(len(shares))


def test_ninety_five_percent_of_people_by_hand():
    prior = from_statement("own", "sd", -0.3, 0.3, 0.95, about="people").prior
    assert stats.halfnorm.median(scale=prior.sd) == pytest.approx(0.3 / stats.norm.ppf(0.975), rel=1e-3)


def test_the_average_may_be_an_entry_in_the_same_units():
    average = from_quantiles("average", "beta", {0.05: -0.1, 0.95: 0.1}, units="raw")
    entry = from_statement("own", "sd", -0.3, 0.3, 0.95, about="people", average=average, units="raw")
    assert entry.prior == from_statement(
        "own", "sd", -0.3, 0.3, 0.95, about="people", average=average.prior, units="raw"
    ).prior  # fmt: skip
    assert entry.source.record["reproduced"]["median_share"] == pytest.approx(0.95, abs=2e-3)
    with pytest.raises(SpecError, match="same units"):
        from_statement("own", "sd", -0.3, 0.3, 0.95, about="people", average=average)


@pytest.mark.parametrize("average", [1.0, Normal(0.2, 1.0)])
def test_an_average_outside_cannot_be_made_up_for(average):
    with pytest.raises(SpecError, match="say more of the average"):
        from_statement("own", "sd", -0.3, 0.3, 0.95, about="person", average=average)


# Roulette


@pytest.mark.parametrize(
    ("role", "truth"),
    [
        ("beta", Normal(0.1, 0.07)),
        ("sd", HalfNormal(0.2)),
        ("sd", Exponential(6.0)),
        ("uniqueness", LogNormal(-1.0, 0.5)),
    ],
)
def test_many_chips_find_the_prior_that_laid_them(role, truth):
    edges = np.linspace(ppf(truth, 1e-4) if role == "beta" else 0.0, ppf(truth, 1 - 1e-4), 15)
    counts = np.round(10_000 * np.diff(cdf(truth, edges)))
    entry = from_roulette("own", role, edges.tolist(), counts.tolist())
    assert type(entry.prior) is type(truth)
    p = [0.1, 0.5, 0.9]
    assert ppf(entry.prior, p) == pytest.approx(ppf(truth, p), rel=0.01, abs=1e-3)


def test_chips_by_hand_do_not_depend_on_the_width_of_bins():
    counts = [1, 4, 8, 5, 2]
    one = from_roulette("own", "beta", [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3], counts)
    ten = from_roulette("own", "beta", [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0], counts)
    assert ten.prior.mean == pytest.approx(10 * one.prior.mean, rel=1e-3)
    assert ten.prior.sd == pytest.approx(10 * one.prior.sd, rel=1e-3)
    assert sum(one.source.record["reproduced"]["chips"]) == pytest.approx(20, abs=0.4)


@pytest.mark.parametrize(
    ("edges", "counts", "said"),
    [
        ([0, 1, 2], [3], "one edge more"), ([0, 2, 1], [3, 4], "rise"), ([0, 1, 2], [3, -1], "none negative"),
        ([0, 1, 2], [0, 0], "none negative"), ([-1, 0, 1, 2], [0, 9, 3], "three of them"),
        ([-3, -2, -1, 0, 1, 2, 3], [10, 0, 0, 0, 0, 10], "three of them"),
        ([-3, -2, -1, 0, 1, 2, 3], [9, 0, 1, 1, 0, 9], "misses"),
    ],
)  # fmt: skip
def test_chips_that_say_too_little_are_refused(edges, counts, said):
    with pytest.raises(SpecError, match=said):
        from_roulette("own", "beta", edges, counts)


def test_negative_bins_of_a_standard_deviation_are_refused():
    with pytest.raises(SpecError, match="above 0"):
        from_roulette("own", "sd", [-1, 0, 1], [1, 2])


# Draws


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.1])
def test_a_posterior_is_kept_and_discounted(weight):
    draws = np.random.default_rng(5).normal(0.04, 0.01, (4, 1000))
    entry = from_draws("own", "beta", draws, weight=weight, source={"study": "pilot"}, units="raw")
    assert entry.prior.mean == pytest.approx(draws.mean(), rel=1e-4)
    assert entry.prior.sd == pytest.approx(draws.std() / np.sqrt(weight), rel=1e-4)
    assert (entry.scale, entry.times, entry.source.kind) == ("raw", "none", "pilot")
    assert entry.source.record["answers"]["pilot"] == {"study": "pilot"}
    grid = np.linspace(-0.2, 0.3, 4001)
    power = stats.norm.pdf(grid, draws.mean(), draws.std()) ** weight  # the density to the power, by hand
    power /= np.trapezoid(power, grid)
    assert of_scipy(entry.prior).pdf(grid) == pytest.approx(power, abs=0.01 * power.max())


@pytest.mark.parametrize(
    ("role", "truth", "link"),
    [
        ("sd", HalfNormal(0.3), None), ("sd", Exponential(5.0), None), ("sigma", HalfStudentT(4.0, 0.2), None),
        ("corr", LKJ(3.0), None), ("uniqueness", LogNormal(-1, 0.4), None), ("rho", Normal(0.3, 0.2), np.tanh),
    ],
)  # fmt: skip
def test_the_likeliest_member_is_found(role, truth, link):
    draws = ppf(truth, (np.arange(DRAWS) + 0.5) / DRAWS)
    prior = from_draws("own", role, draws if link is None else link(draws)).prior
    assert type(prior) is type(truth)
    assert ppf(prior, [0.6, 0.9]) == pytest.approx(ppf(truth, [0.6, 0.9]), rel=0.01)


def test_a_clear_sd_is_kept_wider_never_narrower():
    draws = np.random.default_rng(6).normal(0.3, 0.03, 4000)
    entry = from_draws("own", "sd", draws)
    assert entry.prior.sd == pytest.approx(np.sqrt(np.mean(draws**2)), rel=1e-4)
    assert stats.halfnorm.std(scale=entry.prior.sd) > draws.std()
    assert entry.source.record["reproduced"]["largest_difference_of_probabilities"] > 0.3


@pytest.mark.parametrize(
    ("role", "draws", "more", "said"),
    [
        ("beta", np.zeros(50), {}, "at least 100"), ("beta", np.zeros(500), {}, "one value only"),
        ("beta", np.r_[np.nan, np.arange(500.0)], {}, "finite"), ("sd", np.arange(500.0) - 1, {}, "above 0"),
        ("corr", np.random.default_rng(1).normal(0.6, 0.05, 2000), {}, "around 0"),
        ("beta", np.random.default_rng(1).normal(0, 1, 2000) + 6 * (np.arange(2000) % 2), {}, "two peaks"),
        ("beta", np.arange(500.0), {"weight": 0.0}, "above 0 and at most 1"),
        ("beta", np.arange(500.0), {"weight": 1.5}, "above 0 and at most 1"),
        ("beta", np.arange(500.0), {"family": "LogNormal"}, "can have"),
    ],
)  # fmt: skip
def test_draws_that_make_no_prior_are_refused(role, draws, more, said):
    with pytest.raises(SpecError, match=said):
        from_draws("own", role, draws, **more)


# A published effect

READ = {"doi": "10.1000/made.up", "sentence": "The difference was d = 0.40, 95% CI [0.20, 0.60]."}


def test_an_effect_with_its_interval():
    entry = from_effect("own", 0.4, interval=(0.2, 0.6), **READ)
    assert entry.prior.mean == 0.4
    assert stats.norm.interval(0.95, entry.prior.mean, entry.prior.sd) == pytest.approx((0.2, 0.6), rel=1e-4)
    assert (entry.scale, entry.times, entry.role) == ("standardised", "outcome", "beta")
    assert (entry.source.kind, entry.source.doi, entry.source.sentence) == ("literature", *READ.values())


def test_a_discount_shrinks_and_widens():
    entry = from_effect("own", 0.4, se=0.1, discount=0.25, **READ)
    assert (entry.prior.mean, entry.prior.sd) == pytest.approx((0.1, 0.2))
    assert entry.source.record["answers"]["discount"] == 0.25


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"doi": ""}, "DOI"), ({"sentence": " "}, "sentence"), ({"se": None}, "says nothing"),
        ({"interval": (0.2, 0.6)}, "found both"), ({"se": -0.1}, "above 0"), ({"discount": 0.0}, "at most 1"),
        ({"discount": 2.0}, "at most 1"), ({"se": None, "interval": (0.5, 0.6)}, "around d"),
        ({"se": None, "interval": (0.38, 1.6)}, "near its middle"), ({"units": "raw"}, "convert"),
        ({"d": float("inf")}, "finite"), ({"se": None, "interval": (0.2, 0.6), "level": 95}, "between 0 and 1"),
    ],
)  # fmt: skip
def test_effects_without_what_it_takes_are_refused(changes, said):
    with pytest.raises(SpecError, match=said):
        from_effect("own", **({"d": 0.4, "se": 0.1} | READ | changes))


# The entry


def every_kind() -> list[Entry]:
    rng = np.random.default_rng(2)
    return [
        from_statement("a", "beta", -0.3, 0.3, 0.95), from_statement("b", "sd", -0.3, 0.3, 0.95, about="people"),
        from_quantiles("c", "rho", {0.1: 0.0, 0.9: 0.5}), from_roulette("d", "sd", [0, 0.1, 0.2, 0.3], [5, 3, 1]),
        from_draws("e", "beta", rng.normal(size=200)), from_effect("f", 0.4, interval=(0.2, 0.6), **READ),
    ]  # fmt: skip


def test_entries_and_their_records_are_plain_data():
    for entry in every_kind():
        text = json.dumps(entry_to_dict(entry), allow_nan=False)
        again = entry_from_dict(json.loads(text))
        assert (again, again.source.record) == (entry, entry.source.record)
        assert {"question", "answers", "method", "library", "found", "reproduced"} <= set(entry.source.record)
        assert entry.id.startswith("own/")
        assert entry.source.record["found"] == json.loads(text)["prior"]


@pytest.mark.parametrize(
    ("units", "scale", "times"),
    [
        ("raw", "raw", "none"),
        ("standardised", "standardised", "per_unit"),
        ("difference", "standardised", "outcome"),
    ],
)
def test_units_decide_scale_and_arithmetic(units, scale, times):
    entry = from_quantiles("own", "beta", {0.1: -1.0, 0.9: 1.0}, units=units)
    assert (entry.scale, entry.times) == (scale, times)


def test_what_an_entry_implies_is_its_prior():
    entry = from_quantiles("own", "beta", {0.1: -1.0, 0.9: 1.0})
    assert (entry.implies.quantity, entry.implies.probability) == ("effect", 0.95)
    assert (entry.implies.lower, entry.implies.upper) == pytest.approx(
        of_scipy(entry.prior).interval(0.95), rel=1e-4
    )
    assert from_quantiles("own", "beta", {0.1: -1.0, 0.9: 1.0}, units="difference").implies is None
    assert from_statement("own", "sd", 0, 0.3, 0.9).implies.interval == (-np.inf, 0.3)


def test_a_difference_is_of_coefficients_and_group_sds():
    with pytest.raises(SpecError, match="difference"):
        from_quantiles("own", "sigma", {0.9: 1.0}, units="difference")
