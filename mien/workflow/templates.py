"""An empty study with templates and comments: what a laboratory fills in before its first import."""

from pathlib import Path

from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.folder import Study

__all__ = ["new_study"]

SETTINGS = """\
# mien.toml: decisions of this study. Everything here is optional; remove the # to use a line.

# How recordings become trials (every key and its default: docs/recipes.md).
# [recipe]
# window = {picture = [0, "end"], film = [0, "end"]}   # s from onset; "end" is the stimulus' own end
# baseline = [-1, 0]                                    # s before onset
# baseline_correction = "subtract"                      # or "none", "neutral"
# bin = 0.5                                             # s
# sides = "mean"                                        # or "both", "asymmetry"

# Limits and words of the reports (docs/reports.md). They are conventions without clinical validation.
# [decisions]
# rope = 0.1          # half-width of "practically none", residual sds of a trial
# clearly = 0.99      # least probability for the word
# probably = 0.95
# signs = 0.8

# How a PsychoPy CSV becomes events: column names of that file.
# [psychopy]
# onset = "image.started"            # rows without an onset are not trials
# duration = "image_duration"        # a column, or seconds; left out: as in stimuli.tsv
# stimulus_id = "image_file"         # "stimuli/happy_03.jpg" becomes happy_03
# columns = {rating_empathy = "slider.response", condition = "block"}
"""

PARTICIPANTS = "participant_id\tage\tsex\tgroup\n"
STIMULI = "stimulus_id\tvalence\tmedium\tduration\n"

NEXT_STEPS = """\

## Next steps

1. Fill in `stimuli/stimuli.tsv`: one row a stimulus; valence is negative, neutral or positive, medium is picture or
   film, duration is in seconds.
2. Import the recordings: `mien import TAKE --study THIS_FOLDER --participant 01 --task met --events events.tsv`,
   or all of them with `mien import --sessions sessions.tsv --study THIS_FOLDER` (columns source, participant, session,
   task, run, events, clock). `participants.tsv` gets a row for each person; fill in age, sex, group and trait scores.
3. `mien align`, `mien check`, `mien prep`, `mien fit --model valence`, `mien report`.
"""


def new_study(path: Path | str, *, name: str = "") -> Study:
    """Make an empty study at `path`.

    Raises
    ------
    StudyError
        When there is a study, or anything else, at `path` already.
    """
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(
            f"{folder}: expected a new name or an empty folder, found something there: choose another name."
        )
    study = Study.create(folder, name=name)
    readme = folder / "README.md"
    write_whole(readme, readme.read_text(encoding="utf-8") + NEXT_STEPS)
    write_whole(folder / "mien.toml", SETTINGS)
    write_whole(folder / "participants.tsv", PARTICIPANTS)
    write_whole(folder / "stimuli" / "stimuli.tsv", STIMULI)
    return study
