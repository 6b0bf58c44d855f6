"""The task family: do faces answer more to films than to pictures, more to one question than to the other?

    activation ~ valence * medium (* condition) + (valence | participant) + (0 + medium + valence:medium || participant)
                 + (0 + medium_is_picture + medium_is_film || stimulus),    sigma by medium

`valence:medium` is (positive − negative) to films minus (positive − negative) to pictures, of this set. Residuals and
stimuli scatter by medium: `medium_is_film` is 1 for films, so that films have a standard deviation of their own, and
each stimulus has the effect of its own medium (that of the other one is never used, and is as the prior says).

Films last longer than pictures. Means over equal first seconds (`mien.models.first_seconds`) are the primary
comparison, whole stimuli stand beside it, and peaks of unequal lengths are refused. The two media differ in sound
and motion as well: the answer is about these films and these pictures.
"""

from typing import Unpack

from mien.models.families.options import FamilyOptions, Options, compose, family_spec
from mien.models.spec import ModelSpec

__all__ = ["task"]

FACTORS = ("valence", "medium")
ANSWERS = (
    "By how much does each shape's answer to positive minus negative stimuli differ between these films and these "
    "pictures?"
)


def task(**options: Unpack[FamilyOptions]) -> ModelSpec:
    """Valence by medium, and by condition where one is named, on each shape.

    Parameters
    ----------
    **options : group, traits, covariates, norms, conditions, ratings, session, repeated, baseline, priors, contrasts,
        pool_trackers: see `FamilyOptions`. A condition is crossed with valence and medium.

    Raises
    ------
    SpecError
    """
    chosen = Options.of(options, FACTORS)
    formula = compose(
        chosen,
        factors=FACTORS,
        slopes=("medium", "valence:medium"),
        stimulus=("medium_is_picture", "medium_is_film"),
    )
    return family_spec("task", formula, chosen, answers=ANSWERS, sigma_by=("medium",))
