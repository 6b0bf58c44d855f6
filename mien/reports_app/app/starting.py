"""From the command line to the running server: what is missing is said before anything starts."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mien.reports_app.app.access import read_roles
from mien.reports_app.app.settings import Settings
from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.study.private_columns import refuse_private

__all__ = ["start"]

INTERRUPTED = 130


def start(
    study: Study, *, port: int, headless: bool, roles: Path | None, auth: Path | None, hosts: tuple[str, ...]
) -> int:  # fmt: skip
    """Serve until it is stopped; returns the exit code.

    Parameters
    ----------
    roles : who may see what. auth : how they sign in. hosts : further names, of a reverse proxy.

    Raises
    ------
    StudyError
        Without the extra, for a port that is taken, people's names in the study, or half of what signing in needs.
    """
    try:
        import streamlit  # noqa: F401
    except ModuleNotFoundError:
        raise StudyError('app: expected streamlit, found none: pip install "mien[app]".') from None
    from mien.reports_app.app.server import ADDRESS, serve
    from mien.reports_app.app.signing import identify

    table = study.path / "participants.tsv"
    if table.exists():
        refuse_private(study.participants, where=table)
    secrets = _signing(roles, auth, hosts)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if probe.connect_ex((ADDRESS, port)) == 0:
            raise StudyError(f"--port: expected a free port, found {port} taken: choose another.")
    listed = read_roles(roles) if roles else {}
    told = Settings(study.path.resolve(), listed, sign_in=auth is not None, identify=identify)
    sys.stdout.write(f"http://{ADDRESS}:{port}\n")
    sys.stdout.flush()
    serve(told, port=port, headless=headless, hosts=hosts, secrets=secrets)
    return 0


def _signing(roles: Path | None, auth: Path | None, hosts: tuple[str, ...]) -> Mapping[str, Any] | None:
    """What the provider's file says; None where only this machine's user looks."""
    from mien.reports_app.app.server import HOSTS
    from mien.reports_app.app.signing import check_installed, secrets_of

    if (roles is None) != (auth is None):
        given, missing = ("--roles", "--auth") if auth is None else ("--auth", "--roles")
        raise StudyError(
            f"app: expected --auth and --roles together, found only {given}: give {missing} too."
        )
    if auth is None:
        if hosts:
            raise StudyError(
                "--host: expected --auth and --roles, found none: who comes from elsewhere signs in."
            )
        return None
    secrets = secrets_of(auth)
    check_installed()
    name = urlsplit(secrets["auth"]["redirect_uri"]).hostname
    if name not in (*HOSTS, *hosts):
        raise StudyError(
            f"{auth}: expected a redirect_uri under a name of this app, found {name}: add --host {name}."
        )
    return secrets
