"""The study's report, gathered from what the study folder holds and written as one file.

This is the only file of reports_app that reads a study; everything it places is made by the pure functions beside it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mien.models import effects, load, lost_trials
from mien.models.factors.spec import is_factor_fit
from mien.reports_app.attributes import rope_widths
from mien.reports_app.barg import barg
from mien.reports_app.barg_evidence import Evidence, checked_priors
from mien.reports_app.defaults import Decisions
from mien.reports_app.documents import Checklist, study_report
from mien.reports_app.effect_part import family_place
from mien.reports_app.figures.heat_strip import heat_strip_svg
from mien.reports_app.prior_document import barg_counts, barg_rows, prior_document_html, prior_document_pdf
from mien.reports_app.prior_part import PriorPart, prior_part
from mien.simulation.prior_predictive import PriorPredictive
from mien.study.errors import FitError, StudyError
from mien.study.files import write_whole
from mien.study.folder import Study
from mien.study.labels import RecordingId
from mien.study.tables import nearest
from mien.workflow.checking import quality_of, require_complete
from mien.workflow.fitting import newest_fits
from mien.workflow.importing import quality_path
from mien.workflow.paper_table import load_paper_table
from mien.workflow.preparing import load_prep, load_trials
from mien.workflow.prior_checks import stored_check, stored_sensitivity

__all__ = ["MARKER", "PICTURES", "strips_of", "write_prior_report", "write_study_report"]

THUMBNAIL = ".thumbnail.svg"
MARKER = ".mien-demo"  # what `mien demo` leaves in its study
PICTURED = 1  # fits whose priors the study's report shows with pictures
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
    told = _Told.of(study)
    quality = [quality_of(study, recording_id) for recording_id in study.recordings()]
    items = barg_rows(barg(told.evidence))
    document = study_report(
        study.name,
        effects=told.evidence.effects,
        fits=told.evidence.fits,
        prep=prep,
        quality=quality,
        participants=study.participants,
        stimuli=study.stimuli,
        strips=strips_of(study, study.recordings()),
        lost=_lost(study, told.evidence.fits),
        paper=load_paper_table(study),
        priors=told.parts(pictured=PICTURED),
        checklist=Checklist(items, barg_counts(items)),
        decisions=told.evidence.decisions,
        note=note or _note(study),
    )
    path = out or study.derivatives / "reports" / "report.html"
    write_whole(path, document)
    return path


def write_prior_report(study: Study, out: Path | None = None, *, kind: str = "html") -> Path:
    """Write what the study's newest fits assumed, why, and whether it mattered, as HTML or PDF; returns its path.

    Raises
    ------
    StudyError
        When the study has no fit, or for another format.
    """
    makers = {"html": prior_document_html, "pdf": prior_document_pdf}
    if kind not in makers:
        raise StudyError(
            f"format: expected one of {', '.join(makers)}, found {kind!r}{nearest(kind, list(makers))}."
        )
    told = _Told.of(study)
    document = makers[kind](told.parts(), barg(told.evidence), study.name, note=_note(study))
    path = out or study.derivatives / "reports" / f"priors.{kind}"
    write_whole(path, document)
    return path


def _note(study: Study) -> str:
    return SIMULATED if (study.path / MARKER).exists() else ""


class _Told(NamedTuple):
    """The newest fits with what is stored about their priors: checks before the data, sensitivities after them."""

    evidence: Evidence
    checks: Mapping[str, PriorPredictive]

    @staticmethod
    def of(study: Study) -> "_Told":
        paths = newest_fits(study)
        if not paths:
            raise StudyError(
                f"{study.derivatives / 'fits'}: expected a fit, found none: run `mien fit "
                f"{study.path} --model valence`."
            )
        fits = {name: load(path) for name, path in paths.items()}
        decisions = Decisions.from_mapping(study.settings.get("decisions", {}))
        known = {
            name: effects(fit, rope=rope_widths(fit, decisions.rope))
            for name, fit in fits.items()
            if not is_factor_fit(fit)
        }
        hashes = {name: str(fit.attrs.get("priors_sha256", "")) for name, fit in fits.items()}
        made = {name: stored_check(study, name, fit) for name, fit in fits.items()}
        checks = {name: one for name, one in made.items() if one is not None}
        computed = [stored_sensitivity(path, name) for name, path in paths.items()]
        sensitivities = [one for one in computed if one is not None]
        widths = {one.name: one.widths for one in sensitivities if len(one.widths)}
        evidence = Evidence(
            fits, known, {name: checked_priors(hashes[name], one) for name, one in checks.items()},
            {one.name: one.scaling for one in sensitivities}, widths,
            bayes_factors=any(one["bayes_factor"].notna().any() for one in widths.values()),
            decisions=decisions, statements=study.settings.get("barg", {}),
        )  # fmt: skip
        return _Told(evidence, checks)

    def parts(self, *, pictured: int | None = None) -> list[PriorPart]:
        """The priors of every fit, main ones first; pictures for the first `pictured`, None for all."""
        names = sorted(self.evidence.fits, key=family_place)
        return [
            prior_part(
                name, self.evidence.fits[name], predictive=self.checks.get(name),
                scaling=self.evidence.scaling.get(name), widths=self.evidence.widths.get(name),
                decisions=self.evidence.decisions, full=pictured is None or number < pictured,
            )
            for number, name in enumerate(names)
        ]  # fmt: skip


def _lost(study: Study, fits: Mapping[str, Any]) -> pd.DataFrame | None:
    """How far lost trials could move the valence effects, where that fit is of the trials that are stored now."""
    main = fits.get("valence")
    if main is None or main.attrs.get("recipe_sha256") != load_prep(study)["recipe_sha256"]:
        return None
    try:
        return lost_trials(main, load_trials(study), study.participants)
    except FitError:  # a likelihood or residuals for which this is not worked out
        return None


def strips_of(study: Study, recordings: Sequence[RecordingId]) -> dict[str, str]:
    """The small strip of each recording, by the source of its quality report; drawn where import left none."""
    strips = {}
    for recording_id in recordings:
        report = quality_path(study, recording_id)
        stored = report.with_name(report.stem + THUMBNAIL)
        if not stored.exists():
            write_whole(stored, PICTURES[THUMBNAIL](study.recording(recording_id), label=str(recording_id)))
        strips[report.stem] = stored.read_text(encoding="utf-8")
    return strips
