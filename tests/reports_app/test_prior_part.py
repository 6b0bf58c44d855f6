"""Priors for readers: sentences say what tables say, what was not done is said, and nothing is claimed beyond it."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mien
from mien.models import co_activation, freeze_priors, power_scaling, prior_widths, valence
from mien.priors import Entry, Normal, Source
from mien.reports_app import prior_words as words
from mien.reports_app.defaults import Decisions
from mien.reports_app.prior_part import prior_part
from mien.reports_app.prior_tables import answer_ranges, scaling_of
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.simulation.prior_predictive import Limits, prior_predictive

SHAPES = ("mouthSmile", "mouthFrown", "browInnerUp", "jawOpen")
READ = Entry(
    "own/read", "1", "beta", Normal(0.0, 0.2), "raw", "none",
    Source("literature", "as large as others found", doi="10.1000/made.up", sentence="Effects <b>of</b> .2 are usual."),
)  # fmt: skip


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(4)
    truth = draw_truth(rng, shapes=SHAPES, factors=1, between=1)
    table = simulate_factors(truth, rng, participants=10, stimuli=12).trials
    smile = (table["blend_shape"] == "mouthSmile").to_numpy()
    sign = np.where(table["valence"] == "positive", 0.5, -0.5)
    table["activation"] = table["activation"] + np.where(smile, 0.1 * sign, 0.0)
    return table


@pytest.fixture(scope="module")
def fit(trials):
    return mien.fit(valence(), trials, draws=200, seed=1)


@pytest.fixture(scope="module")
def computed(fit, trials):
    return {
        "predictive": prior_predictive(valence(), trials, draws=100),
        "scaling": power_scaling(fit),
        "widths": prior_widths(fit, "valence"),
    }


@pytest.fixture(scope="module")
def part(fit, computed):
    return prior_part("valence", fit, **computed)


@pytest.fixture(scope="module")
def bare(fit):
    return prior_part("valence", fit)


def changed(fit, **attrs):
    other = fit.copy()
    other.attrs = fit.attrs | attrs
    return other


def row_of(part, parameter):
    return next(row for row in part.rows if row.parameter == parameter)


# Nothing computed


def test_what_was_not_done_is_said_with_the_command_that_does_it(bare):
    assert bare.expected.command == "mien priors check STUDY --model valence"
    assert (
        bare.sensitivity.command == bare.widths_missing[1] == "mien priors sensitivity STUDY --model valence"
    )
    assert "was not checked" in bare.lead
    assert "was not computed" in bare.lead
    assert {row.checked for row in bare.rows} == {row.sensitive for row in bare.rows} == {"not checked"}


def test_nothing_is_claimed_that_was_not_computed(bare):
    assert "same" not in bare.lead
    assert "does not lean" not in bare.lead
    assert (bare.robustness, bare.expected.figures, bare.expected.verdict) == ([], (), "")


def test_a_model_of_a_family_is_checked_by_its_family(fit):
    told = prior_part("traits-empathy", fit)
    assert told.expected.command == "mien priors check STUDY --model traits"
    assert told.sensitivity.command == "mien priors sensitivity STUDY --model traits-empathy"


def test_every_parameter_has_its_prior_source_and_reason(bare, fit):
    assert [row.parameter for row in bare.rows] == [
        "Intercept", "valence", "sd:1|participant", "sd:valence|participant", "sd:1|stimulus", "corr:participant",
        "sigma",
    ]  # fmt: skip
    assert all(row.sourced and row.why for row in bare.rows)
    assert row_of(bare, "valence").prior.startswith("Normal(0, 0.")
    assert row_of(bare, "valence").implies.startswith("With probability .95")


def test_an_entry_that_comes_again_refers_to_the_first(bare):
    first, second = row_of(bare, "sd:1|participant"), row_of(bare, "sd:1|stimulus")
    assert first.implies
    assert second.why == f"As for “{first.what}”."
    assert second.implies == ""


# All computed


def test_the_lead_says_how_much_was_told_what_stays_and_what_leans(part):
    assert part.lead.startswith("Before the data, the model was told ")
    assert "with priors between a quarter and four times as wide" in part.lead
    assert "The difference between positive and negative stimuli" in part.lead
    assert "not checked" not in part.lead
    assert part.warnings == []


def test_how_much_was_told_is_the_priors_width_in_posterior_sds(fit, computed):
    widths = computed["widths"]
    own = widths[widths["factor"] == 1.0]
    after = fit["posterior"]["valence"].std(("chain", "draw")).sel(blend_shape=own["blend_shape"].to_numpy())
    ratios = np.sort(own["prior_sd"].to_numpy() / after.to_numpy())
    told = prior_part("valence", fit, **computed, full=False).lead
    found = re.findall(r"([\d.]+) times as wide as what came out", told)
    assert float(found[0]) == pytest.approx(ratios[len(ratios) // 2], abs=0.5)
    assert (ratios[0] >= 10) == ("next to nothing" in told)


def test_sensitive_counts_are_those_of_the_table(part, computed):
    scaling = computed["scaling"]
    rows = scaling[scaling["parameter"] == "participant_corr[valence,1]"]
    leaning = rows[rows["diagnosis"] != "-"]
    assert len(leaning) > 0
    told = row_of(part, "corr:participant").sensitive
    assert (f"{len(leaning)} of 4 shapes" in told) or ("all 4 shapes" in told)


def test_pictures_are_there_with_names_and_captions(part, fit, computed):
    figures = [*part.expected.figures, *part.robustness[0].figures]
    assert len(figures) == 6
    assert all(one.svg.startswith("<svg") and one.caption and one.label for one in figures)
    light = prior_part("valence", fit, **computed, full=False)
    assert not light.expected.figures
    assert not light.robustness[0].figures
    assert light.lead == part.lead


def test_the_table_of_widths_has_every_shape(part, computed):
    table = part.robustness[0].table
    assert table["blend shape"].tolist() == list(dict.fromkeys(computed["widths"]["blend_shape"]))
    assert table.map(lambda cell: isinstance(cell, str)).to_numpy().all()


def test_what_a_check_does_not_look_at_is_not_told_as_expected(part):
    assert row_of(part, "corr:participant").checked == "not looked at by itself"
    assert row_of(part, "valence").checked == "as expected"
    assert row_of(part, "sd:valence|participant").checked == "as expected"


def test_checks_of_interactions_are_found(trials):
    """The words of the checks and those of the part are the same."""
    people = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(1, 11)], "age": range(20, 40, 2)})
    spec = valence(covariates=("age_z",))
    fit = mien.fit(spec, trials, participants=people, draws=200, seed=1)
    told = prior_part(
        "valence", fit, predictive=prior_predictive(spec, trials, participants=people, draws=60), full=False
    )
    assert [row_of(told, name).checked for name in ("valence", "age_z", "valence:age_z")] == [
        "as expected"
    ] * 3


# Verdicts that are not good


def test_a_failed_verdict_is_in_the_lead_the_row_and_a_table(fit, trials):
    strict = prior_predictive(valence(), trials, draws=100, limits=Limits(effect_wide=0.01))
    told = prior_part("valence", fit, predictive=strict, full=False)
    assert told.expected.verdict == "look"
    assert "outside the limits stated below: “effect” is wide in 4 shapes" in told.lead
    assert row_of(told, "valence").checked == "wide in all 4 shapes"
    assert row_of(told, "Intercept").checked == "as expected"
    assert len(told.expected.looked) == 4
    limits = dict(zip(told.expected.limits["limit"], told.expected.limits["value"], strict=True))
    assert (limits["effect wide"], limits["effect narrow"]) == ("0.01 (changed)", "0.05")


def test_an_effect_that_leans_is_named_with_its_diagnosis(fit, computed):
    scaling = computed["scaling"].copy()
    mine = scaling["parameter"] == "valence"
    scaling.loc[mine & (scaling["blend_shape"] == "jawOpen"), "diagnosis"] = "prior-data conflict"
    scaling.loc[mine & (scaling["blend_shape"] == "mouthSmile"), "diagnosis"] = (
        "strong prior or weak likelihood"
    )
    told = prior_part("valence", fit, scaling=scaling)
    assert "leans on the priors in 2 of 4 shapes" in told.lead
    assert "(prior–data conflict: jawOpen; strong prior or weak data: mouthSmile)" in told.lead
    assert (
        row_of(told, "valence").sensitive == "leans in 2 of 4 shapes, with prior–data conflict in 1 (jawOpen)"
    )


def test_where_weights_fail_nothing_is_told(fit, computed):
    scaling = computed["scaling"].assign(diagnosis="not reliable")
    told = prior_part("valence", fit, scaling=scaling)
    assert "cannot be told: the weights fail in all 4 shapes" in told.lead
    assert "does not lean" not in told.lead
    assert {row.sensitive for row in told.rows} == {"cannot be told: the weights fail"}


def test_a_computation_that_failed_is_a_warning(fit, computed):
    told = prior_part("valence", changed(fit, diagnostics="failed"), scaling=computed["scaling"])
    assert any("checks of the computation failed" in text for text in told.warnings)


@pytest.mark.parametrize("what", ["predictive", "scaling", "widths"])
def test_what_is_of_another_model_is_left_out_and_said(fit, computed, what):
    other = fit.copy()
    if what == "predictive":
        other.attrs = fit.attrs | {"formula": "activation ~ valence + (1 | participant)"}
        given = computed
    elif what == "scaling":
        given = computed | {"scaling": computed["scaling"][computed["scaling"]["blend_shape"] != "jawOpen"]}
    else:
        given = computed | {
            "widths": computed["widths"].assign(prior_sd=1.5 * computed["widths"]["prior_sd"])
        }
    told = prior_part("valence", other, **given, full=False)
    gone = {
        "predictive": told.expected.missing,
        "scaling": told.sensitivity.missing,
        "widths": told.widths_missing[0],
    }
    assert [name for name, why in gone.items() if why] == [what]
    assert any("not of this fit" in text or "is of this fit" in text for text in told.warnings)


# Sources


def test_a_prior_without_a_source_is_told(trials):
    fit = mien.fit(valence(priors={"valence": Normal(0.0, 0.1)}), trials, draws=200, seed=1)
    told = prior_part("valence", fit)
    assert told.unsourced == ["valence"]
    assert told.warnings == ["A prior has no source: valence."]
    assert (row_of(told, "valence").kind, row_of(told, "valence").sourced) == ("no source", False)


def test_literature_stands_with_its_doi_and_the_sentence_that_was_read(trials):
    fit = mien.fit(valence(priors={"valence": READ}), trials, draws=200, seed=1)
    row = row_of(prior_part("valence", fit), "valence")
    assert (row.kind, row.doi, row.read) == (
        "literature",
        "10.1000/made.up",
        "Effects <b>of</b> .2 are usual.",
    )
    assert row.why == "As large as others found."
    assert row.prior == "Normal(0, 0.2)"


def test_frozen_priors_are_told_with_hash_and_date_and_claim_no_more(trials):
    frozen = freeze_priors(valence(), trials)
    fit = mien.fit(valence(), trials, frozen=frozen, registered=True, draws=200, seed=1)
    told = prior_part("valence", fit)
    status = {what: (short, whole) for what, short, whole in told.status}
    assert status["sha256 of the priors"] == (f"{frozen.sha256[:12]}…", frozen.sha256)
    assert status["registered"][0] == "yes"
    assert status["frozen"][0].startswith(frozen.created[:10])
    assert "is not known here" in told.frozen
    assert "run as registered" in told.frozen


def test_priors_that_were_not_frozen_are_told_so(bare):
    assert dict((what, short) for what, short, _ in bare.status)["frozen"] == "no"
    assert bare.frozen.startswith("The priors were not frozen")


def test_a_fit_of_an_earlier_version_says_that_it_does_not_know():
    attrs = {
        "priors": '{"": {"valence": {"family": "Normal", "mean": 0, "sd": 1, "source": "rule", "id": "gone 1"}}}',
        "formula": "activation ~ valence", "diagnostics": "passed", "units": "coefficient",
    }  # fmt: skip
    posterior = xr.Dataset({"valence": (("chain", "draw"), np.zeros((2, 5)))})
    old = xr.DataTree.from_dict({"posterior": posterior})
    old.attrs = attrs
    told = prior_part("valence", old)
    assert dict((what, short) for what, short, _ in told.status)["sha256 of the priors"] == "not stored"
    assert told.unsourced == ["valence"]


# Co-activation


def test_co_activation_has_no_effect_to_vary(trials):
    spec = co_activation(1, between=1)
    fit = mien.fit(spec, trials, draws=200, seed=1)
    told = prior_part(
        "co_activation", fit, scaling=power_scaling(fit), predictive=prior_predictive(spec, trials, draws=60)
    )
    assert [row.parameter for row in told.rows] == [
        "loading_sd",
        "uniqueness",
        "between_loading_sd",
        "between_uniqueness",
    ]
    assert "of which shapes go together it was told nothing" in told.lead
    assert told.widths_missing[0].startswith("A co-activation model has no single effect")
    assert not told.widths_missing[1]
    assert all(row.checked == "as expected" for row in told.rows)
    assert all(
        "cannot be told" in row.sensitive or "lean" in row.sensitive or "conflict" in row.sensitive
        for row in told.rows
    )
    assert len(told.expected.figures) == 1


# Words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Intercept", "average level"),
        ("valence", "difference between positive and negative stimuli"),
        ("valence:age_z", "how the difference between positive and negative stimuli goes with age"),
        ("sd:1|participant", "how much persons differ in level"),
        (
            "sd:valence|participant",
            "how much persons differ in the difference between positive and negative stimuli",
        ),
        ("sd:medium_is_film|stimulus", "how much stimuli differ in level (film)"),
        (
            "sd:s(time):valence",
            "how much the course of the difference between positive and negative stimuli bends",
        ),
        ("sd:s(time)|participant", "how far persons differ in the course over time"),
        ("sd:1|participant:session:task:trial", "how much trials differ in level"),
        ("corr:participant", "how the effects of persons go together"),
        ("sigma:film", "scatter of single rows about what the model expects (film)"),
        ("zi", "share of zeros"),
        ("loading_sd", "how strongly factors move a shape within groups"),
    ],
)
def test_a_parameter_has_plain_words(name, expected):
    assert words.parameter_words(name) == expected


@pytest.mark.parametrize(
    ("ratio", "amount"), [(20, "next to nothing"), (5, "little"), (2, "something"), (1.1, "much")]
)
def test_the_word_for_how_much_was_told_follows_the_closest_shape(ratio, amount):
    told = words.Told((0.0, 0.0), (ratio * 0.01, 50.0), (0.01, 0.01))
    assert f"was told {amount} about" in words.prior_of_effect("valence", told, "coefficient units")


def test_of_a_flat_prior_nothing_was_told():
    told = words.prior_of_effect("valence", words.Told((), (), ()), "coefficient units")
    assert told.endswith(
        "was told nothing about the difference between positive and negative stimuli: its prior is flat."
    )


def test_a_prior_that_is_not_about_0_is_told_so():
    told = words.prior_of_effect("valence", words.Told((0.3,), (0.1,), (0.01,)), "coefficient units")
    assert "about values other than 0" in told


def test_sentences_on_widths_say_what_was_tried():
    assert words.range_sentence(1, [], (0.25, 4.0)) == (
        "The answer would be the same with priors between a quarter and four times as wide."
    )
    some = words.range_sentence(3, ["jawOpen"], (0.5, 2.0))
    assert some.endswith("between half and twice as wide in 2 of 3 shapes; it changes in jawOpen.")
    assert "same" not in words.range_sentence(2, ["a", "b"], (0.25, 4.0))


def widths_of(decisions, p=0.99):
    factors = (0.25, 0.5, 1.0, 2.0, 4.0)
    return pd.DataFrame({
        "blend_shape": "jawOpen", "factor": factors, "decision": decisions, "direction": 1,
        "p_direction": [p if one else np.nan for one in decisions],
    })  # fmt: skip


def test_an_answer_stays_as_far_as_its_neighbours_are_the_same():
    found = answer_ranges(
        widths_of(["outside", "undecided", "undecided", "undecided", "undecided"]), (0.25, 4.0), 0.95
    )
    assert (found[0].narrowest, found[0].widest, found[0].stays) == (0.5, 4.0, False)


def test_what_is_not_reliable_ends_the_range():
    found = answer_ranges(widths_of(["inside", "inside", "inside", "", "inside"]), (0.25, 4.0), 0.95)
    assert (found[0].narrowest, found[0].widest, found[0].stays) == (0.25, 1.0, False)


def test_the_flag_is_part_of_the_answer():
    table = widths_of(["undecided"] * 5)
    table["p_direction"] = [0.93, 0.96, 0.97, 0.97, 0.97]
    assert answer_ranges(table, (0.25, 4.0), 0.95)[0].narrowest == 0.5
    assert answer_ranges(table, (0.25, 4.0), 0.90)[0].stays


def test_the_reports_own_flag_is_used(fit, computed):
    told = prior_part("valence", fit, widths=computed["widths"], decisions=Decisions(flag=0.8), full=False)
    assert any("P(direction) ≥ 0.8)" in sentence for sentence in told.robustness[0].sentences)


def test_scaling_finds_the_rows_of_a_prior(computed):
    names = ("Intercept", "valence", "sd:1|participant", "corr:participant", "sigma")
    found = {name: {row["parameter"] for row in scaling_of(name, computed["scaling"])} for name in names}
    assert found == {
        "Intercept": {"Intercept"}, "valence": {"valence"}, "sd:1|participant": {"1|participant_sigma"},
        "corr:participant": {"participant_corr[valence,1]"}, "sigma": {"sigma"},
    }  # fmt: skip
