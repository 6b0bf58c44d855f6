"""A made-up study: effects, fit, counts and quality with the columns and keys of the contracts."""

import json
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mien.study.blend_shapes import BILATERAL_NAMES, NAMES, region
from mien.study.recording import make_recording

MEANS = {
    "mouthSmile": 0.041, "mouthDimple": 0.018, "cheekSquint": 0.027, "eyeSquint": 0.013, "mouthFrown": -0.022,
    "browDown": -0.024, "noseSneer": -0.011, "mouthUpperUp": 0.009, "jawOpen": 0.012, "mouthPress": -0.008,
    "mouthShrugLower": -0.014, "browInnerUp": -0.010, "mouthPucker": -0.016, "mouthStretch": 0.006,
}  # fmt: skip


def effect_row(blend_shape, mean, sd, sigma=0.08, effect="valence", **changes):
    row = {
        "effect": effect, "blend_shape": blend_shape, "region": region(blend_shape), "units": "coefficient units",
        "mean": mean, "sd": sd, "eti_lower": mean - 1.96 * sd, "eti_upper": mean + 1.96 * sd,
        "ci_kind": "eti", "ci_prob": 0.95,
        "p_direction": NormalDist().cdf(abs(mean) / sd), "direction": 1 if mean > 0 else -1,
        "in_rope": 0.1, "rope": 0.1 * sigma, "decision": "undecided",
        "beta_std": mean / sigma / 2, "beta_std_lower": (mean - 2 * sd) / sigma / 2,
        "beta_std_upper": (mean + 2 * sd) / sigma / 2,
        "beta_sigma": mean / sigma, "beta_sigma_lower": (mean - 2 * sd) / sigma,
        "beta_sigma_upper": (mean + 2 * sd) / sigma,
        "mcse_mean": sd / 40, "ess_bulk": 2400.0, "ess_tail": 2100.0, "r_hat": 1.002, "verdict": "passed",
    }  # fmt: skip
    return row | changes


@pytest.fixture
def row():
    """A maker of one row of an effects table."""
    return effect_row


@pytest.fixture(scope="session")
def effects():
    rng = np.random.default_rng(1)
    rows = []
    for name in BILATERAL_NAMES:
        mean = MEANS.get(name, float(rng.normal(0, 0.002)))
        rows.append(effect_row(name, mean, abs(mean) * 0.1 + float(rng.uniform(0.002, 0.005))))
    return pd.DataFrame(rows)


def prior(family, source, **numbers):
    return {"family": family, **numbers, "source": source, "id": "made-up"}


@pytest.fixture(scope="session")
def fit(effects):
    """A Fit whose draws agree with the effects table."""
    rng = np.random.default_rng(2)
    draws = rng.normal(effects["mean"], effects["sd"], size=(4, 250, len(effects)))
    shapes = effects["blend_shape"].to_numpy()
    posterior = xr.Dataset(
        {"valence": (("chain", "draw", "blend_shape"), draws)},
        coords={"chain": range(4), "draw": range(250), "blend_shape": shapes,
                "participant": [f"{i:02d}" for i in range(1, 33)], "stimulus": [f"s{i}" for i in range(40)]},
    )  # fmt: skip
    stats = xr.Dataset({"diverging": (("chain", "draw", "blend_shape"), np.zeros(draws.shape, bool))})
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    tree.attrs = {
        "mien_version": "0.1.0", "family": "gaussian", "engine": "nuts", "seed": 0, "diagnostics": "passed",
        "formula": "activation ~ valence + (valence | participant) + (1 | stimulus)",
        "coding": json.dumps({"valence": ["negative", "positive"]}),
        "priors": json.dumps({
            str(name): {
                "valence": prior("Normal", "rule", mean=0.0, sd=0.1 + 0.01 * i),
                "corr:participant": prior("LKJ", "convention", eta=2.0),
            }
            for i, name in enumerate(shapes)
        }),
        "versions": json.dumps({"pymc": "6.4.0", "nutpie": "0.16.11"}),
        "diagnostics_detail": json.dumps({"max_r_hat": 1.0041, "min_ess_bulk": 871.2, "min_ess_tail": 655.0,
                                          "min_bfmi": 0.71, "divergences": 0, "failed": {}}),
        "counts": json.dumps({"rows": 520_000, "excluded": 31_200, "missing": 0, "modelled": 488_800}),
        "left_out": json.dumps({}),
        "data_sha256": "a" * 64, "recipe_sha256": "b" * 64,
    }  # fmt: skip
    return tree


