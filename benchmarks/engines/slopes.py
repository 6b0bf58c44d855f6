"""One shape of 32 persons and 52 stimuli: collapsed against lme4 in interleaved rounds, and against sampling peers.

Every repetition has a new y on the same design and permuted rows. lme4 stays warm in one R process, which times the
call of lmer alone; mien is timed from the call to the last array of the result (4,000 draws of everything).
"""

import itertools
import statistics
import tempfile
from pathlib import Path

import fits
import numpy as np
import record
import simulators
from fits import NotThereError
from peers import sampled
from peers.warm import WarmProcess, r_command

NAMES = ("lme4", "collapsed", "nuts", *sampled.PEERS)
POINT_ESTIMATES = ("lme4", "collapsed")


def repetitions(design, key):
    """Endless (order of rows, y)."""
    for number in itertools.count():
        yield simulators.slopes_data(simulators.rng_of(1, key, number), design)


def frame_of(design, order, y):
    return design.frame().iloc[order].reset_index(drop=True).assign(activation=y[order])


def present(engine):
    try:
        fits.require(engine)
    except NotThereError as missing:
        record.not_there("slopes", engine, missing)
        return False
    return True


def run(names, quick):
    names = names or NAMES
    design = simulators.make_design(simulators.rng_of(0))
    if set(names) & set(POINT_ESTIMATES):
        run_rounds(design, [name for name in POINT_ESTIMATES if name in names], 5 if quick else 40)
    if "nuts" in names:
        record.save("slopes", {"nuts": nuts(design, 1 if quick else 5)})
    for name in names:
        if name in sampled.PEERS:
            try:
                record.save("slopes", {name: against(name, design, 1 if quick else 3)}, r=name == "brms")
            except NotThereError as missing:
                record.not_there("slopes", name, missing)


def run_rounds(design, names, rounds):
    """mien and lme4 in turn; the first round warms up and is not counted."""
    mine = "collapsed" in names and present("collapsed")
    seconds = {"lme4": [], "lme4 without derivatives": [], "collapsed": []}
    verdicts, singular = [], 0
    with tempfile.TemporaryDirectory() as folder:
        sampled.write_design(design, Path(folder) / "design.csv")
        with Lme4(Path(folder), "lme4" in names) as lme4:
            for number, (order, y) in enumerate(itertools.islice(repetitions(design, 0), rounds + 1)):
                theirs = lme4.fit(order, y)
                timed = None
                if mine:
                    data = frame_of(design, order, y)
                    timed = fits.fit(simulators.SLOPES, data, engine="collapsed", seed=number)
                if number == 0:
                    continue
                if theirs:
                    seconds["lme4"].append(theirs["seconds"])
                    seconds["lme4 without derivatives"].append(theirs["seconds_without_derivatives"])
                    singular += theirs["singular"]
                if timed:
                    seconds["collapsed"].append(timed.seconds)
                    verdicts += fits.verdicts(timed.tree)
    entries = {name: {"seconds": record.spread(values)} for name, values in seconds.items() if values}
    if "lme4" in entries:
        entries["lme4"]["singular_fits"] = singular
    if verdicts:
        entries["collapsed"] |= quality(verdicts, seconds["collapsed"])
    if mine and "lme4" in entries:
        entries["collapsed against lme4"] = {
            "required": "at most 0.8 (stretch 0.5)",
            **ratios(seconds["collapsed"], seconds["lme4"], "lme4"),
            **ratios(seconds["collapsed"], seconds["lme4 without derivatives"], "lme4 without derivatives"),
        }
    record.save("slopes", entries, r="lme4" in names)


class Lme4:
    """lme4 in a warm R, or nothing."""

    def __init__(self, folder, wanted):
        self.file = folder / "y.bin"
        self.process = None
        if wanted:
            try:
                self.process = WarmProcess(r_command("lme4.R", "lme4", folder / "design.csv"))
            except NotThereError as missing:
                record.not_there("slopes", "lme4", missing)

    def fit(self, order, y):
        if self.process is None:
            return None
        np.concatenate([order + 1.0, y]).tofile(self.file)
        return self.process.ask(str(self.file))

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        if self.process:
            self.process.__exit__(*reason)


