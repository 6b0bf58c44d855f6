"""Seconds that partial pooling adds to 34 unpooled shapes (32 participants × 52 stimuli), medians of 5.

The required figure is 5 s on top of the unpooled valence family; a model with three effects is measured beside it.
"""

import json
import os
import platform
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mien.models import ModelSpec, fit, valence
from tests.models import pooling_study as ps

REPEATS = 5
MODELS = {
    "valence": valence(),
    "valence × medium": ModelSpec(
        "activation ~ valence * medium + (valence | participant) + (0 + medium || participant) + (1 | stimulus)"
    ),
}


def seconds(spec, data):
    """Median seconds of a fit without pooling and what pooling adds, by the wall and of the processor, alternating."""
    found = {"none": [], "partial": []}
    for repeat in range(REPEATS + 1):
        for pooling, times in found.items():
            start = time.perf_counter(), time.process_time()
            made = fit(replace(spec, pooling=pooling), data, seed=repeat)
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
            assert made.attrs["diagnostics"] == "passed", made.attrs["diagnostics_detail"]
    wall, cpu = (
        {name: statistics.median(pair[kind] for pair in times[1:]) for name, times in found.items()}
        for kind in (0, 1)
    )
    return {
        "unpooled_s": round(wall["none"], 2),
        "pooling_s": round(wall["partial"] - wall["none"], 2),
        "unpooled_cpu_s": round(cpu["none"], 2),
        "pooling_cpu_s": round(cpu["partial"] - cpu["none"], 2),
    }


def main():
    study = ps.make_study(items=52)
    data = ps.trials_table(study, ps.simulate(study, np.random.default_rng(0)))
    data["medium"] = np.where(data["trial"].to_numpy() % 4 < 2, "picture", "film")
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "shapes": len(study.shapes),
        "rows": len(data),
        **{name: seconds(spec, data) for name, spec in MODELS.items()},
    }
    out = Path(__file__).parent / "results" / "pooling.json"
    out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
