"""Signing in by OIDC: what `--auth FILE` may say, and who a signed-in visitor is.

The provider says who somebody is; the list of `access.read_roles` says what they may see. An e-mail address counts
where the provider has verified it. Others are known by the provider's own id for them, written `sub:ID`, which no
address looks like. A sign-in counts for twelve hours, since Streamlit's cookie lasts for thirty days.
"""

import os
import time
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from mien.study.errors import StudyError
from mien.study.tables import nearest

__all__ = ["HOURS", "check_installed", "identify", "name_of", "secrets_of"]

HOURS = 12  # a working day; whoever lost the account has lost the study by tomorrow
LATE_S = 300  # seconds by which the provider's clock may be ahead
KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
SHORTEST_SECRET = 32  # characters; 128 bits as hexadecimal digits
CALLBACK = "/oauth2callback"  # where Streamlit answers
LOOPBACK = ("127.0.0.1", "localhost", "::1")
OTHERS = 0o077


def secrets_of(path: Path) -> Mapping[str, Any]:
    """The [auth] of a TOML file, as `server.app_of` takes it.

    Raises
    ------
    StudyError
        For a file that others may read, other keys than KEYS, a weak cookie_secret, or addresses without TLS that
        leave this machine.
    """
    told = _read(path)
    unknown = sorted(set(told) - set(KEYS))
    if unknown:
        raise StudyError(
            f"{path}: expected only {', '.join(KEYS)} in [auth], found {unknown[0]!r}{nearest(unknown[0], KEYS)}."
        )
    for name in KEYS:
        if not isinstance(told.get(name), str) or not told[name].strip():
            raise StudyError(
                f"{path}: expected a text for {name} in [auth], found {'none' if name not in told else 'no text'}."
            )
    if len(told["cookie_secret"]) < SHORTEST_SECRET:
        raise StudyError(
            f"{path}: expected a cookie_secret of {SHORTEST_SECRET} characters or more, found a shorter one: make one "
            'with `python -c "import secrets; print(secrets.token_hex(32))"`.'
        )
    _address(path, "server_metadata_url", told["server_metadata_url"])
    if _address(path, "redirect_uri", told["redirect_uri"]).path != CALLBACK:
        raise StudyError(f"{path}: expected a redirect_uri that ends in {CALLBACK}, found another path.")
    return {"auth": {name: told[name] for name in KEYS}}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise StudyError(f"--auth: expected a file, found none at {path}.")
    if os.name == "posix" and path.stat().st_mode & OTHERS:
        raise StudyError(
            f"{path}: expected a file that only its owner reads, found others may: chmod 600 {path}."
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise StudyError(f"{path}: expected TOML, found {problem}.") from None
    if set(data) != {"auth"} or not isinstance(data["auth"], dict):
        raise StudyError(f"{path}: expected one table [auth] with {', '.join(KEYS)}.")
    return data["auth"]


def _address(path: Path, name: str, text: str) -> SplitResult:
    try:
        found = urlsplit(text)
        safe = found.scheme == "https" or (found.scheme == "http" and found.hostname in LOOPBACK)
        safe = safe and bool(found.hostname) and found.username is None and "{" not in text
    except ValueError:
        found, safe = None, False
    if found is None or not safe:
        raise StudyError(
            f"{path}: expected {name} with https (http on this machine only), found another address: correct it."
        )
    return found


def check_installed() -> None:
    """Say at the start, not at the first sign-in, that Authlib is missing.

    Raises
    ------
    StudyError
    """
    if find_spec("authlib") is None:
        raise StudyError('--auth: expected Authlib, found none: pip install "mien[app]".')


def identify() -> str:
    """Who is signed in on this visit; "" for nobody."""
    import streamlit as st

    return name_of(st.user.to_dict(), time.time())


def name_of(claims: Mapping[str, Any], now: float) -> str:
    """The name for the list of roles; "" for claims that are none of a sign-in of the last HOURS.

    Parameters
    ----------
    claims : of the ID token, whose signature, issuer, audience and nonce were checked. now : seconds since 1970.
    """
    made = claims.get("iat")
    if claims.get("is_logged_in") is not True or isinstance(made, bool) or not isinstance(made, int | float):
        return ""
    if not now - HOURS * 3600 <= made <= now + LATE_S:
        return ""
    email, subject = claims.get("email"), claims.get("sub")
    if claims.get("email_verified") is True and isinstance(email, str) and "@" in email:
        return email.strip()
    return f"sub:{subject}" if isinstance(subject, str) and subject.strip() else ""