def ratios(mine, theirs, name):
    return {
        f"ratio of medians to {name}": statistics.median(mine) / statistics.median(theirs),
        f"paired ratio to {name}": record.spread([a / b for a, b in zip(mine, theirs, strict=True)]),
    }


def quality(verdicts, seconds):
    least = [float(one["ess_min"]) for one in verdicts]
    return {
        "ess_min": record.spread(least),
        "distinct_theta": record.spread([one["distinct"] for one in verdicts]),
        "khat_max": max(float(one["khat_engine"]) for one in verdicts),
        "passed": sum(bool(one["passed"]) for one in verdicts) / len(verdicts),
        "fallbacks": sum(bool(one["fallback"]) for one in verdicts),
        "ess_per_second": statistics.median(a / b for a, b in zip(least, seconds, strict=True)),
    }


def nuts(design, count):
    """mien's own NUTS on the correlated model; the first fit compiles and is not counted."""
    found = []
    for number, (order, y) in enumerate(itertools.islice(repetitions(design, 1), count + 1)):
        timed = fits.fit(simulators.SLOPES, frame_of(design, order, y), engine="nuts", seed=number)
        if number:
            found.append((timed.seconds, fits.worth(fits.scalars(timed.tree))))
    return {
        "seconds": record.spread([seconds for seconds, _ in found]),
        "ess_min": record.spread([worth.ess_min for _, worth in found]),
        "r_hat_max": max(worth.r_hat_max for _, worth in found),
        "ess_per_second": statistics.median(worth.ess_min / seconds for seconds, worth in found),
    }


def against(name, design, count):
    """A sampling peer, and beside each of its fits five of the collapsed engine on the same rows and formula."""
    formula = simulators.SLOPES_INDEPENDENT if name == "bambi" else simulators.SLOPES
    mine = present("collapsed")
    theirs, own = [], []
    wanted, seen = itertools.tee(itertools.islice(repetitions(design, 2), count))
    for number, found in enumerate(sampled.PEERS[name](design, wanted)):
        order, y = next(seen)
        theirs.append((found, fits.worth(found.draws)))
        if mine:
            data = frame_of(design, order, y)
            timed = [fits.fit(formula, data, engine="collapsed", seed=10 * number + n) for n in range(6)][1:]
            own.append([(one.seconds, fits.verdicts(one.tree)[0]["ess_min"]) for one in timed])
    entry = {
        "formula": formula,
        "seconds": record.spread([one.seconds for one, _ in theirs]),
        "compile_seconds": record.spread([one.compile_seconds for one, _ in theirs]),
        "ess_min": record.spread([worth.ess_min for _, worth in theirs]),
        "ess_min_of": [worth.of for _, worth in theirs],
        "r_hat_max": max(worth.r_hat_max for _, worth in theirs),
        "ess_per_second": statistics.median(worth.ess_min / one.seconds for one, worth in theirs),
    }
    if own:
        entry |= compared(theirs, own)
    return entry


def compared(theirs, own):
    """Ratios in this run: effective draws a second without compiling, wall time with everything in."""
    rate, wall, seconds = [], [], []
    for (found, worth), fitted in zip(theirs, own, strict=True):
        mine = statistics.median(ess / spent for spent, ess in fitted)
        spent = statistics.median(spent for spent, _ in fitted)
        rate.append(mine * found.seconds / worth.ess_min)
        wall.append((found.seconds + found.compile_seconds) / spent)
        seconds.append(spent)
    return {
        "collapsed_seconds": record.spread(seconds),
        "collapsed_ess_min": record.spread([ess for fitted in own for _, ess in fitted]),
        "times the effective draws a second": record.spread(rate),
        "times faster in wall time, compiling in": record.spread(wall),
    }
