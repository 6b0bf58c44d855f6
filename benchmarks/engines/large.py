"""Ten million rows: 200,000 trials × 50 bins of 32 persons, in Parquet parts of at most a million rows.

memory    rows a second of the statistics pass, codes ready (`moments_of` on an Outcome in memory)
parquet   rows a second of `mien.sufficient_statistics` from the files, in a process of its own, with its peak memory
posterior the fit after them against the fit from the statistics of one 1,664-row table, and from its rows
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fits
import numpy as np
import pandas as pd
import record
import simulators

NAMES = ("memory", "parquet")
TRIALS, BINS, PART = 200_000, 50, 1_000_000


def run(names, quick):
    fits.require("collapsed")
    trials = 20_000 if quick else TRIALS
    names = names or NAMES
    if "memory" in names:
        record.save("large", {"statistics in memory": in_memory(trials)})
    if "parquet" in names:
        with tempfile.TemporaryDirectory() as folder:
            write_parts(Path(folder), trials, 100_000 if quick else PART)
            record.save("large", {"from Parquet": in_a_process(folder)})


def draw_trials(rng, trials):
    """Codes of person and stimulus of every bin: long, trial by trial."""
    person = np.repeat(rng.integers(0, 32, trials), BINS)
    stimulus = np.repeat(rng.integers(0, 52, trials), BINS)
    return simulators.Design(32, 52, person, stimulus)


def write_parts(folder, trials, part):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = simulators.rng_of(4)
    truth = np.random.SeedSequence(simulators.SEED, spawn_key=(4, 1))
    for number, start in enumerate(range(0, trials, part // BINS)):
        design = draw_trials(rng, min(part // BINS, trials - start))
        frame = design.frame()
        frame["activation"] = same_people(design, truth, rng).astype(np.float32)
        pq.write_table(
            pa.Table.from_pandas(frame, preserve_index=False), folder / f"part{number:03d}.parquet"
        )


def same_people(design, seed, rng):
    """Activation with the same persons and stimuli in every part."""
    fixed = np.random.default_rng(seed)
    truth = simulators.Truth()
    level, slope = fixed.normal(0, truth.sd_level, 32), fixed.normal(0, truth.sd_valence, 32)
    item = fixed.normal(0, truth.sd_stimulus, 52)
    mean = truth.intercept + level[design.person] + item[design.stimulus]
    mean += (truth.valence + slope[design.person]) * design.sign
    return mean + rng.normal(0, truth.sigma, len(mean))


def in_memory(trials):
    from mien.models.engines.collapsed.moments import moments_of

    outcome = make_outcome(trials)
    rows, found = len(outcome.response), []
    for number in range(6):
        y = simulators.rng_of(4, 5, number).normal(0.05, 0.04, rows)
        anew = outcome._replace(response=y)
        start = time.perf_counter()
        moments = moments_of(anew)
        found.append(time.perf_counter() - start)
        whole = moments.gram[0].sum(axis=0)
        assert whole[0, 0] == rows  # every row is in it, and this y
        mean = moments.centre[-1] + whole[0, -1] / rows
        assert np.isclose(mean, y.mean(), rtol=1e-9)
    seconds = record.spread(found[1:])
    return {
        "required": "at least 50 million rows/s",
        "rows": rows,
        "seconds": seconds,
        "million rows a second": rows / seconds["median"] / 1e6,
        "threads": os.cpu_count(),
    }


def make_outcome(trials):
    """What an engine gets: design matrices and codes are made before the clock starts."""
    from mien.models.design import Block, Design
    from mien.models.engines.problem import Outcome

    data = draw_trials(simulators.rng_of(4, 2), trials)
    y = same_people(data, np.random.SeedSequence(simulators.SEED), simulators.rng_of(4, 3))
    one, sign = np.ones(len(y)), data.sign
    people = tuple(data.frame()["participant"].cat.categories)
    stimuli = tuple(data.frame()["stimulus"].cat.categories)
    blocks = (
        Block(
            "participant",
            ("1", "valence"),
            np.column_stack([one, sign]),
            data.person.astype(np.int64),
            people,
        ),
        Block("stimulus", ("1",), one[:, None], data.stimulus.astype(np.int64), stimuli),
    )
    design = Design(("Intercept", "valence"), np.column_stack([one, sign]), blocks, {})
    return Outcome("", design, y, one, {})


def in_a_process(folder):
    """This module again, as a program, so that its peak memory is its own."""
    command = [sys.executable, str(Path(__file__)), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"the process that reads Parquet ended with {done.returncode}: {done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def peak_megabytes():
    """The largest resident memory of this process so far (getrusage would give its parent's where that was larger)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(folder):
    """Statistics, then posteriors in turn: of the large table, of a small table's statistics and of its rows."""
    import mien

    formula = simulators.SLOPES
    design = simulators.make_design(simulators.rng_of(0), missing=0)
    small = design.frame().assign(activation=simulators.draw_activation(design, simulators.rng_of(4, 4)))
    mien.sufficient_statistics(formula, small)
    few = mien.sufficient_statistics(formula, small)
    fits.fit(formula, few, engine="collapsed")  # compiled and warm
    base = peak_megabytes()
    passes = []
    for _ in range(2):
        start = time.perf_counter()
        many = mien.sufficient_statistics(formula, folder)
        passes.append(time.perf_counter() - start)
    reading = [pass_over(folder) for _ in range(2)]
    seconds = {"large statistics": [], "small statistics": [], "small rows": []}
    for number in range(16):
        for name, source in (("large statistics", many), ("small statistics", few), ("small rows", small)):
            timed = fits.fit(formula, source, engine="collapsed", seed=number)
            if number:
                seconds[name].append(timed.seconds)
    rows = int(many.counts["modelled"])
    entry = {
        "required": "posterior at most 1.2 × the 1,664-row one; peak memory < 1 GB",
        "rows": rows,
        "statistics_seconds": min(passes),
        "million rows a second": rows / min(passes) / 1e6,
        "seconds of pyarrow reading the same columns": min(reading),
        "posterior_seconds": {name: record.spread(values) for name, values in seconds.items()},
        "ratio to small statistics": median_ratio(seconds, "small statistics"),
        "ratio to small rows": median_ratio(seconds, "small rows"),
        "peak_mb": peak_megabytes(),
        "peak_mb_before_the_files": base,
    }
    print(json.dumps(entry))


def median_ratio(seconds, other):
    return record.spread(seconds["large statistics"])["median"] / record.spread(seconds[other])["median"]


def pass_over(folder):
    """The floor: only reading."""
    start = time.perf_counter()
    for path in sorted(Path(folder).glob("*.parquet")):
        pd.read_parquet(path)
    return time.perf_counter() - start


if __name__ == "__main__":
    measure(sys.argv[1])
