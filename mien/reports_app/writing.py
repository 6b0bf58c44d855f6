"""The study's report, gathered from what the study folder holds and written as one file.

This is the only file of reports_app that reads a study; everything it places is made by the pure functions beside it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mien.models import effects, load, lost_trials
from mien.models.factors.spec import is_factor_fit
from mien.reports_app.attributes import rope_widths
from mien.reports_app.defaults import Decisions
from mien.reports_app.documents import study_report
from mien.reports_app.figures.heat_strip import heat_strip_svg
from mien.study.errors import FitError, StudyError
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.workflow.checking import quality_of, require_complete
from mien.workflow.fitting import newest_fits
from mien.workflow.importing import quality_path
from mien.workflow.paper_table import load_paper_table
from mien.workflow.preparing import load_prep, load_trials

__all__ = ["PICTURES", "write_study_report"]

THUMBNAIL = ".thumbnail.svg"
MARKER = ".mien-demo"  # what `mien demo` leaves in its study
SIMULATED = "This study is simulated: no person was recorded."
# What import draws of each recording: the strip to look at, and the small one that the report shows.
PICTURES = {".svg": heat_strip_svg, THUMBNAIL: partial(heat_strip_svg, axes=False, columns=150)}


def write_study_report(study: Study, out: Path | None = None, *, note: str = "") -> Path:
    """Write the report of a study's newest fits; returns its path.

    Raises
    ------
    StudyError
        When the study is incomplete, not prepared, or has no fit.
    """
    require_complete(study)
    prep = load_prep(study)
    paths = newest_fits(study)
    if not paths:
        raise StudyError(
            f"{study.derivatives / 'fits'}: expected a fit, found none: run `mien fit {study.path} --model valence`."
        )
    fits = {name: load(path) for name, path in paths.items()}
    quality = [quality_of(study, recording_id) for recording_id in study.recordings()]
    decisions = Decisions.from_mapping(study.settings.get("decisions", {}))
    document = study_report(
        study.name,
        effects={
            name: effects(fit, rope=rope_widths(fit, decisions.rope))
            for name, fit in fits.items()
            if not is_factor_fit(fit)
        },
        fits=fits,
        prep=prep,
        quality=quality,
        participants=study.participants,
        stimuli=study.stimuli,
        strips=_strips(study),
        lost=_lost(study, fits),
        paper=load_paper_table(study),
        decisions=decisions,
        note=note or (SIMULATED if (study.path / MARKER).exists() else ""),
    )
    path = out or study.derivatives / "reports" / "report.html"
    write_whole(path, document)
    return path


def _lost(study: Study, fits: Mapping[str, Any]) -> pd.DataFrame | None:
    """How far lost trials could move the valence effects, where that fit is of the trials that are stored now."""
    main = fits.get("valence")
    if main is None or main.attrs.get("recipe_sha256") != load_prep(study)["recipe_sha256"]:
        return None
    try:
        return lost_trials(main, load_trials(study), study.participants)
    except FitError:  # a likelihood or residuals for which this is not worked out
        return None


def _strips(study: Study) -> dict[str, str]:
    """The small strip of each recording, by the source of its quality report; drawn where import left none."""
    strips = {}
    for recording_id in study.recordings():
        report = quality_path(study, recording_id)
        stored = report.with_name(report.stem + THUMBNAIL)
        if not stored.exists():
            write_whole(stored, PICTURES[THUMBNAIL](study.recording(recording_id), label=str(recording_id)))
        strips[report.stem] = stored.read_text(encoding="utf-8")
    return strips
