"""`mien import` and `mien prep` against pandas.read_csv on the same files, in as many processes.

    python benchmarks/prep_and_import.py [--recordings 32] [--minutes 15] [--repeats 3]

Makes the recordings once in a temporary folder. Every figure is a whole process, imports included. Peak memory is the
largest sum of proportional memory (Pss) of the process and its workers, sampled every 50 ms.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

PROCESSES = 2
READ = """
import sys
from concurrent.futures import ProcessPoolExecutor
import pandas as pd

def read(path):
    return len(pd.read_csv(path, **KEYWORDS))

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(read, sys.argv[1:]))
"""


def make_study(folder, recordings, minutes):
    from mien.capture.formats import write_live_link_face_csv
    from mien.study.blend_shapes import NAMES
    from mien.study.recording import make_recording
    from mien.study.tables import write_table

    rate, frames = 59.94, int(minutes * 60 * 59.94)
    trials = int(minutes * 4)
    stimuli = [f"s{number:02d}" for number in range(trials)]
    write_table(
        pd.DataFrame(
            {
                "stimulus_id": stimuli,
                "valence": ["positive", "negative"] * (trials // 2),
                "medium": "picture",
                "duration": 6.0,
            }
        ),
        folder / "stimuli.tsv",
    )
    rows = []
    for number in range(recordings):
        rng = np.random.default_rng(number)
        knots = rng.normal(0.1, 0.12, size=(int(frames / 40) + 2, len(NAMES)))
        where = np.linspace(0, len(knots) - 1.001, frames)
        low = where.astype(int)
        values = knots[low] + (knots[low + 1] - knots[low]) * (where - low)[:, None]
        values += rng.normal(0, 0.002, size=values.shape)
        kept = rng.random(frames) > 0.0005
        recording = make_recording(
            (np.arange(frames) / rate)[kept],
            values.clip(0)[kept],
            NAMES,
            format="live-link-face-csv",
            nominal_rate=60.0,
            start="10:00:00:00.000",
        )
        write_live_link_face_csv(recording, folder / f"take{number:02d}_raw.csv")
        onset = 5 + np.arange(trials) * (minutes * 60 - 15) / trials
        write_table(
            pd.DataFrame({"onset": onset, "duration": 6.0, "stimulus_id": rng.permutation(stimuli)}),
            folder / f"events{number:02d}.tsv",
        )
        rows.append(
            {
                "source": f"take{number:02d}_raw.csv",
                "participant": f"{number + 1:02d}",
                "task": "met",
                "events": f"events{number:02d}.tsv",
                "clock": "same",
            }
        )
    write_table(pd.DataFrame(rows), folder / "sessions.tsv")


def resident_memory(pid):
    """MB of a process and everything below it; 0 where /proc does not tell."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += 1024 * int(rollup.split("Pss:")[1].split()[0])
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError, IndexError):
            continue
    return total / 1e6


def run(command):
    """(wall seconds, peak MB) of a command."""
    peak, done = [0.0], threading.Event()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], resident_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    error = process.communicate()[1]
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed: {error.decode()[-2000:]}")
    return time.perf_counter() - start, peak[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--recordings", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "prep_and_import.json"
    )
    arguments = parser.parse_args()
    mien = [sys.executable, "-m", "mien.cli"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_study(folder, arguments.recordings, arguments.minutes)
        native = sorted(map(str, folder.glob("take*.csv")))
        (folder / "read_csv.py").write_text(READ.replace("**KEYWORDS", ""))
        (folder / "read_tsv.py").write_text(
            READ.replace("**KEYWORDS", 'sep="\\t", header=None, na_values="n/a"')
        )
        study = folder / "study"
        rounds = []
        for _ in range(arguments.repeats):
            subprocess.run(["rm", "-rf", str(study)], check=True)
            subprocess.run([*mien, "new", str(study)], check=True, stdout=subprocess.DEVNULL)
            (study / "stimuli" / "stimuli.tsv").write_bytes((folder / "stimuli.tsv").read_bytes())
            read_native = run([sys.executable, str(folder / "read_csv.py"), *native])
            imported = run(
                [
                    *mien,
                    "import",
                    "--sessions",
                    str(folder / "sessions.tsv"),
                    "--study",
                    str(study),
                    "--workers",
                    "2",
                ]
            )
            motion = sorted(map(str, study.glob("sub-*/motion/*_motion.tsv")))
            read_motion = run([sys.executable, str(folder / "read_tsv.py"), *motion])
            prepared = run([*mien, "prep", str(study), "--workers", "2"])
            rounds.append(
                {
                    "read_csv_native_s": read_native[0],
                    "import_s": imported[0],
                    "import_ratio": imported[0] / read_native[0],
                    "import_peak_mb": imported[1],
                    "read_csv_motion_s": read_motion[0],
                    "prep_s": prepared[0],
                    "prep_ratio": prepared[0] / read_motion[0],
                    "prep_peak_mb": prepared[1],
                }
            )
            print(json.dumps({key: round(value, 2) for key, value in rounds[-1].items()}), flush=True)
    median = {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "pandas": pd.__version__, "numpy": np.__version__},
        "recordings": arguments.recordings,
        "minutes": arguments.minutes,
        "repeats": arguments.repeats,
        "median": median,
        "rounds": rounds,
    }
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(median, indent=2))


if __name__ == "__main__":
    main()
