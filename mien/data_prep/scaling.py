"""Within-person scaling: activation in units of the person's own standard deviation.

Each shape of each participant is divided by the sd, over that person's trials, of the trial means of kept bins.
Nothing is subtracted: 0 stays "as in the baseline". One sd serves all of a person's sessions, tasks and media, so
differences between them remain. A shape that does not move in a person (sd below 1e-4) cannot be scaled:
its rows are marked. raw, baseline and peak stay in coefficient units.
"""

import numpy as np
import pandas as pd

from mien.data_prep.exclusion import NO_VARIATION
from mien.study.trials import mean_over_bins

__all__ = ["SMALLEST_SD", "scale_within_person"]

SMALLEST_SD = 1e-4  # coefficient units: below it a shape counts as never moving (STATISTICS, section 1)


def scale_within_person(trials: pd.DataFrame) -> pd.DataFrame:
    """The table with `activation` scaled, and rows that cannot be scaled marked as excluded."""
    kept = (trials["excluded"] == "").to_numpy()
    by = ["participant", "blend_shape"]
    means = mean_over_bins(trials.loc[kept])
    sd = (
        means.assign(activation=means["activation"].astype("float64"))
        .groupby(by, observed=False)["activation"]
        .std()
    )
    participant, shape = (trials[name].cat.codes.to_numpy(np.int64) for name in by)
    of_row = sd.to_numpy(np.float64)[participant * len(trials["blend_shape"].cat.categories) + shape]
    usable = of_row >= SMALLEST_SD
    activation = np.divide(
        trials["activation"].to_numpy(dtype=np.float64),
        of_row,
        out=np.full(len(trials), np.nan),
        where=usable,
    )
    marked = trials["excluded"].mask(kept & ~usable, NO_VARIATION)
    return trials.assign(activation=activation.astype(np.float32), excluded=marked)
