"""The paper's table on a simulated study: each finding's posterior beside the truth and a classical estimate.

Models and truth are those of `mien.simulation.paper_findings`. The classical column comes from statsmodels, which is no
dependency: benchmarks/paper_table made it once on the study of `mien demo`, and it is shown where the trials of a
finding are the very same (by their hash), and left empty elsewhere.
"""

import json
from importlib import resources
from typing import Any

import pandas as pd

from mien.models import effects, fit
from mien.models.fitting import data_sha256
from mien.simulation.paper_findings import FINDINGS, SHAPES, paper_truth, rows_of_finding
from mien.study.folder import Study
from mien.workflow.preparing import load_trials

__all__ = ["COLUMNS", "PAPER_TABLE", "load_paper_table", "paper_table"]

PAPER_TABLE = "paper_table.csv"
CLASSICAL = "paper_classical.json"
COLUMNS = (
    "finding", "says", "effect", "blend_shape", "truth", "truth_mc_se", "mean", "eti_lower", "eti_upper", "p_direction",
    "beta_std", "verdict", "classical", "classical_lower", "classical_upper", "trials_sha256",
)  # fmt: skip


def paper_table(study: Study, *, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """One row a finding and shape.

    Parameters
    ----------
    study : prepared, of `mien.simulation.demo_design`, whatever the number of participants.

    Returns
    -------
    DataFrame with `COLUMNS`, in units of the effect; `classical` is missing where the trials are others.
    """
    trials = load_trials(study)
    truth = paper_truth().set_index(["finding", "blend_shape"])
    classical = _classical()
    fitted: dict[str, pd.DataFrame] = {}
    rows = []
    for finding in FINDINGS:
        mine, spec = rows_of_finding(finding, trials), finding.model()
        sha256 = data_sha256(mine, study.participants)
        key = spec.to_json()
        if key not in fitted:
            made = fit(
                spec, mine, participants=study.participants, draws=draws, seed=seed, group_effects=False
            )
            fitted[key] = effects(made).set_index(["effect", "blend_shape"])
        for shape in SHAPES:
            told: Any = fitted[key].loc[(finding.effect, shape)]
            known = truth.loc[(finding.name, shape)]
            row = {name: told[name] for name in COLUMNS if name in told.index}
            row |= {
                "finding": finding.name,
                "says": finding.says,
                "effect": finding.effect,
                "blend_shape": shape,
            }
            row |= {"truth": known["truth"], "truth_mc_se": known["truth_mc_se"], "trials_sha256": sha256}
            rows.append(row | classical.get((finding.name, shape, sha256), {}))
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def load_paper_table(study: Study) -> pd.DataFrame | None:
    """The stored table; None where no demo made one."""
    path = study.derivatives / PAPER_TABLE
    return pd.read_csv(path) if path.is_file() else None


def _classical() -> dict[tuple[str, str, str], dict[str, float]]:
    """(finding, shape, hash of the trials) → estimate and confidence interval."""
    stored = json.loads(resources.files("mien.workflow").joinpath(CLASSICAL).read_text(encoding="utf-8"))
    return {
        (row["finding"], row["blend_shape"], row["trials_sha256"]): {
            "classical": row["estimate"], "classical_lower": row["lower"], "classical_upper": row["upper"],
        }
        for row in stored["effects"]
    }  # fmt: skip
