"""Simulated co-activation is what its truth says, wide and as a Trials table."""

import numpy as np
import pytest

from mien.models import fit
from mien.simulation.co_activation import draw_truth, prior_truth, simulate_factors, simulate_values
from mien.study.blend_shapes import BILATERAL_NAMES, SET_APART
from mien.study.errors import SpecError

TERMS = ("Intercept", "valence", "empathy")


@pytest.fixture(scope="module")
def truth():
    return draw_truth(np.random.default_rng(4), shapes=8, factors=3, between=2, stimulus=1, terms=TERMS)


def far(found, wanted, rows):
    """The largest distance of a sample covariance from a covariance, in standard errors."""
    variance = np.diag(wanted)
    return (np.abs(found - wanted) / np.sqrt((np.outer(variance, variance) + wanted**2) / rows)).max()


def test_a_truth_has_simple_structure_like_a_face():
    truth = draw_truth(np.random.default_rng(1))
    assert truth.shapes == BILATERAL_NAMES
    assert truth.loading.shape == (34, 5)
    assert truth.between_loading.shape == (34, 2)
    assert np.diag(truth.within_covariance) == pytest.approx(np.ones(34))
    assert truth.communality.min() >= 0.2
    assert truth.communality.max() <= 0.9
    sd = np.sqrt(np.diag(truth.between_covariance))
    assert sd.min() >= 0.3
    assert sd.max() <= 0.7
    share = np.sort(truth.loading**2 / (truth.loading**2).sum(axis=1, keepdims=True), axis=1)
    assert (share[:, -1] > 0.5).all()
    assert (share[:, -2:].sum(axis=1) > 0.9).all()
    assert 2 < np.count_nonzero(share[:, -2] > 0.1) < 17  # some on two
    assert np.bincount(np.abs(truth.loading).argmax(axis=1)).min() >= 6  # every factor has shapes
    assert not truth.stimulus_covariance.any()
    assert truth.scale.min() >= 0.01
    assert truth.scale.max() <= 0.1


def test_gaze_and_blinks_are_taken_last():
    few = draw_truth(np.random.default_rng(0), shapes=29).shapes
    assert not SET_APART & set(few)
    assert list(few) == [name for name in BILATERAL_NAMES if name in few]


def test_correlations_have_ones_and_shares_are_shares(truth):
    for matrix in (truth.within_correlation, truth.between_correlation, truth.stimulus_correlation):
        assert np.diag(matrix) == pytest.approx(np.ones(8))
    within = truth.loading @ truth.loading.T
    assert truth.communality == pytest.approx(np.diag(within) / np.diag(truth.within_covariance))
    assert truth.within_covariance - within == pytest.approx(np.diag(truth.uniqueness))


def test_no_factors_at_a_level_leave_unique_variances():
    truth = draw_truth(np.random.default_rng(2), shapes=5, factors=1, between=0)
    assert truth.between_loading.shape == (5, 0)
    assert truth.between_covariance == pytest.approx(np.diag(truth.between_uniqueness))
    data = simulate_values(truth, np.random.default_rng(2), participants=3, stimuli=4)
    assert data.between_scores.shape == (3, 0)


def test_covariances_of_the_parts_are_the_truths(truth):
    rng = np.random.default_rng(7)
    data = simulate_values(truth, rng, participants=4000, stimuli=3)
    mean = data.design @ truth.coefficient.T + data.stimulus_effects[data.stimulus]
    within = data.standardised - mean - data.person_effects[data.participant]
    assert far(within.T @ within / 12_000, truth.within_covariance, 12_000) < 4.5
    between = data.person_effects.T @ data.person_effects / 4000
    assert far(between, truth.between_covariance, 4000) < 4.5
    unique = within - data.scores @ truth.loading.T
    assert far(unique.T @ unique / 12_000, np.diag(truth.uniqueness), 12_000) < 4.5
    unique = data.person_effects - data.between_scores @ truth.between_loading.T
    assert far(unique.T @ unique / 4000, np.diag(truth.between_uniqueness), 4000) < 4.5
    wide = simulate_values(truth, rng, participants=3, stimuli=4000).stimulus_effects
    assert far(wide.T @ wide / 4000, truth.stimulus_covariance, 4000) < 4.5


