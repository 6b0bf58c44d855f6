"""The classical column: statsmodels MixedLM, run by a Python that has statsmodels (it is no dependency of mien).

    classical.py ROWS.parquet COLUMNS.json OUT.json

Crossed effects are variance components over one group that holds all rows, as statsmodels writes them: persons'
intercepts, persons' valence slopes and stimuli, uncorrelated. It has no correlated slopes beside crossed stimuli, no
residual sd by medium, and no further slopes in a time that anyone would wait for.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import statsmodels
from statsmodels.regression.mixed_linear_model import MixedLM


def main():
    rows, described, out = sys.argv[1:]
    table = pd.read_parquet(rows)
    results = []
    for job in json.loads(Path(described).read_text()):
        frame = table[table["job"] == job["job"]].reset_index(drop=True)
        columns = [f"x{place}" for place in range(len(job["columns"]))]
        frame["everyone"] = 1
        start = time.perf_counter()
        model = MixedLM.from_formula(
            f"y ~ 0 + {' + '.join(columns)}",
            frame,
            groups="everyone",
            vc_formula={
                "participant": "0 + C(participant)",
                "participant_valence": "0 + C(participant):valence",
                "stimulus": "0 + C(stimulus)",
            },
        )
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fit = model.fit(reml=True, method=["bfgs", "lbfgs", "cg", "powell"])
        name = columns[job["columns"].index(job["effect"])]
        low, high = fit.conf_int().loc[name]
        results.append({
            **{key: job[key] for key in ("finding", "blend_shape", "effect", "trials_sha256")},
            "estimate": float(fit.params[name]), "se": float(fit.bse[name]), "lower": float(low), "upper": float(high),
            "p": float(fit.pvalues[name]), "converged": bool(fit.converged), "seconds": time.perf_counter() - start,
            "warnings": sorted({str(one.message).split("\n")[0] for one in told}),
        })  # fmt: skip
        print(results[-1], flush=True)
    Path(out).write_text(json.dumps({"statsmodels": statsmodels.__version__, "effects": results}, indent=1))


main()
