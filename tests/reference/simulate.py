"""The data sets of the reference cases: `python tests/reference/simulate.py` writes them to data/.

Simulated here, seeds stated, four decimals; small enough to read. What each is for stands in README.md.
"""

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent / "data"


def crossed(rng, participants, stimuli, holes):
    """Every participant with every stimulus, less a share of the rows; x is ±½ by stimulus."""
    person, item = (part.ravel() for part in np.meshgrid(range(participants), range(stimuli), indexing="ij"))
    kept = np.sort(rng.permutation(len(person))[: round(len(person) * (1 - holes))])
    person, item = person[kept], item[kept]
    return person, item, np.where(item % 2 == 0, -0.5, 0.5)


def labelled(prefix, codes):
    return [f"{prefix}{code + 1:02d}" for code in codes]


def covariance(sds, correlations):
    """A covariance matrix from sds and the correlations below the diagonal, row by row."""
    size = len(sds)
    matrix = np.eye(size)
    matrix[np.tril_indices(size, -1)] = correlations
    matrix = np.tril(matrix) + np.tril(matrix, -1).T
    return matrix * np.outer(sds, sds)


def intercepts(sd=0.6, seed=101):
    rng = np.random.default_rng(seed)
    person, _, x = crossed(rng, 12, 8, 0.1)
    y = 0.4 + 0.3 * x + rng.normal(0, sd, 12)[person] + rng.normal(0, 0.8, len(x))
    return pd.DataFrame({"y": y, "x": x, "participant": labelled("p", person)})


def slopes():
    rng = np.random.default_rng(102)
    person, _, x = crossed(rng, 18, 10, 0.1)
    effects = rng.multivariate_normal([0, 0], covariance([0.7, 0.5], [0.4]), 18)
    y = -0.2 + 0.5 * x + effects[person, 0] + effects[person, 1] * x + rng.normal(0, 0.6, len(x))
    return pd.DataFrame({"y": y, "x": x, "participant": labelled("p", person)})


def paper():
    """Correlated slopes and crossed stimuli: the model of the valence family."""
    rng = np.random.default_rng(103)
    person, item, x = crossed(rng, 16, 12, 0.1)
    effects = rng.multivariate_normal([0, 0], covariance([0.7, 0.4], [-0.5]), 16)
    y = 0.1 + 0.4 * x + effects[person, 0] + effects[person, 1] * x
    y += rng.normal(0, 0.3, 12)[item] + rng.normal(0, 0.7, len(x))
    return pd.DataFrame(
        {"y": y, "x": x, "participant": labelled("p", person), "stimulus": labelled("s", item)}
    )


def two_factors():
    rng = np.random.default_rng(104)
    person, item, x = crossed(rng, 15, 12, 0.15)
    y = 1.0 + 0.2 * x + rng.normal(0, 0.5, 15)[person] + rng.normal(0, 0.4, 12)[item]
    y += rng.normal(0, 0.9, len(x))
    return pd.DataFrame(
        {"y": y, "x": x, "participant": labelled("p", person), "stimulus": labelled("s", item)}
    )


def nested():
    rng = np.random.default_rng(105)
    person, session = np.repeat(np.arange(14), 15), np.tile(np.repeat(np.arange(3), 5), 14)
    kept = np.sort(rng.permutation(len(person))[:190])
    y = 0.5 + rng.normal(0, 0.8, 14)[person] + rng.normal(0, 0.4, (14, 3))[person, session]
    y += rng.normal(0, 0.6, len(person))
    frame = pd.DataFrame(
        {"y": y, "participant": labelled("p", person), "session": [str(code + 1) for code in session]}
    )
    return frame.iloc[kept].reset_index(drop=True)


def weights():
    frame = slopes()
    rng = np.random.default_rng(106)
    frame["weight"] = rng.uniform(0.3, 3.0, len(frame))
    frame["y"] += rng.normal(0, 0.3, len(frame)) / np.sqrt(frame["weight"])
    return frame


def three_effects():
    rng = np.random.default_rng(107)
    person, _, x = crossed(rng, 30, 14, 0.1)
    z = np.round(rng.normal(0, 1, len(x)), 2)
    effects = rng.multivariate_normal([0, 0, 0], covariance([0.8, 0.6, 0.5], [0.5, -0.3, 0.2]), 30)
    y = 0.3 + 0.4 * x - 0.2 * z + effects[person, 0] + effects[person, 1] * x + effects[person, 2] * z
    return pd.DataFrame(
        {"y": y + rng.normal(0, 0.5, len(x)), "x": x, "z": z, "participant": labelled("p", person)}
    )


def series(participants=10, trials=3, bins=9):
    """AR(1) within a trial (rho .6), a third of the bins lost, one trial of a single bin."""
    rng = np.random.default_rng(108)
    level = rng.normal(0, 0.5, participants)
    rows = []
    for person in range(participants):
        for trial in range(trials):
            x = -0.5 if trial % 2 == 0 else 0.5
            residual = np.empty(bins)
            residual[0] = rng.normal(0, 0.7)
            for step in range(1, bins):
                residual[step] = 0.6 * residual[step - 1] + rng.normal(0, 0.7 * np.sqrt(1 - 0.36))
            kept = np.flatnonzero(rng.random(bins) > 0.33)
            if person == 0 and trial == 0:
                kept = kept[:1]
            for step in kept:
                y = 0.3 + 0.4 * x + level[person] + residual[step]
                rows.append((y, x, f"p{person + 1:02d}", f"t{trial + 1}", step))
    return pd.DataFrame(rows, columns=["y", "x", "participant", "trial", "bin"])


def strata():
    """Two media with residual sds of .4 and 1."""
    rng = np.random.default_rng(109)
    person, item, x = crossed(rng, 8, 10, 0.1)
    film = item >= 5
    y = 0.2 + 0.3 * x + rng.normal(0, 0.5, 8)[person] + np.where(film, 1.0, 0.4) * rng.normal(0, 1, len(x))
    medium = np.where(film, "film", "picture")
    return pd.DataFrame({"y": y, "x": x, "participant": labelled("p", person), "medium": medium})


CASES = {
    "intercepts": intercepts,
    "slopes": slopes,
    "paper": paper,
    "two_factors": two_factors,
    "nested": nested,
    "singular": lambda: intercepts(sd=0.0, seed=110),
    "weights": weights,
    "three_effects": three_effects,
    "series": series,
    "strata": strata,
}


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, make in CASES.items():
        make().round(4).to_csv(FOLDER / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
