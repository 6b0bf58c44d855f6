"""The errors that users see.

Every message says three things: what was expected, what was found and where, and what to do.
The command line turns a `MienError` into that one message and exit code 2.
"""

__all__ = ["FitError", "MienError", "RecordingError", "SpecError", "StudyError", "TrialsError"]


class MienError(Exception):
    """Bad input or usage, told in one message."""


class RecordingError(MienError):
    """A recording, or a file that should be one."""


class StudyError(MienError):
    """The study folder and its tables: participants, stimuli, events."""


class TrialsError(MienError):
    """A table of trials."""


class SpecError(MienError):
    """A formula, model specification, recipe or prior."""


class FitError(MienError):
    """A fit that could not be made, or a stored fit that cannot be read."""