@pytest.fixture(scope="session")
def weighted_fit(fit):
    """The same fit as an engine with importance sampling would give it; one shape was sampled by NUTS."""
    tree = fit.copy()
    verdict = {
        "kind": "importance",
        "passed": True,
        "reason": "",
        "khat_engine": 0.11,
        "ess_min": 2100.0,
        "max_z": 1.8,
    }
    verdicts = {str(name): verdict for name in fit["posterior"]["blend_shape"].values}
    verdicts["jawOpen"] = {"kind": "importance", "passed": True, "reason": "", "fallback": "nuts"}
    tree.attrs = fit.attrs | {
        "engine": "collapsed",
        "engine_verdict": json.dumps(verdicts),
        "diagnostics_detail": json.dumps({
            "kind": "importance", "max_khat": 0.32, "min_ess": 812.4, "max_z": 2.88, "outcomes": len(verdicts),
            "failed": {}, "fallbacks": {"more points": 2, "nuts": 1},
        }),
    }  # fmt: skip
    return tree


RECIPE = """
baseline_correction = "subtract"
sides = "mean"
[baseline]
picture = [-1.0, 0.0]
film = [-1.0, 0.0]
"""


def count(trials, rows, kept=0.94, **labels):
    lost = rows - int(rows * kept)
    reasons = {
        "tracking lost": {"rows": lost // 3, "trials": 20},
        "moving baseline": {"rows": lost - lost // 3, "trials": 31},
    }
    return {**labels, "trials": trials, "trials_kept": trials - 12, "rows": rows, "rows_kept": rows - lost,
            "valid_share": 0.981, "by_reason": reasons}  # fmt: skip


@pytest.fixture(scope="session")
def prep():
    cells = [(valence, medium) for valence in ("negative", "positive") for medium in ("picture", "film")]
    return {
        **count(1280, 520_000),
        "clock": "aligned",
        "recipe_toml": RECIPE,
        "by_valence": [count(640, 260_000, valence=one) for one in ("negative", "positive")],
        "by_medium": [count(960, 300_000, medium="picture"), count(320, 220_000, medium="film")],
        "by_valence_and_medium": [count(320, 130_000, valence=v, medium=m) for v, m in cells],
        "by_participant": [count(40, 16_000, participant=f"{i:02d}") for i in range(1, 33)],
    }


def quality_of(source, **changes):
    report = {
        "source": source, "format": "Live Link Face CSV", "frames": 50812, "duration_s": 847.3, "rate_hz": 59.97,
        "lost_frames": 37, "gaps": [{"start_s": 12.5, "lost": 37}], "frozen_frames": 0, "tracked_share": 0.991,
        "still_shapes": ["tongueOut"], "above_one": 3, "below_zero": 0, "zero_share": 0.31, "blinks_per_min": 14.2,
        "head": "present", "verdict": "good", "warnings": [],
    }  # fmt: skip
    return report | changes


@pytest.fixture(scope="session")
def quality():
    reports = [quality_of(f"sub-{i:02d}_task-met") for i in range(1, 33)]
    reports[3] |= {"verdict": "usable", "tracked_share": 0.941, "warnings": ["a gap of 3.2 s at 4:10"]}
    reports[17] |= {"verdict": "repeat", "tracked_share": 0.61, "warnings": ["39 % of frames not tracked"]}
    return reports


@pytest.fixture(scope="session")
def participants():
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(1, 33)],
            "age": rng.integers(19, 41, 32),
            "sex": ["female", "male"] * 16,
        }
    )


@pytest.fixture(scope="session")
def stimuli():
    return pd.DataFrame(
        {
            "stimulus_id": [f"s{i}" for i in range(40)],
            "valence": ["negative", "positive"] * 20,
            "medium": ["picture"] * 32 + ["film"] * 8,
            "duration": [6.0] * 32 + [40.0] * 8,
        }
    )


@pytest.fixture(scope="session")
def recording():
    """Two minutes at 30 Hz: a smile at 0:30, nothing tracked from 0:50 to 1:00, frames missing from 1:20 to 1:25."""
    time = np.arange(3600) / 30
    activation = np.full((3600, 52), 0.05, dtype=np.float32)
    activation[900:1050, [NAMES.index("mouthSmileLeft"), NAMES.index("mouthSmileRight")]] = 0.8
    activation[1500:1800] = np.nan
    kept = (time < 80) | (time >= 85)
    return make_recording(time[kept], activation[kept], NAMES, format="made up")


@pytest.fixture
def study(effects, fit, prep, quality, participants, stimuli, recording):
    """The keyword arguments of `study_report`."""
    from mien.reports_app.figures.heat_strip import heat_strip_svg

    strip = heat_strip_svg(recording, label="Shapes over time", axes=False)
    return {
        "effects": {"valence": effects}, "fits": {"valence": fit}, "prep": prep, "quality": quality,
        "participants": participants, "stimuli": stimuli, "strips": {one["source"]: strip for one in quality},
    }  # fmt: skip
