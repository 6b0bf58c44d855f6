"""The joint model of 52 shapes, 86,528 rows less 10 %, 6,252 group effects: collapsed against nutpie.

    holes     single rows missing: general elimination
    shared    whole trials missing: every shape has the same design
    nutpie    the same model in PyMC, centred and not, nutpie's default and low_rank adaptation; draws are doubled until
              R-hat ≤ 1.01 (all of it is counted) or the limit in time is reached, which is then said

`joint` alone runs the first two; nutpie, up to half an hour a variant, only when named.
"""

import time
import warnings
from itertools import product

import fits
import numpy as np
import pandas as pd
import record
import simulators

NAMES = ("holes", "shared", "nutpie")
LIMIT = 1800.0  # s of sampling a variant
ADAPTATIONS = ("draw_diag", "low_rank")
PARAMETERISATIONS = ("centred", "non-centred")


def run(names, quick):
    names = names or ("holes", "shared")
    shapes = 3 if quick else 52
    data = {
        name: simulators.joint_data(simulators.rng_of(6, place), shared=name == "shared", shapes=shapes)
        for place, name in enumerate(("holes", "shared"))
    }
    for name in ("holes", "shared"):
        if name in names:
            record.save("joint", {name: collapsed(data[name], 1 if quick else 3)})
    if "nutpie" in names:
        first, limit = (50, 10.0) if quick else (500, LIMIT)
        for parameterisation, adaptation in product(PARAMETERISATIONS, ADAPTATIONS):
            entry = nutpie_fit(data["holes"], parameterisation, adaptation, first, limit)
            record.save("joint", {f"nutpie {parameterisation} {adaptation}": entry})
    compare()


def collapsed(data, count):
    """The first fit warms up."""
    fits.require("collapsed")
    found = []
    for number in range(count + 1):
        timed = fits.fit(simulators.JOINT, data, engine="collapsed", seed=number)
        if number:
            found.append((timed.seconds, fits.verdicts(timed.tree)[0]))
    return {
        "rows": len(data),
        "seconds": record.spread([seconds for seconds, _ in found]),
        "ess_min": record.spread([float(one["ess_min"]) for _, one in found]),
        "khat_max": max(float(one["khat_engine"]) for _, one in found),
        "passed": all(bool(one["passed"]) for _, one in found),
        "fallback": [str(one["fallback"]) for _, one in found],
        "ess_per_second": float(np.median([float(one["ess_min"]) / seconds for seconds, one in found])),
        "posterior means": {name: float(values.mean()) for name, values in fits.scalars(timed.tree).items()},
    }


def group_index(data, name):
    return pd.factorize(data[name.split(":")].astype("str").agg("/".join, axis=1))[0]


def joint_model(data, centred):
    """The same rows, coding and default priors, outcome divided by its sd."""
    import pymc as pm
    import pytensor.tensor as pt

    y = data["activation"].to_numpy()
    sign = np.where(data["valence"] == "negative", -0.5, 0.5)
    terms = {name: (True, True) for name in ("blend_shape", "participant", "participant:blend_shape")}
    terms |= {name: (True, False) for name in ("stimulus", "stimulus:blend_shape")}
    with pm.Model() as model:
        mean = pm.Normal("Intercept", 0, 2.5) + pm.Normal("valence", 0, 2) * sign
        sigma = pm.HalfStudentT("sigma", nu=4, sigma=1)
        for factor, used in terms.items():
            code = group_index(data, factor)
            for term, scale, column, wanted in zip(("1", "valence"), (1, 2), (None, sign), used, strict=True):
                if not wanted:
                    continue
                sd = pm.HalfNormal(f"{term}|{factor}_sigma", scale)
                size = int(code.max()) + 1
                effect = (
                    pm.Normal(f"{term}|{factor}", 0, sd, shape=size)
                    if centred
                    else pm.Normal(f"{term}|{factor}_z", 0, 1, shape=size) * sd
                )
                mean = mean + (effect[code] if column is None else effect[code] * column)
        pm.Normal("y", pt.as_tensor(mean), sigma, observed=(y - y.mean()) / y.std())
    return model


def nutpie_fit(data, parameterisation, adaptation, draws, limit):
    import nutpie

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        compiled = nutpie.compile_pymc_model(joint_model(data, parameterisation == "centred"))
        compiling = time.perf_counter() - start
        spent = 0.0
        while True:
            start = time.perf_counter()
            tree = nutpie.sample(
                compiled, draws=draws, tune=draws, chains=4, cores=2, seed=7, progress_bar=False,
                adaptation=adaptation,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            spent += seconds
            worth = fits.worth(scalars(tree))
            if worth.r_hat_max <= 1.01 or spent + 2 * seconds > limit:
                break
            draws *= 2
    unit = float(data["activation"].std(ddof=0))
    means = {name: float(values.mean() * unit) for name, values in scalars(tree).items()}
    return {
        "converged": worth.r_hat_max <= 1.01,
        "draws": f"4 × ({draws} + {draws})",
        "seconds": seconds,
        "seconds of earlier, shorter tries": spent - seconds,
        "compile_seconds": compiling,
        "ess_min": worth.ess_min,
        "ess_min_of": worth.of,
        "r_hat_max": worth.r_hat_max,
        "ess_per_second": worth.ess_min / seconds,
        "posterior means (in units of the outcome)": means,
    }


def scalars(tree):
    return {
        str(name): np.asarray(values)
        for name, values in tree["posterior"].data_vars.items()
        if np.asarray(values).ndim == 2
    }


def compare():
    """The ratio that is required, against the best variant of nutpie."""
    import json

    path = record.RESULTS / "joint.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    nutpie = {name: one for name, one in found.items() if name.startswith("nutpie ")}
    converged = {name: one for name, one in nutpie.items() if one["converged"]} or nutpie
    if not converged or "holes" not in found:
        return
    best = max(converged, key=lambda name: converged[name]["ess_per_second"])
    entry = {"required": "at least 300 × (holes), 1,000 × (shared)", "best": best}
    for name in ("holes", "shared"):
        if name in found:
            entry[f"{name}: times the ESS a second"] = (
                found[name]["ess_per_second"] / converged[best]["ess_per_second"]
            )
    record.save("joint", {"collapsed against nutpie": entry})
