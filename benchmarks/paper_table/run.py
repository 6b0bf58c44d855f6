"""The classical column of the paper's table: statsmodels' MixedLM on the study of `mien demo`.

    mien demo --out STUDY
    run.py STUDY PYTHON              PYTHON has statsmodels, which is no dependency of mien

Every model has the columns that mien makes of it. Results go to mien/workflow/paper_classical.json with the hash of the
trials, so that `mien demo` shows them where it made the very same study; docs/paper.md quotes the table.
"""

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from mien.models.fitting import data_sha256, make_problem
from mien.simulation.paper_findings import FINDINGS, rows_of_finding
from mien.study.folder import Study
from mien.workflow.preparing import load_trials

OUT = Path(__file__).parents[2] / "mien" / "workflow" / "paper_classical.json"


def classical(trials, participants, python):
    """MixedLM on the very columns of each model."""
    tables, jobs = [], []
    for finding in FINDINGS:
        mine = rows_of_finding(finding, trials)
        problem, rows, _ = make_problem(finding.model(), mine, participants)
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
                         "columns": columns, "trials_sha256": data_sha256(mine, participants)})  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        data, described, out = (Path(folder) / name for name in ("rows.parquet", "columns.json", "out.json"))
        pd.concat(tables, ignore_index=True).to_parquet(data)
        described.write_text(json.dumps(jobs))
        script = Path(__file__).with_name("classical.py")
        subprocess.run([python, str(script), str(data), str(described), str(out)], check=True)
        return json.loads(out.read_text())


def main():
    study, python = Study(sys.argv[1]), sys.argv[2]
    trials = load_trials(study)
    made = classical(trials, study.participants, python)
    result = {"date": datetime.now(UTC).date().isoformat(), "mien": version("mien"), **made}
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
