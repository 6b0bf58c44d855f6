"""Time of simulation-based calibration: 10,000 simulations of the slopes model.

The calibration lives with the tests of the engine; what is timed here is its work: prior draws, data, posteriors. A
hundred simulated outcomes go into one `mien.fit` as shapes, with the priors that they were drawn from.
"""

import time

import fits
import numpy as np
import record
import simulators

COUNT, TOGETHER = 10_000, 100


def run(names, quick):
    fits.require("collapsed")
    from mien.priors import LKJ, HalfNormal, HalfStudentT, Normal

    priors = {
        "Intercept": Normal(0, 1), "beta": Normal(0, 1), "sd": HalfNormal(1), "corr": LKJ(2),
        "sigma": HalfStudentT(4, 1),
    }  # fmt: skip
    design = simulators.make_design(simulators.rng_of(8), participants=16, stimuli=12)
    count = 2 * TOGETHER if quick else COUNT
    found, below = [], []
    warm_up(design, priors)
    start = time.perf_counter()
    for first in range(0, count, TOGETHER):
        data, truths = batch(design, first)
        timed = fits.fit(
            simulators.SLOPES,
            data,
            engine="collapsed",
            draws=250,
            seed=first,
            group_effects=False,
            priors=priors,
        )
        found += fits.verdicts(timed.tree)
        below += list(rank(timed.tree, truths))
    seconds = time.perf_counter() - start
    entry = {
        "required": "< 300 s for 10,000",
        "simulations": count,
        "rows of each": len(design.person),
        "seconds": seconds,
        "seconds for 10,000": seconds * COUNT / count,
        "fallbacks": sum(bool(one["fallback"]) for one in found),
        "failed": sum(not one["passed"] for one in found),
        "share of valence below the truth (1/2)": float(np.mean(below)),
    }
    record.save("sbc", {"slopes": entry})


def warm_up(design, priors):
    data, _ = batch(design, COUNT)
    fits.fit(simulators.SLOPES, data, engine="collapsed", draws=250, group_effects=False, priors=priors)


def prior_draw(rng):
    corr = 2 * rng.beta(2, 2) - 1  # LKJ(2) of two effects
    level, slope, item = np.abs(rng.normal(0, 1, 3))
    return simulators.Truth(
        rng.normal(0, 1), rng.normal(0, 1), level, slope, corr, item, abs(rng.standard_t(4))
    )


def batch(design, first):
    import pandas as pd

    frame, parts, truths = design.frame(), [], []
    frame["trial"] = np.arange(len(frame), dtype=np.int32)
    for number in range(first, first + TOGETHER):
        rng = simulators.rng_of(8, number)
        truths.append(prior_draw(rng))
        y = simulators.draw_activation(design, rng, truths[-1])
        parts.append(frame.assign(blend_shape=f"simulation{number:05d}", activation=y))
    data = pd.concat(parts, ignore_index=True)
    return data.assign(blend_shape=data["blend_shape"].astype("category")), truths


def rank(tree, truths):
    """Share of the draws below the truth, by outcome in the tree's order."""
    values = tree["posterior"]["valence"]
    for place, label in enumerate(values["blend_shape"].values):
        truth = truths[int(str(label).removeprefix("simulation")) % TOGETHER]
        yield float((values.isel(blend_shape=place) < truth.valence).mean())
