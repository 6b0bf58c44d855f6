"""A running `mien app` for tests, and a visitor who speaks with it as a browser does, without a browser."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

XSRF = "_streamlit_xsrf"
SECONDS = 60  # on a machine that does much else
# Starts the program as the command line does; when it serves, its settings are written down from inside.
PROGRAM = """
import json, sys, threading, time

def tell():
    import socket
    port = int(sys.argv[sys.argv.index("--port") + 1])
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.05)
    from streamlit import config
    told = {name: one.value for name, one in config.get_config_options().items()}
    print("SETTINGS " + json.dumps(told, default=str), flush=True)

threading.Thread(target=tell, daemon=True).start()
from mien.cli import main
main()
"""


class Server(NamedTuple):
    """port; settings : Streamlit's, by name, as the running server has them."""

    port: int
    settings: dict

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(
    study: Path, *arguments: str, port: int = 0, folder: Path, env: dict | None = None
) -> Iterator[Server]:
    """`mien app` in a folder of its own, until the block ends."""
    port = port or free_port()
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        "app",
        str(study),
        "--port",
        str(port),
        "--headless",
        *arguments,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        **(env or {}),
    }
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield Server(port, _settings(process, log))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _settings(process: subprocess.Popen, log: Path) -> dict:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("SETTINGS {") and line.endswith("}"):
                return json.loads(line.removeprefix("SETTINGS "))
        time.sleep(0.05)
    raise AssertionError(f"mien app did not serve: {log.read_text()[-2000:]}")


class Page(NamedTuple):
    """What a visit got: texts of all elements; ids of buttons by label; where it was sent; pages of the navigation."""

    texts: list[str]
    buttons: dict[str, str]
    sent_to: str
    pages: list[str]

    def says(self, text: str) -> bool:
        return any(text in one for one in self.texts)


def visit(
    server: Server, *, page: str = "", query: str = "", press: str = "", headers: dict | None = None,
    guess: str | None = None,
) -> Page:  # fmt: skip
    """Connect, ask for a page by its address, press a button by its label, and read what comes.

    Parameters
    ----------
    headers : Host, Cookie, Origin and others, as a browser would send them. guess : instead of the token that our own
        page reads from its cookie, as another site would have to.
    """
    given = {"Origin": server.address, **(headers or {})}
    token = get(server, "/_stcore/health").cookies[XSRF]
    cookies = "; ".join(filter(None, [given.pop("Cookie", ""), f"{XSRF}={token}"]))
    host = given.pop("Host", f"localhost:{server.port}")
    told = {**given, "Cookie": cookies}
    origin = told.pop("Origin")
    with connect(
        f"ws://{host}/_stcore/stream", sock=socket.create_connection(("127.0.0.1", server.port)), proxy=None,
        origin=origin, additional_headers=told, subprotocols=["streamlit", token if guess is None else guess],
        max_size=None,
    ) as socket_:  # fmt: skip
        got = _run(socket_, page, query)
        if press:
            got = _run(socket_, page, query, got.buttons[press])
        return got


def _run(socket_, page: str, query: str, pressed: str = "") -> Page:
    message = BackMsg()
    message.rerun_script.page_name = page
    message.rerun_script.query_string = query
    if pressed:
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.trigger_value = pressed, True
    socket_.send(message.SerializeToString())
    got = Page([], {}, "", [])
    while True:
        found = ForwardMsg()
        found.ParseFromString(socket_.recv(timeout=SECONDS))
        kind = found.WhichOneof("type")
        if kind == "script_finished":
            return got
        if kind == "auth_redirect":
            return got._replace(sent_to=found.auth_redirect.url)
        if kind == "navigation":
            got = got._replace(pages=[one.url_pathname for one in found.navigation.app_pages])
        if kind == "delta" and found.delta.WhichOneof("type") == "new_element":
            _add(got, found.delta.new_element)


def _add(got: Page, element) -> None:
    kind = element.WhichOneof("type")
    if kind == "button":
        got.buttons[element.button.label] = element.button.id
    got.texts.append(str(getattr(element, kind)))


def get(server: Server, path: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(server.address + path, headers=headers, timeout=SECONDS, allow_redirects=False)
