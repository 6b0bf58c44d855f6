"""The paper's findings on the demo's study: simulated truth, posterior, and statsmodels' MixedLM, side by side.

    run.py [--classical PYTHON]      PYTHON has statsmodels; without it the stored classical column is kept

The study is that of `mien demo` with its defaults (32 persons, seed 0). Results: results.json; docs/paper.md
quotes them.
"""

import argparse
import json
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from mien.models import effects, fit
from mien.models.fitting import make_problem
from mien.simulation.design import demo_design
from mien.simulation.paper_findings import FINDINGS, paper_truth, rows_of_finding
from mien.simulation.trials import simulate_trials

OUT = Path(__file__).with_name("results.json")
KEPT = ("mean", "sd", "eti_lower", "eti_upper", "p_direction", "beta_std", "verdict")


def classical(study, python):
    """MixedLM on the very columns of each model."""
    tables, jobs = [], []
    for finding in FINDINGS:
        problem, rows, _ = make_problem(
            finding.model(), rows_of_finding(finding, study.trials), study.participants
        )
        for outcome, at in zip(problem.outcomes, rows.at, strict=True):
            job = f"{finding.name} {outcome.name}"
            columns = list(outcome.design.coefficients)
            table = pd.DataFrame(
                outcome.design.columns, columns=[f"x{place}" for place in range(len(columns))]
            )
            table = table.assign(
                y=outcome.response, job=job, valence=outcome.design.columns[:, columns.index("valence")],
                participant=rows.frame["participant"].astype("str").to_numpy()[at],
                stimulus=rows.frame["stimulus"].astype("str").to_numpy()[at],
            )  # fmt: skip
            tables.append(table)
            jobs.append({"job": job, "finding": finding.name, "blend_shape": outcome.name, "effect": finding.effect,
                         "columns": columns})  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        data, described, out = (Path(folder) / name for name in ("rows.parquet", "columns.json", "out.json"))
        pd.concat(tables, ignore_index=True).to_parquet(data)
        described.write_text(json.dumps(jobs))
        script = Path(__file__).with_name("classical.py")
        subprocess.run([python, str(script), str(data), str(described), str(out)], check=True)
        return json.loads(out.read_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--classical", default="")
    given = parser.parse_args()
    study = simulate_trials(demo_design(), seed=0)
    truth = paper_truth().set_index(["finding", "blend_shape"])
    rows, known = [], {}
    for finding in FINDINGS:
        spec = finding.model()
        key = (spec.to_json(), finding.equal_seconds)
        if key not in known:
            made = fit(spec, rows_of_finding(finding, study.trials), participants=study.participants)
            known[key] = effects(made)
        table = known[key]
        for row in table[table["effect"] == finding.effect].to_dict("records"):
            at = (finding.name, row["blend_shape"])
            rows.append({
                "finding": finding.name, "says": finding.says, "effect": finding.effect, "blend_shape": at[1],
                "formula": spec.formula, "truth": truth.loc[at, "truth"], "truth_mc_se": truth.loc[at, "truth_mc_se"],
                **{name: row[name] for name in KEPT},
            })  # fmt: skip
    stored = json.loads(OUT.read_text()) if OUT.exists() else {}
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "mien": version("mien"),
        "posterior": rows,
        "classical": classical(study, given.classical) if given.classical else stored.get("classical", {}),
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
