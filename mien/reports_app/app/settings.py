"""What the running app was told when it was started; one for the process, which serves one study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mien.study.errors import StudyError

__all__ = ["Settings", "configure", "settings"]


def _nobody() -> str:
    return ""


@dataclass(frozen=True)
class Settings:
    """Of one app.

    Parameters
    ----------
    study : its folder.
    roles : who may see what, name → role (`access.ROLES`); where nobody signs in it is empty.
    sign_in : whether people sign in; without it this machine's user sees everything.
    identify : the name of who is signed in, as the provider has verified it; "" for nobody.
    """

    study: Path
    roles: Mapping[str, str] = field(default_factory=dict)
    sign_in: bool = False
    identify: Callable[[], str] = _nobody


_told: list[Settings] = []


def configure(given: Settings) -> None:
    """Tell it, once, before the first page."""
    _told[:] = [given]


def settings() -> Settings:
    """What was told.

    Raises
    ------
    StudyError
        Where the script was started in another way than by `mien app`.
    """
    if not _told:
        raise StudyError("app: expected to be started by mien app STUDY, found no study: start it so.")
    return _told[0]
