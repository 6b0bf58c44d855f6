"""Who sees what in one cell: a row for each trial, participant by participant.

The rows of a person do not depend on how many persons there are, so that a smaller study is the beginning of a larger.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from mien.power.plan import MEDIA, Design

__all__ = ["study_rows"]


def study_rows(design: Design, axes: Mapping[str, float]) -> pd.DataFrame:
    """One row for each trial; persons' covariates stand in for those that are drawn.

    Parameters
    ----------
    axes : of the cell. With infinitely many participants a few stand for all: as many of each group as tell the
        covariates apart.

    Returns
    -------
    DataFrame with participant, session, trial, stimulus, valence, medium, [group] as categories (trial int64), and the
    covariates; participants one after the other.
    """
    count = axes["participants"]
    few = max(2, max(1, len(design.groups)) * (1 + len(design.covariates)))
    persons = few if math.isinf(count) else int(count)
    stimuli = [
        (f"{medium}{valence.capitalize()}{number:04d}", valence, medium)
        for medium, numbers in zip(MEDIA, (axes["pictures"], axes["films"]), strict=True)
        for valence in design.valences
        for number in range(1, int(numbers) + 1)
    ]
    sessions, trials, shown = int(axes["sessions"]), int(axes["trials"]), len(stimuli)
    person, session, trial, stimulus = (
        index.ravel() for index in np.indices((persons, sessions, trials, shown), dtype=np.int64)
    )
    names, valences, media = zip(*stimuli, strict=True)
    frame = pd.DataFrame({
        "participant": _category(person, [f"{number + 1:06d}" for number in range(persons)]),
        "session": _category(session, [str(number + 1) for number in range(sessions)]),
        "trial": trial + 1,
        "stimulus": _category(stimulus, names),
        "valence": _category(_codes(valences, design.valences)[stimulus], design.valences),
        "medium": _category(_codes(media, MEDIA)[stimulus], MEDIA),
    })  # fmt: skip
    if design.groups:
        frame["group"] = _category(person % len(design.groups), design.groups)
    for number, name in enumerate(design.covariates):
        frame[name] = np.random.default_rng(number).standard_normal(persons)[person]
    return frame


def _codes(values, labels) -> np.ndarray:
    return np.array([labels.index(value) for value in values], dtype=np.int64)


def _category(codes: np.ndarray, labels) -> pd.Categorical:
    return pd.Categorical.from_codes(codes.astype(np.int32), categories=list(labels))  # pyright: ignore[reportArgumentType]
