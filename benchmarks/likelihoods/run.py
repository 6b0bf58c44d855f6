"""Ordered beta for 34 shapes against 34 Bambi fits with a custom family: `python benchmarks/likelihoods/run.py`.

    run.py                 34 shapes by mien, 3 fits by Bambi (times 34 / 3), cold compile, all families once
    run.py --shapes 6 --bambi-fits 2     fewer, on a busy machine; the ratio is one of times a fit all the same
    run.py --quick         2 shapes and 1 fit, nothing kept

Both sample 4 chains of 500 draws after their own warm-up, on the same studies of 1,664 rows, in this process. Wall and
CPU seconds are kept: machines are shared, and CPU time says more there. Results: results/likelihoods.json.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))
from tests.models.likelihood_study import FAMILIES, FORMULA, make_study  # noqa: E402

SHAPES, DRAWS, BAMBI_FITS = 34, 500, 3


def measured(work):
    """Result, wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def smallest_ess(draws):
    """Over quantities (chain, draw)."""
    from mien.models.diagnostics import measure

    return min(min(measure(np.asarray(values))[:2]) for values in draws.values())


def by_mien(shapes):
    import mien
    from mien.models.diagnostics import scalar_draws

    study = pd.concat(
        [make_study("ordered_beta", 32, 52, seed=n).assign(blend_shape=f"shape {n}") for n in range(shapes)],
        ignore_index=True,
    )
    mien.fit(FORMULA, make_study("ordered_beta", 4, 6), family="ordered_beta", draws=10)  # compiled before
    fit, taken = measured(lambda: mien.fit(FORMULA, study, family="ordered_beta", draws=DRAWS))
    ess = [smallest_ess(scalar_draws(fit, name)) for name in fit["posterior"]["blend_shape"].to_numpy()]
    _, effects = measured(lambda: mien.effects(fit))
    return {
        "shapes": shapes, **taken, "verdict": fit.attrs["diagnostics"],
        "repeated": len(json.loads(fit.attrs["sampling_notes"])), "smallest_ess_median": statistics.median(ess),
        "smallest_ess_min": min(ess), "effects_wall_s": effects["wall_s"],
    }  # fmt: skip


def by_bambi(count):
    from bambi_ordered_beta import build

    fits = []
    for n in range(count):
        study = make_study("ordered_beta", 32, 52, seed=n)
        model, building = measured(lambda study=study: build(study))
        tree, taken = measured(
            lambda model=model, n=n: model.fit(
                draws=DRAWS, tune=DRAWS, chains=4, inference_method="nutpie", random_seed=n, progressbar=False
            )
        )
        names = [name for name in tree["posterior"].data_vars if tree["posterior"][name].ndim == 2]
        fits.append(
            {
                "wall_s": building["wall_s"] + taken["wall_s"], "cpu_s": building["cpu_s"] + taken["cpu_s"],
                "smallest_ess": smallest_ess({name: tree["posterior"][name].to_numpy() for name in names}),
            }
        )  # fmt: skip
        print("bambi", fits[-1], flush=True)
    return {
        "fits": count,
        **{
            f"{key}_a_fit": statistics.median(fit[key] for fit in fits)
            for key in ("wall_s", "cpu_s", "smallest_ess")
        },
        "each": fits,
    }


def families():
    """One fit of each, 1,664 rows, 4 × 1,000 draws."""
    import mien
    from mien.models.diagnostics import scalar_draws

    found = {}
    for family in FAMILIES:
        study = make_study(family, 32, 52, seed=1)
        fit, taken = measured(lambda study=study, family=family: mien.fit(FORMULA, study, family=family))
        found[family] = {
            **taken,
            "verdict": fit.attrs["diagnostics"],
            "smallest_ess": smallest_ess(scalar_draws(fit)),
        }
    return found


def cold():
    """Of a first process with an empty cache of compiled code, and of one with a full cache."""
    program = "from tests.models.likelihoods.test_joint_density import prepared, density, _start; "
    program += "ready = prepared('ordered_beta')[1]; density(ready, _start(ready))"
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty_cache", "full_cache"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            _, taken = measured(
                lambda: subprocess.run(
                    [sys.executable, "-c", program], check=True, cwd=HERE.parent.parent,
                    env={**os.environ, "NUMBA_CACHE_DIR": folder},
                )
            )  # fmt: skip
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found[name] = {"wall_s": taken["wall_s"], "cpu_s": after.ru_utime - before.ru_utime}
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shapes", type=int, default=SHAPES)
    parser.add_argument("--bambi-fits", type=int, default=BAMBI_FITS)
    arguments = parser.parse_args()
    quick = arguments.quick
    warnings.simplefilter("ignore")
    shapes = 2 if quick else arguments.shapes
    entries = {"cold": cold(), "mien": by_mien(shapes)}
    print(json.dumps(entries), flush=True)
    entries["bambi"] = by_bambi(1 if quick else arguments.bambi_fits)
    entries["families"] = families() if not quick else {}
    for kind in ("wall_s", "cpu_s"):
        entries[f"ratio_{kind}"] = entries["mien"][kind] / (shapes * entries["bambi"][f"{kind}_a_fit"])
    whole = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": f"{os.cpu_count()} cores, shared",
        "load_at_end": round(os.getloadavg()[0], 2), "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numba", "nutpie", "pymc", "bambi")}, **entries,
    }  # fmt: skip
    print(json.dumps(whole, indent=1))
    if not quick:
        (HERE / "results" / "likelihoods.json").write_text(
            json.dumps(whole, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
