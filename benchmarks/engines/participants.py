"""Time against the number of participants, 100 to 10,000 × 52 stimuli; a table and a plot beside the results."""

import itertools
import json
import math

import fits
import record
import simulators

SIZES = (100, 300, 1000, 3000, 10000)


def run(names, quick):
    fits.require("collapsed")
    rows = []
    for size in SIZES[:2] if quick else SIZES:
        rng = simulators.rng_of(5, size)
        design = simulators.make_design(rng, participants=size)
        timings = []
        for number in range(4):
            data = design.frame().assign(activation=simulators.draw_activation(design, rng))
            timed = fits.fit(simulators.SLOPES, data, engine="collapsed", seed=number)
            if number:
                timings.append(timed.seconds)
        one = fits.verdicts(timed.tree)[0]
        rows.append(
            {
                "participants": size,
                "rows": len(design.person),
                "seconds": record.spread(timings),
                "ess_min": float(one["ess_min"]),
                "khat": float(one["khat_engine"]),
                "passed": bool(one["passed"]),
                "fallback": str(one["fallback"]),
            }
        )
        print(json.dumps(record.rounded(rows[-1])), flush=True)
    record.save(
        "participants",
        {
            "time by participants": {
                "required": "at most linear",
                "slope on logs": steepness(rows),
                "table": rows,
            }
        },
    )
    if not quick:
        plot(rows)


def steepness(rows):
    """Of log time on log participants between neighbouring sizes; 1 is linear."""
    pairs = itertools.pairwise(rows)
    return [
        math.log(b["seconds"]["median"] / a["seconds"]["median"])
        / math.log(b["participants"] / a["participants"])
        for a, b in pairs
    ]


def plot(rows):
    import altair as alt
    import pandas as pd
    import vl_convert

    table = pd.DataFrame(
        [{"participants": row["participants"], "seconds": row["seconds"]["median"]} for row in rows]
    )
    table["linear from the largest"] = (
        table["participants"] * table["seconds"].iloc[-1] / table["participants"].iloc[-1]
    )
    x = alt.X("participants:Q", scale=alt.Scale(type="log"), title="participants × 52 stimuli")
    y_scale = alt.Scale(type="log")
    measured = alt.Chart(table).mark_line(point=True, color="#2a6f97").encode(
        x=x, y=alt.Y("seconds:Q", scale=y_scale, title="seconds, 4,000 draws of everything")
    )  # fmt: skip
    line = alt.Chart(table).mark_line(strokeDash=[4, 4], color="#888888").encode(
        x=x, y=alt.Y("linear from the largest:Q", scale=y_scale, title="seconds, 4,000 draws of everything")
    )  # fmt: skip
    svg = vl_convert.vegalite_to_svg(
        json.dumps((line + measured).properties(width=420, height=280).to_dict())
    )
    (record.RESULTS / "participants.svg").write_text(svg, encoding="utf-8")