def test_the_design_is_what_the_terms_say(truth):
    data = simulate_values(truth, np.random.default_rng(3), participants=6, stimuli=5, missing=0.2)
    assert data.design.shape == (24, 3)
    assert (data.design[:, 0] == 1).all()
    assert data.design[:, 1].tolist() == np.where(data.stimulus % 2 == 0, -0.5, 0.5).tolist()
    assert data.design[:, 2].tolist() == data.covariate[data.participant, 2].tolist()
    assert data.covariate[:, 2].mean() == pytest.approx(0)
    assert data.covariate[:, 2].std(ddof=1) == pytest.approx(1)


def test_trials_are_the_wide_rows(truth):
    simulated = simulate_factors(truth, np.random.default_rng(5), participants=12, stimuli=6, missing=0.15)
    trials, data = simulated.trials, simulated.data
    assert len(trials) == round(12 * 6 * 0.85) * 8
    wide = trials.pivot_table(
        index=["participant", "trial"], columns="blend_shape", values="activation", observed=True
    )
    assert list(wide.columns) == list(truth.shapes)
    assert wide.to_numpy() == pytest.approx(data.activation, rel=1e-6, abs=1e-7)
    assert wide.index.get_level_values("participant").tolist() == [f"{p + 1:02d}" for p in data.participant]
    first = trials.iloc[::8]
    assert first["stimulus"].tolist() == [f"s{s + 1:02d}" for s in data.stimulus]
    assert (first["valence"] == "positive").tolist() == (data.design[:, 1] > 0).tolist()
    assert simulated.participants["participant_id"].tolist() == [f"sub-{n + 1:02d}" for n in range(12)]
    assert simulated.participants["empathy"].tolist() == data.covariate[:, 2].tolist()
    assert list(simulated.participants.columns) == ["participant_id", "empathy"]


def test_a_model_reads_the_trials(truth):
    simulated = simulate_factors(truth, np.random.default_rng(6), participants=24, stimuli=30)
    shape = truth.shapes[2]
    rows = simulated.trials[simulated.trials["blend_shape"] == shape]
    tree = fit(
        "activation ~ valence + empathy + (1 | participant) + (1 | stimulus)", rows,
        participants=simulated.participants, draws=250, seed=1,
    )  # fmt: skip
    posterior = tree["posterior"].dataset
    valence = next(str(name) for name in posterior.data_vars if str(name).startswith("valence"))
    found = posterior[valence].to_numpy().ravel() / truth.scale[2]
    assert abs(found.mean() - truth.coefficient[2, 1]) < 4 * found.std()


def test_the_same_seed_gives_the_same_study(truth):
    one, other = (simulate_factors(truth, np.random.default_rng(9), participants=3, stimuli=4) for _ in "ab")
    assert one.trials.equals(other.trials)
    assert one.data.scores.tolist() == other.data.scores.tolist()
    drawn = [draw_truth(np.random.default_rng(seed), shapes=6) for seed in (1, 1, 2)]
    assert drawn[0].loading.tolist() == drawn[1].loading.tolist() != drawn[2].loading.tolist()


def test_prior_truths_have_the_priors_moments():
    rng = np.random.default_rng(11)
    truths = [
        prior_truth(
            rng,
            shapes=20,
            factors=3,
            between=2,
            uniqueness=(-0.7, 0.6),
            between_uniqueness=(-2.0, 1.0),
            loading_sd=(0.5, 0.25),
        )
        for _ in range(200)
    ]
    for values, mean, sd in (
        ([truth.loading for truth in truths], 0.0, 0.5),
        ([truth.between_loading for truth in truths], 0.0, 0.25),
        ([np.log(truth.uniqueness) for truth in truths], -0.7, 0.6),
        ([np.log(truth.between_uniqueness) for truth in truths], -2.0, 1.0),
    ):
        drawn = np.ravel(values)
        assert drawn.mean() == pytest.approx(mean, abs=4.5 * sd / np.sqrt(drawn.size))
        assert drawn.std() == pytest.approx(sd, rel=4.5 / np.sqrt(2 * drawn.size))


def test_what_cannot_be_drawn_is_said():
    rng = np.random.default_rng(0)
    with pytest.raises(SpecError, match=r"expected 1 to 34, found 40"):
        draw_truth(rng, shapes=40)
    with pytest.raises(SpecError, match=r'expected "Intercept" first, found valence'):
        draw_truth(rng, terms=("valence",))
