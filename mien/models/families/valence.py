"""The valence family: do faces answer the feeling of what is seen?

    activation ~ valence + (valence | participant) + (1 | stimulus)

The coefficient of valence is positive minus negative in coefficient units (0-1); with neutral stimuli there is
`neutral` as well, neutral minus the mean of the other two. Persons differ in level and in answer, and the two may
go together; stimuli differ, so that the answer is one for stimuli like these and not for these alone.
"""

from typing import Unpack

from mien.models.families.options import FamilyOptions, Options, compose, family_spec
from mien.models.spec import ModelSpec

__all__ = ["valence"]

ANSWERS = (
    "By how much does each shape's mean activation differ between positive and negative stimuli, for a typical "
    "person and stimuli like these?"
)


def valence(**options: Unpack[FamilyOptions]) -> ModelSpec:
    """The effect of the stimulus' valence on each shape.

    Parameters
    ----------
    **options : group, traits, covariates, norms, conditions, ratings, session, repeated, baseline, priors, contrasts,
        pool_trackers: see `FamilyOptions`.

    Raises
    ------
    SpecError
    """
    chosen = Options.of(options)
    return family_spec("valence", compose(chosen), chosen, answers=ANSWERS)
