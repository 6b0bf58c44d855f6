"""Recording + events → Trials.

Read in this order: `recipe` (what was decided), `clocks` (whose seconds an onset is in), `windows` (where a
trial's bins begin and end), `segments` (means, peaks and tracked shares of any stretches of frames), `sides`,
`baseline`, `exclusion`, `scaling`, and `trials`, which puts them together.

Computation only, from values to values: no file is read or written here. May import `mien.study` and nothing
else of ours. What a rule drops is marked with its reason and counted, never removed.
"""
