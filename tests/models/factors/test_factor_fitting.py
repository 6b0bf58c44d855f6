"""Co-activation fits: names and groups of the tree, the verdict, storage, what other functions say to them."""

import json
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mien
from mien.models import co_activation, co_activation_pairs, loadings, shape_groups, shares
from mien.models.factors import tables
from mien.models.factors.fitting import correlations
from mien.models.factors.partitions import carriers
from mien.models.factors.rotation import align, signed_permutations
from mien.models.factors.spec import FactorSpec
from mien.models.factors.trees import classical_tree
from mien.priors import HalfNormal, LogNormal
from mien.simulation.co_activation import FactorTruth, draw_truth, simulate_factors
from mien.study.errors import FitError, SpecError

SHAPES = (
    "mouthSmile",
    "cheekSquint",
    "eyeSquint",
    "mouthFrown",
    "browDown",
    "jawOpen",
    "mouthPress",
    "mouthFunnel",
)


class Simulated(NamedTuple):
    truth: FactorTruth
    trials: pd.DataFrame


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(11)
    truth = draw_truth(rng, shapes=SHAPES, factors=2, between=1)
    return Simulated(truth, simulate_factors(truth, rng, participants=20, stimuli=40).trials)


@pytest.fixture(scope="module")
def fit(simulated):
    return mien.fit(co_activation(2, between=1), simulated.trials, draws=500, seed=4)


def test_the_tree_has_the_names_that_docs_say(fit):
    posterior = fit["posterior"]
    assert posterior["loading"].dims == ("chain", "draw", "blend_shape", "factor")
    assert posterior["between_loading"].dims == ("chain", "draw", "blend_shape", "between_factor")
    assert posterior["loading"].shape == (4, 500, 8, 2)
    assert posterior["factor"].to_numpy().tolist() == ["W1", "W2"]
    assert posterior["between_factor"].to_numpy().tolist() == ["B1"]
    assert set(posterior["blend_shape"].to_numpy()) == set(SHAPES)
    assert fit.attrs["family"] == "co_activation"
    assert fit.attrs["engine"] == "collapsed"
    assert fit.attrs["diagnostics"] == "passed", fit.attrs["diagnostics_detail"]
    assert FactorSpec.from_json(fit.attrs["model_spec"]) == co_activation(2, between=1)
    for name, value in fit.attrs.items():
        assert isinstance(value, (str, int)), name
    for text in ("priors", "coding", "counts", "left_out", "versions", "diagnostics_detail", "groups"):
        json.loads(fit.attrs[text])


def test_loadings_and_communalities_are_recovered(fit, simulated):
    truth, names = simulated.truth, list(fit["posterior"]["blend_shape"].to_numpy())
    order = [truth.shapes.index(name) for name in names]
    own = align(truth.loading[order][None]).loading[0]
    mean = fit["posterior"]["loading"].mean(("chain", "draw")).to_numpy()
    own = own @ signed_permutations(own[None], mean)[0]
    congruence = (mean * own).sum(axis=0) / np.sqrt((mean**2).sum(axis=0) * (own**2).sum(axis=0))
    assert congruence.min() > 0.97
    table = shares(fit).query("level == 'within'").set_index("blend_shape").loc[names]
    inside = table["communality_lower"].le(truth.communality[order]) & table["communality_upper"].ge(
        truth.communality[order]
    )
    assert inside.sum() >= 6


