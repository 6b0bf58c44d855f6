"""The traits family: who answers more? Reactivity with traits, age, sex, group and ratings.

    activation ~ valence + trait_z + valence:trait_z (+ group, age_z, sex … likewise, + rating parts)
                 + (valence | participant) + (1 + trait_z || stimulus)

`valence:trait_z` is how much larger positive − negative is with one standard deviation more of the trait, among persons
who are otherwise alike in what the model has; it says nothing of causes. One trait a model unless asked: traits that go
together share what they explain. Persons without the trait are left out and counted (`attrs["derived"]`).
`mien.models.trait_slopes` gives slopes per raw unit, and corrected for a trait's reliability.
"""

from collections.abc import Sequence
from typing import Unpack

from mien.models.families.options import FamilyOptions, Options, compose, family_spec
from mien.models.spec import ModelSpec
from mien.study.errors import SpecError

__all__ = ["traits"]

ANSWERS = "Whose shapes differ more between positive and negative stimuli?"


def traits(trait: str | Sequence[str] = (), **options: Unpack[FamilyOptions]) -> ModelSpec:
    """Valence by one trait (or several at once) and by what else is named, on each shape.

    Parameters
    ----------
    trait : a person-level number; several are put into one model.
    **options : group, covariates, norms, conditions, ratings, session, repeated, baseline, priors, contrasts,
        pool_trackers: see `FamilyOptions`. Without a trait there must be a group or a rating.

    Raises
    ------
    SpecError
    """
    given = (trait,) if isinstance(trait, str) else tuple(trait)
    named = options.get("traits", ())
    both = (*given, *((named,) if isinstance(named, str) else named))
    chosen = Options.of({**options, "traits": both})
    if not (chosen.traits or chosen.group or chosen.ratings):
        raise SpecError(
            "traits: expected a trait, a group or ratings to relate answers to, found none: name a column of the "
            "participants table."
        )
    return family_spec("traits", compose(chosen), chosen, answers=ANSWERS)
