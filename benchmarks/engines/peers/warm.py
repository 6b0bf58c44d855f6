"""A warm process in another language: one line in, one line of JSON out."""

import json
import shutil
import subprocess
from pathlib import Path

from fits import NotThereError

HERE = Path(__file__).parent


def r_command(script, package, *arguments):
    """The command of an R script here, where R and its package are installed."""
    if shutil.which("Rscript") is None:
        raise NotThereError("R is not installed: benchmarks/engines/install-peers")
    test = f"quit(status = !requireNamespace('{package}', quietly = TRUE))"
    if subprocess.run(["Rscript", "-e", test], capture_output=True, check=False).returncode:
        raise NotThereError(f"R has no {package}: benchmarks/engines/install-peers")
    return ["Rscript", str(HERE / script), *map(str, arguments)]


class WarmProcess:
    """Started once, asked many times."""

    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def read(self):
        """The next line of JSON; other lines ("ready", a compiler's) are passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def ask(self, line):
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
