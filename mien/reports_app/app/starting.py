"""From the command line to the running server: what is missing is said before anything starts."""

import socket
import sys
from pathlib import Path

from mien.reports_app.app.access import read_roles
from mien.reports_app.app.settings import Settings
from mien.study.errors import StudyError
from mien.study.folder import Study

__all__ = ["start"]

INTERRUPTED = 130


def start(study: Study, *, port: int, headless: bool, roles: Path | None, hosts: tuple[str, ...]) -> int:
    """Serve until it is stopped; returns the exit code.

    Raises
    ------
    StudyError
        Without the extra, or for a port that is taken.
    """
    try:
        import streamlit  # noqa: F401
    except ModuleNotFoundError:
        raise StudyError('app: expected streamlit, found none: pip install "mien[app]".') from None
    from mien.reports_app.app.server import ADDRESS, serve

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if probe.connect_ex((ADDRESS, port)) == 0:
            raise StudyError(f"--port: expected a free port, found {port} taken: choose another.")
    told = Settings(study.path.resolve(), read_roles(roles) if roles else {}, sign_in=roles is not None)
    sys.stdout.write(f"http://{ADDRESS}:{port}\n")
    sys.stdout.flush()
    serve(told, port=port, headless=headless, hosts=hosts)
    return 0
