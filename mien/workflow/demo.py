"""The demo: a paper-like study simulated as raw recordings, then the whole job on it, beside the truth.

The truth of an effect is the expectation of the same prepared outcome, counted from thousands of simulated persons,
with its Monte-Carlo error; nothing of the model went into it.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.simulation.design import Design, demo_design, quick_design
from mien.simulation.outcome_truth import outcome_truth
from mien.simulation.study import write_raw_study
from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.workflow.fitting import CO_ACTIVATION, FactorChoice, FamilyChoice, StudyFit, fit_study
from mien.workflow.importing import Pictures, import_recordings
from mien.workflow.paper_table import PAPER_TABLE, paper_table
from mien.workflow.parallel import Progress, available_cores
from mien.workflow.preparing import prepare_and_store
from mien.workflow.prior_checks import check_study_priors, study_sensitivity
from mien.workflow.sessions import read_sessions
from mien.workflow.templates import new_study

__all__ = ["DemoResult", "beside_truth", "run_demo"]

MARKER = ".mien-demo"
QUICK_SHAPES = (
    "mouthSmile", "mouthFrown", "cheekSquint", "browDown", "browInnerUp", "eyeSquint", "mouthPress", "jawOpen",
)  # fmt: skip
TRAIT = "empathy_affective"
FACTORS = (2, 3, 4)  # numbers compared, by trials left out
COURSE_SHAPES = ("mouthSmile", "mouthFrown")  # a course takes as long as the other fits of ten shapes


class DemoResult(NamedTuple):
    """What the demo made: the study, its valence fit, each shape's effect beside the truth, and all fits."""

    study: Study
    fit: StudyFit
    comparison: pd.DataFrame
    fits: tuple[StudyFit, ...]


def run_demo(
    out: Path,
    *,
    participants: int | None = None,
    seed: int = 0,
    quick: bool = False,
    pictures: Pictures | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Simulate → import → prepare → fit, and check the priors of the main fit, into the study folder `out`.

    Raises
    ------
    StudyError
        When `out` holds anything that no demo made.
    """
    design = quick_design(participants or 8) if quick else demo_design(participants or 32)
    workers = available_cores()
    study = _fresh_study(out)
    with tempfile.TemporaryDirectory(prefix=".mien-demo-", dir=out.resolve().parent) as name:
        raw = Path(name) / "raw"
        write_raw_study(raw, design, seed=seed, progress=progress, workers=workers)
        for table in ("participants", "stimuli"):
            folder = study.path / ("stimuli" if table == "stimuli" else "")
            shutil.copyfile(raw / f"{table}.tsv", folder / f"{table}.tsv")
            shutil.copyfile(raw / f"{table}.json", folder / f"{table}.json")
        requests = read_sessions(raw / "sessions.tsv")
        import_recordings(study.path, requests, pictures=pictures, workers=workers, progress=progress)
    study.refresh()
    prepare_and_store(study, workers=workers, progress=progress)
    fits = _fits(study, seed, quick=quick, progress=progress)
    check_study_priors(study, "valence", seed=seed, progress=progress)
    study_sensitivity(study, "valence", refit=False, progress=progress)  # by weights alone
    if not quick:
        write_whole(study.derivatives / PAPER_TABLE, paper_table(study, seed=seed).to_csv(index=False))
    return DemoResult(study, fits[0], beside_truth(fits[0].effects, design), fits)


def _fits(study: Study, seed: int, *, quick: bool, progress: Progress | None) -> tuple[StudyFit, ...]:
    """Valence pooled over shapes, task over equal first seconds, a trait, a course where it is not quick, factors."""
    common: dict[str, Any] = {"shapes": QUICK_SHAPES if quick else (), "seed": seed, "progress": progress}
    fits = [
        fit_study(study, "valence", pooling="partial", **common),
        fit_study(study, "task", **common),
        fit_study(study, "traits", choice=FamilyChoice(traits=(TRAIT,)), **common),
    ]
    if not quick:
        fits.append(fit_study(study, "time", **{**common, "shapes": COURSE_SHAPES}))
    together = FactorChoice((2,), between=1) if quick else FactorChoice(FACTORS, folds=0)
    return (*fits, fit_study(study, CO_ACTIVATION, factors=together, **common))


def _fresh_study(out: Path) -> Study:
    """An empty study; a folder that an earlier demo made is overwritten, any other is refused."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / MARKER).is_file():
            raise StudyError(
                f"{out}: expected a new folder or one that `mien demo` made, found another one: choose another --out."
            )
        shutil.rmtree(out)
    study = new_study(out, name="A simulated study")
    write_whole(out / MARKER, "made by `mien demo`, which may overwrite this folder\n")
    write_whole(out / ".bidsignore", f"mien.toml\n{MARKER}\n")
    return study


def beside_truth(effects: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The valence effects with the truth of each shape, largest true effect first.

    Returns
    -------
    blend_shape, truth, truth_mc_se, mean, eti_lower, eti_upper (coefficient units), covered (bool).
    """
    truth = outcome_truth(design)
    rows = effects[effects["effect"] == "valence"].set_index("blend_shape")
    both = rows[["mean", "eti_lower", "eti_upper"]].join(truth[["contrast", "mc_se"]], how="inner")
    both = both.rename(columns={"contrast": "truth", "mc_se": "truth_mc_se"})
    both["covered"] = both["truth"].between(both["eti_lower"], both["eti_upper"])
    order = both.index[np.argsort(-both["truth"].abs().to_numpy(), kind="stable")]
    columns = ["truth", "truth_mc_se", "mean", "eti_lower", "eti_upper", "covered"]
    return both.loc[order, columns].reset_index()
