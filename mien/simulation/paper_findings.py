"""The paper's findings as models of the simulated study, and their truth.

Each finding of the abstract (as far as it is about single shapes) is an effect of one
model. Its truth is the expectation of what a study estimates: whole studies of new persons *and* new stimuli are
simulated and prepared, the model's own columns are made of each (`make_problem`), and the effect is that of least
squares, which has the same expectation in these balanced designs. No prior and no engine goes into it. The
Monte-Carlo error is the sd between studies over the root of their number.

    python -m mien.simulation.paper_findings --studies 20        counts again and rewrites paper_truth.json (minutes)
"""

import argparse
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.data_prep.recipe import Recipe
from mien.models import ModelSpec, first_seconds, task, traits, valence
from mien.models.fitting import make_problem
from mien.simulation.design import Design, demo_design
from mien.simulation.outcome_truth import fingerprint
from mien.simulation.trials import simulate_trials
from mien.simulation.truth import default_truth
from mien.study.files import write_whole

__all__ = ["FINDINGS", "SHAPES", "Finding", "paper_truth", "rows_of_finding", "study_effects"]

SHAPES = ("mouthSmile", "mouthFrown")
STORED = "paper_truth.json"
FIRST_SEED = 50_000  # studies of the truth are none that a demo shows
OVER_TRIALS = (
    "activation ~ valence * center(trial) + (valence | participant) "
    "+ (0 + center(trial) + valence:center(trial) || participant) + (1 | stimulus)"
)


class Finding(NamedTuple):
    """What the abstract reports, the effect that answers to it, and its model.

    says : in words. effect : a coefficient. model : makes the ModelSpec. equal_seconds : whether films are cut to the
    pictures' length.
    """

    name: str
    says: str
    effect: str
    model: Callable[[], ModelSpec]
    equal_seconds: bool = False


def _over_trials() -> ModelSpec:
    return ModelSpec(OVER_TRIALS, name="over-trials")


def _with_traits() -> ModelSpec:
    return traits("empathy_affective", covariates=("age_z", "sex"))


FINDINGS = (
    Finding("valence", "positive stimuli raise smiles and lower frowns", "valence", valence),
    Finding("over trials", "reactions change over time (a trial)", "valence:center(trial)", _over_trials),
    Finding("medium", "films move more than pictures (equal first seconds)", "valence:medium", task, True),
    Finding(
        "ratings", "reactions go with affective-empathy ratings (a point, within persons)",
        "valence:rating_empathy_within", lambda: traits(ratings="rating_empathy"),
    ),
    Finding(
        "questionnaire", "reactions go with an empathy questionnaire (a sd)", "valence:empathy_affective_z",
        _with_traits,
    ),
    Finding("age", "reactions go with age (a sd)", "valence:age_z", _with_traits),
    Finding("sex", "reactions differ by sex (second level − first)", "valence:sex", _with_traits),
)  # fmt: skip


def rows_of_finding(finding: Finding, trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that a finding's model is fitted to, of `SHAPES` alone."""
    rows: Any = trials[trials["blend_shape"].isin(SHAPES)].reset_index(drop=True)
    rows["blend_shape"] = rows["blend_shape"].cat.remove_unused_categories()
    rows.attrs.update(trials.attrs)
    return first_seconds(rows) if finding.equal_seconds else rows


def study_effects(trials: pd.DataFrame, participants: pd.DataFrame) -> np.ndarray:
    """(finding, shape) the effects by least squares on each model's own columns."""
    found = np.empty((len(FINDINGS), len(SHAPES)))
    for row, finding in enumerate(FINDINGS):
        problem, _, _ = make_problem(finding.model(), rows_of_finding(finding, trials), participants)
        for outcome in problem.outcomes:
            coefficients, *_ = np.linalg.lstsq(outcome.design.columns, outcome.response, rcond=None)
            place = outcome.design.coefficients.index(finding.effect)
            found[row, SHAPES.index(outcome.name)] = coefficients[place]
    return found


def paper_truth() -> pd.DataFrame:
    """The stored truth: finding, blend_shape, truth, truth_mc_se (units of the effect), studies."""
    stored = json.loads(resources.files("mien.simulation").joinpath(STORED).read_text(encoding="utf-8"))
    return pd.DataFrame(stored["effects"]).assign(studies=stored["studies"])


def count_paper_truth(design: Design, studies: int, *, workers: int = 1) -> dict[str, Any]:
    """Simulate whole studies and average their effects; plain data for the JSON."""
    every = []
    for number in range(studies):
        made = simulate_trials(design, seed=FIRST_SEED + number, workers=workers)
        every.append(study_effects(made.trials, made.participants))
        print(f"{number + 1} of {studies} studies", flush=True)
    stacked = np.stack(every)
    mean, error = stacked.mean(0), stacked.std(0, ddof=1) / np.sqrt(studies)
    return {
        "studies": studies,
        "participants": design.participants,
        "fingerprint": fingerprint(design, default_truth(), Recipe()),
        "first": [[float(f"{value:.9g}") for value in row] for row in stacked[0]],
        "effects": [
            {"finding": finding.name, "blend_shape": shape, "truth": float(f"{mean[row, column]:.6g}"),
             "truth_mc_se": float(f"{error[row, column]:.6g}")}
            for row, finding in enumerate(FINDINGS)
            for column, shape in enumerate(SHAPES)
        ],
    }  # fmt: skip


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mien.simulation.paper_findings")
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(STORED))
    given = parser.parse_args()
    result = count_paper_truth(demo_design(), given.studies, workers=given.workers)
    write_whole(given.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    _main()
