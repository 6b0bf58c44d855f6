"""The valence family: do faces answer the feeling of what is seen?

    activation ~ valence + (valence | participant) + (1 | stimulus)

The coefficient of valence is positive minus negative in coefficient units (0-1); with neutral stimuli there is
`neutral` as well, neutral minus the mean of the other two. Persons differ in level and in answer, and the two may
go together; stimuli differ, so that the answer is one for stimuli like these and not for these alone.
"""

from collections.abc import Mapping

from mien.models.spec import ModelSpec
from mien.priors import Prior

__all__ = ["valence"]

ANSWERS = (
    "By how much does each shape's mean activation differ between positive and negative stimuli, for a typical "
    "person and stimuli like these?"
)


def valence(
    *,
    priors: Mapping[str, Prior] | None = None,
    contrasts: Mapping[str, Mapping[str, float]] | None = None,
) -> ModelSpec:
    """The effect of the stimulus' valence on each shape.

    Parameters
    ----------
    priors : overrides by parameter or role, in coefficient units.
    contrasts : combinations of shapes as further outcomes, ``{"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}}``.
    """
    return ModelSpec(
        "activation ~ valence + (valence | participant) + (1 | stimulus)",
        priors=dict(priors or {}),
        contrasts=dict(contrasts or {}),
        name="valence",
        answers=ANSWERS,
    )
