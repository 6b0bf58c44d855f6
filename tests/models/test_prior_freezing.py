"""Freezing is exact: the same hash, the same draws to the last bit, on other data too."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mien.models import co_activation, fit, freeze_priors, valence
from mien.models.fitting import data_sha256
from mien.models.prior_freezing import stored_priors
from mien.priors import LIBRARY, Entry, FrozenPriors, HalfNormal, Normal, Source
from mien.study.errors import SpecError

SETTINGS = {"draws": 100, "chains": 2, "seed": 3}
OWN = Entry(
    "own/smile", "1", "beta", Normal(0.0, 0.03), "raw", "none",
    Source("elicited", "three raters", record={"question": "how much", "answer": [0.0, 0.06]}),
)  # fmt: skip


def same_draws(one, other):
    return all(
        np.array_equal(one["posterior"][name].to_numpy(), other["posterior"][name].to_numpy())
        for name in one["posterior"].data_vars
    )


def test_a_frozen_fit_has_the_same_hash_and_the_same_posterior(trials):
    spec = valence(priors={"valence": OWN, "sd": "group-sd"})
    frozen = freeze_priors(spec, trials)
    read = FrozenPriors.from_json(frozen.to_json())
    assert read.scaled_by == frozen.scaled_by == data_sha256(trials)
    plain = fit(spec, trials, **SETTINGS)
    from_file = fit(spec, trials, frozen=read, registered=True, **SETTINGS)
    assert plain.attrs["priors_sha256"] == frozen.sha256 == read.sha256 == from_file.attrs["priors_sha256"]
    assert same_draws(plain, from_file)
    assert plain.attrs["priors"] == from_file.attrs["priors"]
    assert (plain.attrs["priors_frozen"], plain.attrs["registered"]) == ("", "no")
    assert (from_file.attrs["priors_frozen"], from_file.attrs["registered"]) == (frozen.created, "yes")


def test_a_fit_tells_the_sources_of_its_priors(trials):
    made = fit(valence(priors={"valence": OWN}), trials, **SETTINGS)
    entries = json.loads(made.attrs["prior_entries"])
    assert entries["own/smile 1"]["source"]["record"]["question"] == "how much"
    assert stored_priors(made)["mouthSmile"]["valence"].prior == Normal(0.0, 0.03)
    assert set(entries) == {
        "own/smile 1", "mien-weak/intercept 1", "mien-weak/group-sd 1", "mien-weak/correlation 1",
        "mien-weak/residual-sd 1",
    }  # fmt: skip


def test_frozen_numbers_do_not_follow_the_scale_of_other_data(trials):
    frozen = freeze_priors(valence(), trials)
    tenfold = trials.assign(activation=trials["activation"] * 10)
    tenfold.attrs.update(trials.attrs)
    kept, free = fit(valence(), tenfold, frozen=frozen, **SETTINGS), fit(valence(), tenfold, **SETTINGS)
    sd = frozen.outcomes["mouthSmile"]["valence"].prior.sd
    assert stored_priors(kept)["mouthSmile"]["valence"].prior.sd == sd
    assert stored_priors(free)["mouthSmile"]["valence"].prior.sd == pytest.approx(10 * sd, rel=1e-6)
    assert kept.attrs["priors_sha256"] != free.attrs["priors_sha256"]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, outcomes={**one.outcomes, "": next(iter(one.outcomes.values()))}),
        lambda one: replace(one, model={**one.model, "formula": "activation ~ 1"}),
        lambda one: replace(one, entries={}),
    ],
    ids=["a prior", "the model", "the sources"],
)
def test_whatever_is_changed_changes_the_hash(trials, change):
    frozen = freeze_priors(valence(), trials)
    assert change(frozen).sha256 != frozen.sha256


def test_name_and_date_do_not(trials):
    frozen = freeze_priors(valence(), trials)
    assert replace(frozen, name="another", created="then").sha256 == frozen.sha256


def test_a_file_changed_by_hand_is_refused(trials):
    text = freeze_priors(valence(), trials).to_json()
    changed = json.loads(text)
    changed["outcomes"]["mouthSmile"]["valence"]["sd"] *= 1.01
    with pytest.raises(SpecError, match="changed afterwards"):
        FrozenPriors.from_json(json.dumps(changed))
    with pytest.raises(SpecError, match="no JSON"):
        FrozenPriors.from_json("{")
    with pytest.raises(SpecError, match="no format, name"):
        FrozenPriors.from_json("{}")


def test_a_frozen_file_of_another_model_is_refused(trials):
    frozen = freeze_priors(valence(), trials)
    other = replace(valence(), formula="activation ~ valence + (1 | participant)")
    with pytest.raises(SpecError, match=r"frozen for \(formula"):
        fit(other, trials, frozen=frozen, **SETTINGS)
    with pytest.raises(SpecError, match="another"):
        fit(co_activation(1, between=0), trials, frozen=frozen, **SETTINGS)


def test_a_shape_that_was_not_frozen_is_refused(trials):
    some = trials[trials["blend_shape"] == "mouthSmile"]
    with pytest.raises(SpecError, match="outcomes that were frozen"):
        fit(valence(), trials, frozen=freeze_priors(valence(), some), **SETTINGS)


def test_other_priors_beside_frozen_ones_are_refused(trials):
    frozen = freeze_priors(valence(), trials)
    with pytest.raises(SpecError, match="none beside frozen ones"):
        fit(valence(priors={"valence": Normal(0, 1)}), trials, frozen=frozen, **SETTINGS)


def test_registered_refuses_what_is_not_frozen_or_has_no_source(trials):
    with pytest.raises(SpecError, match="expected frozen priors, found none"):
        fit(valence(), trials, registered=True, **SETTINGS)
    unsourced = valence(priors={"valence": Normal(0, 0.1), "sd:1|stimulus": HalfNormal(0.1)})
    frozen = freeze_priors(unsourced, trials)
    assert frozen.unsourced == ("valence", "sd:1|stimulus")
    with pytest.raises(SpecError, match=r"found none for valence, sd:1\|stimulus"):
        fit(unsourced, trials, frozen=frozen, registered=True, **SETTINGS)
    fit(unsourced, trials, frozen=frozen, **SETTINGS)  # not registered: they may be


def test_known_standard_errors_have_a_source(trials):
    data = trials[trials["blend_shape"] == "mouthSmile"].assign(se=0.03)
    spec = replace(valence(), standard_errors="se")
    fit(spec, data, frozen=freeze_priors(spec, data), registered=True, **SETTINGS)


def test_two_entries_of_one_name_are_refused(trials):
    changed = replace(OWN, prior=Normal(0.0, 0.5))
    with pytest.raises(SpecError, match="two that differ"):
        freeze_priors(
            valence(priors={"valence": OWN, "Intercept": replace(changed, role="Intercept")}), trials
        )


def test_an_entry_of_another_role_is_refused(trials):
    with pytest.raises(SpecError, match="expected an entry of role beta, found mien-weak/group-sd"):
        freeze_priors(valence(priors={"valence": LIBRARY.default("sd")}), trials)
    with pytest.raises(SpecError, match="expected an entry of the library"):
        valence(priors={"valence": "coeficient"})


def test_co_activation_is_frozen_by_role_for_any_number_of_factors():
    frozen = freeze_priors(co_activation(5), None)
    assert set(frozen.outcomes[""]) == {
        "loading_sd",
        "uniqueness",
        "between_loading_sd",
        "between_uniqueness",
    }
    assert freeze_priors(co_activation(3), None).sha256 == frozen.sha256
    assert freeze_priors(co_activation(3, part="spontaneous"), None).sha256 != frozen.sha256
    frozen.check_registered()


def test_an_entry_of_co_activation_is_in_its_own_units():
    entry = replace(LIBRARY.default("uniqueness"), times="outcome")
    with pytest.raises(SpecError, match="times outcome"):
        co_activation(2, priors={"uniqueness": entry})
