"""What is older than what it was made from: a preparation than recordings, events or recipe, a fit than the trials."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mien.study.folder import Study
from mien.workflow.preparing import load_prep, recipe_of

__all__ = ["stale_fit", "stale_preparation"]

TABLES = ("participants.tsv", "stimuli/stimuli.tsv")


def stale_preparation(study: Study) -> list[str]:
    """Why the prepared trials are not those of the study as it is now; nothing where they are."""
    prep, made = load_prep(study), (study.derivatives / "prep.json").stat().st_mtime
    reasons = [] if recipe_of(study).sha256 == prep["recipe_sha256"] else ["The recipe was changed."]
    newer = [path for path in _sources(study) if path.stat().st_mtime > made]
    if newer:
        named = ", ".join(path.name for path in newer[:3]) + (
            f" and {len(newer) - 3} more" if newer[3:] else ""
        )
        reasons.append(f"Changed or added since: {named}.")
    return reasons


def _sources(study: Study) -> Iterator[Path]:
    yield from (study.path / name for name in TABLES if (study.path / name).exists())
    for pattern in ("*_motion.tsv", "*_events.tsv"):
        yield from sorted(study.path.glob(f"sub-*/**/motion/{pattern}"))


def stale_fit(described: Mapping[str, Any], prep: Mapping[str, Any]) -> list[str]:
    """Why a fit is not one of the trials that are stored now.

    Parameters
    ----------
    described : its fit.json. prep : prep.json.
    """
    if described.get("recipe_sha256") != prep["recipe_sha256"]:
        return ["The trials have been prepared by another recipe since."]
    now = prep.get("trials_sha256", "")
    if described.get("trials_sha256", now) == now:
        return []
    return ["The trials have been prepared anew since, and are others."]
