"""The server of `mien app`: one study, this machine, and every setting that makes it safe, none left to a file.

Streamlit takes settings from files and the environment too; those given here win. Every answer carries headers that
let the page load nothing from elsewhere and be framed by nobody.
"""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from mien.reports_app.app.settings import Settings, configure

if TYPE_CHECKING:
    from streamlit.starlette import App

__all__ = ["ADDRESS", "HEADERS", "HOSTS", "SCRIPT", "UPLOAD_MB", "app_of", "options", "policy", "serve"]

ADDRESS = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")
UPLOAD_MB = 50  # a recording of an hour as CSV has some tens of megabytes
SCRIPT = Path(__file__).with_name("main.py")
POLICY = (
    "default-src 'self'; script-src 'self' blob: 'wasm-unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
HEADERS: Mapping[str, str] = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LIGHT: Mapping[str, str] = {
    "primaryColor": "#1f5f99", "backgroundColor": "#ffffff", "secondaryBackgroundColor": "#f3f5f6",
    "textColor": "#21262b", "linkColor": "#1f5f99", "borderColor": "#c9ced2",
}  # fmt: skip
DARK: Mapping[str, str] = {
    "primaryColor": "#8cc0ef", "backgroundColor": "#15191d", "secondaryBackgroundColor": "#20262b",
    "textColor": "#e7eaec", "linkColor": "#9ccaf3", "borderColor": "#4a535b",
}  # fmt: skip


def options(port: int, *, headless: bool = True, hosts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Streamlit's settings, by name.

    Parameters
    ----------
    hosts : further names under which a reverse proxy asks.
    """
    return {
        "server.address": ADDRESS,
        "server.port": port,
        "server.headless": headless,
        "server.allowedHosts": [*HOSTS, *hosts],
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.xsrfCookieSameSite": "strict",
        "server.maxUploadSize": UPLOAD_MB,
        "server.enableStaticServing": False,
        "server.trustedUserHeaders": {},  # nobody is who a header says
        "server.corsAllowedOrigins": [],
        "server.unsafeMetricsUserAttributes": [],
        "server.scriptHealthCheckEnabled": False,
        "server.baseUrlPath": "",
        "server.customComponentBaseUrlPath": "",
        "client.allowedOrigins": [],  # pages that could speak with ours from around it
        "server.enableAgentApi": False,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.showEmailPrompt": False,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "viewer",
        "client.disableDataExport": True,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": "localhost",
        "runner.magicEnabled": False,
        "global.developmentMode": False,
        "theme.font": "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif",
        **{f"theme.light.{name}": value for name, value in LIGHT.items()},
        **{f"theme.dark.{name}": value for name, value in DARK.items()},
    }


def policy() -> str:
    """The Content-Security-Policy: scripts of this server, and those that stand in Streamlit's own page, by hash."""
    import streamlit

    page = Path(streamlit.__file__).with_name("static").joinpath("index.html").read_text(encoding="utf-8")
    digests = (hashlib.sha256(text.encode()).digest() for text in INLINE.findall(page))
    hashes = (f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return POLICY.format(scripts=" ".join(hashes))


class _Headers:
    """ASGI middleware: HEADERS and the policy on every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app
        told = {**HEADERS, "Content-Security-Policy": policy()}
        self.ours = {name.lower().encode(): value.encode() for name, value in told.items()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].lower() not in self.ours]
                message = {**message, "headers": [*kept, *self.ours.items()]}
            await send(message)

        await self.app(scope, receive, with_headers)


class _SameOrigin:
    """ASGI middleware: refuses what a page of another site, or of another port of this machine, asks for.

    Cookies know no ports, and Streamlit takes any port of localhost; a connection without an origin is no browser's.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan" or _same_origin(dict(scope["headers"]), needed=kind == "websocket"):
            await self.app(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send(
                {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]}
            )
            await send({"type": "http.response.body", "body": b"Another site asks."})


def _same_origin(headers: Mapping[bytes, bytes], *, needed: bool) -> bool:
    origin = headers.get(b"origin")
    if origin is None:
        return not needed
    return origin.partition(b"://")[2].lower() == headers.get(b"host", b"").lower()


def app_of(
    told: Settings, *, hosts: tuple[str, ...] = (), secrets: Mapping[str, Any] | None = None
) -> "App":  # fmt: skip
    """The app, not yet running.

    Parameters
    ----------
    hosts : further names under which a reverse proxy asks. secrets : for signing in, as Streamlit's [auth].
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from streamlit.starlette import App

    configure(told)
    # Streamlit compares the name only where a page connects, not where files and pages are handed out.
    named = Middleware(TrustedHostMiddleware, allowed_hosts=[*HOSTS, *hosts], www_redirect=False)
    return App(
        SCRIPT,
        middleware=[Middleware(_Headers), named, Middleware(_SameOrigin)],
        secrets=secrets,
        lifespan=_warmed,
    )


@asynccontextmanager
async def _warmed(_app: Any) -> AsyncIterator[None]:
    """While it serves: first, beside it, what pages need is imported and made."""
    from mien.reports_app.app.warming import warm

    Thread(target=warm, name="warming", daemon=True).start()
    yield


def serve(
    told: Settings, *, port: int, headless: bool, hosts: tuple[str, ...] = (), secrets: Mapping[str, Any] | None = None
) -> None:  # fmt: skip
    """Run until it is stopped."""
    app_of(told, hosts=hosts, secrets=secrets).run(config=options(port, headless=headless, hosts=hosts))
