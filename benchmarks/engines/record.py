"""What a benchmark leaves behind: results/<part>.json with date, machine and versions, one entry a piece of work.

A run of single pieces replaces their entries and leaves the others, each with its own date.
"""

import json
import os
import platform
import statistics
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("mien", "numpy", "numba", "pandas", "pymc", "pytensor", "nutpie", "bambi")
R_PACKAGES = ("lme4", "brms", "rstan")


def processor():
    """The model of the processor where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def stamp(*, r=False):
    """Date, machine, load and versions."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if r:
        versions |= r_versions()
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "load_at_end": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def r_versions():
    text = (
        "cat(as.character(getRversion()), basename(normalizePath(extSoftVersion()[['BLAS']])), sep = '\\n');"
    )
    text += "".join(
        f"cat('\\n{name}', tryCatch(as.character(packageVersion('{name}')), error = function(e) '-'));"
        for name in R_PACKAGES
    )
    lines = subprocess.run(["Rscript", "-e", text], capture_output=True, text=True, check=True).stdout
    r, blas, *packages = lines.splitlines()
    return {"R": r, "BLAS of R": blas, **dict(line.split() for line in packages if line)}


def spread(values):
    """Median, quartiles and number of some timings (s)."""
    values = sorted(float(value) for value in values)
    if len(values) < 2:
        return {"median": values[0], "n": 1}
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "quartiles": [low, high], "n": len(values)}


def rounded(value):
    """Four significant digits, in whatever is nested."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def save(part, entries, *, r=False):
    """Print entries, and put them into results/<part>.json unless this run is a quick one."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{part}.json"
    whole = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    mark = stamp(r=r)
    for name, entry in entries.items():
        whole[name] = {**mark, **rounded(entry)}
        print(f"{part} {name}: {json.dumps(rounded(entry))}", flush=True)
    if "MIEN_QUICK" not in os.environ:
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def not_there(part, name, reason):
    print(f"{part} {name}: not there: {reason}", flush=True)