def test_within_and_between_are_not_mixed_up(simulated):
    """Persons differ in one direction, trials in two others: neither shows in the other's loadings."""
    rng = np.random.default_rng(2)
    truth = simulated.truth
    within = np.zeros((8, 2))
    within[:4, 0], within[4:, 1] = 0.8, 0.8
    between = np.zeros((8, 1))
    between[[0, 2, 4, 6], 0] = 0.9
    split = truth._replace(loading=within, uniqueness=np.full(8, 0.36), between_loading=between,
                           between_uniqueness=np.full(8, 0.02))  # fmt: skip
    fit = mien.fit(
        co_activation(2, between=1),
        simulate_factors(split, rng, participants=40, stimuli=20).trials,
        draws=300,
    )
    names = list(fit["posterior"]["blend_shape"].to_numpy())
    order = [truth.shapes.index(name) for name in names]
    posterior = fit["posterior"].mean(("chain", "draw"))
    persons = posterior["between_loading"].to_numpy()[:, 0]
    assert np.abs(persons @ between[order, 0]) / np.linalg.norm(persons) / np.linalg.norm(between) > 0.95
    trials = posterior["loading"].to_numpy()
    for k in range(2):
        found = max(abs(trials[:, j] @ within[order, k]) / np.linalg.norm(trials[:, j]) for j in range(2))
        assert found / np.linalg.norm(within[:, k]) > 0.98
        assert (
            abs(trials[:, k] @ between[order, 0]) / np.linalg.norm(trials[:, k]) / np.linalg.norm(between)
            < 0.8
        )


def test_the_same_seed_gives_the_same_draws(simulated, fit):
    again = mien.fit(co_activation(2, between=1), simulated.trials, draws=500, seed=4)
    assert np.array_equal(again["posterior"]["loading"], fit["posterior"]["loading"])


def test_stored_and_loaded(fit, tmp_path):
    mien.save(fit, tmp_path / "fit")
    back = mien.load(tmp_path / "fit")
    assert np.array_equal(back["posterior"]["loading"], fit["posterior"]["loading"])
    assert np.array_equal(back["observed_data"]["activation"], fit["observed_data"]["activation"])
    assert (
        back["constant_data"]["participant"].to_numpy().tolist()
        == fit["constant_data"]["participant"].to_numpy().tolist()
    )
    assert back.attrs == fit.attrs
    assert loadings(back).equals(loadings(fit))


def test_tables_say_what_the_draws_say(fit):
    table = loadings(fit, "within")
    assert len(table) == 16
    row = table.iloc[3]
    draws = fit["posterior"]["loading"].sel(blend_shape=row["blend_shape"], factor=row["factor"]).to_numpy()
    assert row["mean"] == pytest.approx(draws.mean())
    assert row["eti_lower"] == pytest.approx(np.quantile(draws, 0.025))
    assert row["p_direction"] == pytest.approx(max((draws > 0).mean(), (draws < 0).mean()))
    pairs = co_activation_pairs(fit)
    assert len(pairs) == 28
    posterior = fit["posterior"]
    flat = correlations(
        posterior["loading"].to_numpy().reshape(-1, 8, 2), posterior["uniqueness"].to_numpy().reshape(-1, 8)
    )
    names = list(posterior["blend_shape"].to_numpy())
    i, j = names.index(pairs["first"][0]), names.index(pairs["second"][0])
    assert pairs["mean"][0] == pytest.approx(flat[:, i, j].mean(), abs=0.01)
    assert pairs["mean"].abs().is_monotonic_decreasing


def test_shapes_of_one_factor_are_one_group(fit, simulated):
    found = shape_groups(fit, draws=200)
    truth = simulated.truth
    main = {name: int(np.abs(row).argmax()) for name, row in zip(truth.shapes, truth.loading, strict=True)}
    group = dict(zip(found.table["blend_shape"], found.table["group"], strict=True))
    strong = [
        name for name, share in zip(truth.shapes, truth.communality, strict=True) if share > 0.5
    ]  # sure to be carried
    for one in strong:
        for other in strong:
            assert (group[one] == group[other]) == (main[one] == main[other])
    assert found.tree.support is not None
    assert found.classical is not None


def test_groups_between_have_a_tree_of_the_persons_means(fit):
    found = shape_groups(fit, "between", draws=200)
    rows = fit["observed_data"]["activation"].to_numpy()
    person = fit["constant_data"]["group_index"].to_numpy()
    means = np.stack([rows[person == p].mean(axis=0) for p in range(20)])
    assert found.classical is not None
    np.testing.assert_allclose(found.classical.linkage, classical_tree(means).linkage)
    assert sorted(found.table["blend_shape"]) == sorted(SHAPES)
    with pytest.raises(FitError, match="within, between"):
        shape_groups(fit, "persons")


