"""34 shapes × the slopes model in one `mien.fit`, 3 % of the rows excluded at random in each shape."""

import fits
import record
import simulators


def bilateral_names():
    """34 shapes: the names of both-sided ones without their side, and the single ones."""
    from mien.study.blend_shapes import NAMES

    return list(dict.fromkeys(name.removesuffix("Left").removesuffix("Right") for name in NAMES))


def run(names, quick):
    fits.require("collapsed")
    shapes = bilateral_names()[: 4 if quick else None]
    timings, verdicts = [], []
    for number in range(3 if quick else 8):
        data = simulators.many_shapes(simulators.rng_of(3, number), shapes)
        timed = fits.fit(simulators.SLOPES, data, engine="collapsed", seed=number)
        if number:  # the first warms up
            timings.append(timed.seconds)
            verdicts += fits.verdicts(timed.tree)
    entry = {
        "required": "< 2.5 s",
        "shapes": len(shapes),
        "seconds": record.spread(timings),
        "ess_min": record.spread([float(one["ess_min"]) for one in verdicts]),
        "khat_max": max(float(one["khat_engine"]) for one in verdicts),
        "passed": sum(bool(one["passed"]) for one in verdicts) / len(verdicts),
        "fallbacks": sum(bool(one["fallback"]) for one in verdicts),
    }
    record.save("shapes", {"34 shapes, 3 % excluded": entry})
