"""How often importance sampling is not enough: 1,000 paper-size data sets that vary in everything.

Slope sds from 0 to .4 σ (a tenth of them exactly 0), correlations to ±.95, stimulus sds from 0 to .4 σ, 10 % of
the rows missing, another design each. Through `mien.fit` one by one.
"""

from collections import Counter

import fits
import numpy as np
import record
import simulators


def run(names, quick):
    fits.require("collapsed")
    found, seconds = [], []
    for number in range(20 if quick else 1000):
        rng = simulators.rng_of(2, number)
        design = simulators.make_design(rng)
        truth = simulators.paper_sized_truth(rng)
        data = design.frame().assign(activation=simulators.draw_activation(design, rng, truth))
        timed = fits.fit(simulators.SLOPES, data, engine="collapsed", seed=number)
        found += [{**one, "number": number, "truth": truth} for one in fits.verdicts(timed.tree)]
        seconds.append(timed.seconds)
    record.save("fallback", {"paper-size data sets": summary(found, seconds)})


def summary(found, seconds):
    khat = np.array([float(one["khat_engine"]) for one in found])
    ess = np.array([float(one["ess_min"]) for one in found])
    fallbacks = Counter(str(one["fallback"]) or "none" for one in found)
    worst = sorted(found, key=lambda one: -float(one["khat_engine"]))[:5]
    return {
        "required": "at most 1 % need NUTS",
        "data_sets": len(found),
        "share_nuts": fallbacks["nuts"] / len(found),
        "fallbacks": dict(fallbacks),
        "share_failed": float(np.mean([not one["passed"] for one in found])),
        "reasons": dict(Counter(str(one["reason"]) for one in found if not one["passed"])),
        "khat_quantiles": {str(q): float(np.nanquantile(khat, q)) for q in (0.5, 0.9, 0.99, 1.0)},
        "ess_min_quantiles": {str(q): float(np.nanquantile(ess, q)) for q in (0.0, 0.01, 0.1, 0.5)},
        "seconds": record.spread(seconds),
        "seconds_max": max(seconds),
        "largest_khat": [
            {"number": one["number"], "khat": float(one["khat_engine"]), **one["truth"]._asdict()}
            for one in worst
        ],
    }