def test_a_shape_without_a_factor_is_alone_and_told_how_surely(fit):
    posterior = fit["posterior"]
    loading, rest = posterior["loading"].to_numpy()[0, :200], posterior["uniqueness"].to_numpy()[0, :200]
    labels = carriers(np.concatenate([loading, 0 * loading[:, :1]], axis=1), np.insert(rest, 8, 1.0, axis=1))
    assert tables._alone(labels)[8] == 1.0
    assert tables._alone(np.array([[0, 0, 1], [0, 1, 1]])).tolist() == [0.5, 0.0, 0.5]
    found = shape_groups(fit, draws=200)
    assert 0 <= found.drawn <= 1
    assert found.drawn > 0 or found.vi > 0


def test_priors_are_stored_with_the_kind_of_their_source(simulated):
    mine = mien.fit(
        co_activation(1, between=0, priors={"loading_sd": LogNormal(-1.2, 0.3)}), simulated.trials, draws=100
    )
    stored = json.loads(mine.attrs["priors"])
    assert (stored["loading_sd"]["sigma"], stored["loading_sd"]["source"]) == (0.3, "user")
    assert stored["uniqueness"]["source"] == "rule"


def test_without_factors_between(simulated):
    fit = mien.fit(co_activation(1, between=0), simulated.trials, draws=100)
    assert fit["posterior"]["between_loading"].shape[-1] == 0
    assert (fit["posterior"]["between_communality"] == 0).all()
    assert "between" not in set(loadings(fit)["level"])


def test_priors_reach_the_posterior(simulated):
    tight = mien.fit(
        co_activation(1, between=0, priors={"loading_sd": LogNormal(-5, 0.01)}), simulated.trials, draws=100
    )
    assert float(tight["posterior"]["communality"].max()) < 0.05
    with pytest.raises(SpecError, match="LogNormal"):
        co_activation(1, priors={"uniqueness": HalfNormal(1)})
    assert json.loads(co_activation(1, priors={"uniqueness": LogNormal(-1, 0.5)}).to_json())["priors"]


READERS = (
    mien.effects, mien.models.checks, mien.models.person_effects, mien.log_likelihood, mien.group_effects,
    mien.models.pit, mien.models.curves, mien.models.reliability, mien.models.trait_slopes,
    partial(mien.predict, grid={}), partial(mien.posterior_predictive, seed=0), partial(mien.score, new_trials=None),
    partial(mien.models.lost_trials, trials=None), lambda fit: mien.compare({"one": fit, "other": fit}),
)  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_what_reads_coefficients_refuses_with_a_sentence(fit, read):
    with pytest.raises((FitError, SpecError), match="co-activation"):
        read(fit)


def test_factor_tables_refuse_other_fits():
    with pytest.raises(FitError, match="co_activation"):
        loadings(xr.DataTree(xr.Dataset(attrs={"formula": "y ~ 1", "family": "gaussian"})))


def test_bad_settings(simulated):
    with pytest.raises(FitError, match="engine"):
        mien.fit(co_activation(1), simulated.trials, engine="colapsed")
    with pytest.raises(SpecError, match="no fields"):
        mien.fit(co_activation(1), simulated.trials, residual="ar1")
    with pytest.raises(FitError, match="draws"):
        mien.fit(co_activation(1), simulated.trials, draws=1)


def test_new_persons_are_coded_by_what_the_fit_has(simulated):
    """A z-score of persons and a centred column: the fit's mean and sd, not those of who is new."""
    people = pd.DataFrame(
        {"participant_id": [f"sub-{k:02d}" for k in range(1, 21)], "age": np.arange(20.0) + 20}
    )
    fit = mien.fit(
        co_activation(1, between=1, covariates=("age_z", "center(trial)")), simulated.trials, participants=people,
        draws=100,
    )  # fmt: skip
    one = simulated.trials[simulated.trials["participant"] == "07"].reset_index(drop=True)
    own = mien.models.factor_scores(fit, participants=people, seed=1)
    new = mien.models.factor_scores(fit, one, participants=people, seed=1)
    mine = own[own["participant"] == "07"].set_index("trial")["mean"]
    assert new.set_index("trial")["mean"].loc[mine.index].to_numpy() == pytest.approx(
        mine.to_numpy(), abs=1e-6
    )
