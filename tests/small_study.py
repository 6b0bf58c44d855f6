"""A small simulated study as a folder: recorded, imported, prepared, fitted. It takes seconds."""

from pathlib import Path

from mien.simulation.design import Design
from mien.simulation.study import write_raw_study
from mien.study.folder import Study
from mien.workflow.fitting import fit_study
from mien.workflow.importing import import_recordings
from mien.workflow.preparing import prepare_and_store
from mien.workflow.sessions import read_sessions
from mien.workflow.templates import new_study

__all__ = ["make_small_study"]

SHAPES = ("mouthSmile", "mouthFrown")


def make_small_study(
    folder: Path, *, models: tuple[str, ...] = ("valence",), shapes: tuple[str, ...] = SHAPES
) -> Study:
    """Raw takes in folder/raw, the study in folder/demo-study."""
    design = Design(participants=6, pictures_per_valence=6, films_per_valence=2, picture_s=3.0, film_s=4.0)
    write_raw_study(folder / "raw", design, seed=1, workers=1)
    study = new_study(folder / "demo-study")
    for name in ("participants.tsv", "stimuli.tsv"):
        target = study.path / ("stimuli" if name == "stimuli.tsv" else "") / name
        target.write_bytes((folder / "raw" / name).read_bytes())
    import_recordings(study.path, read_sessions(folder / "raw" / "sessions.tsv"))
    study = Study(study.path)
    prepare_and_store(study)
    for model in models:
        fit_study(study, model, shapes=shapes, draws=300)
    return study
