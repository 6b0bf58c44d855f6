"""The co-activation family: which parts of the face move together, from trial to trial and from person to person?

    y_pt = B x_pt + (Λ_b g_p + ζ_p) + (Λ_w f_pt + ε_pt)        scores f and g, uniquenesses Ψ_w and Ψ_b of ε and ζ
    Λ_w ~ N(0, τ_w²), Λ_b ~ N(0, τ_b²)                         sds τ estimated

on trial means of all shapes at once, each divided by its sd within persons. Trials of a person have factors W1, W2 …;
persons have B1, B2 … of their own: that people who smile more squint more says nothing of whether a smile comes with a
squint. Which co-activation is meant is `part`:

    all               whatever moves shapes together from one trial of a person to the next
    spontaneous       the same after each stimulus' mean over persons is taken out
    stimulus_driven   which shapes the same *stimuli* move: the upper level is the stimuli's, corrected for what persons
                      and chance add to a stimulus' mean; persons' means are taken out

What is taken out is taken out inside the model, with its degrees of freedom. Gaze and blinks are left out by default.
With 32 persons, or 52 stimuli, the upper level is weakly known; its factors are 2 by default and say so.
"""

from collections.abc import Mapping, Sequence

from mien.models.factors.spec import FactorSpec
from mien.priors import Override, read_override

__all__ = ["co_activation"]

ANSWERS = {
    "all": "Which shapes move together from trial to trial of a person, and which go together between persons?",
    "spontaneous": "Which shapes move together beyond what the stimuli make all persons do?",
    "stimulus_driven": "Which shapes are moved together by the same stimuli?",
}


def co_activation(
    factors: int = 5,
    *,
    between: int = 2,
    covariates: str | Sequence[str] = (),
    part: str = "all",
    shapes: Sequence[str] = (),
    priors: Mapping[str, Override | str] | None = None,
    pool_trackers: bool = False,
) -> FactorSpec:
    """Latent factors of co-activation, within persons and between them.

    Parameters
    ----------
    factors : within persons (or, of what is stimulus-driven, within stimuli); `mien.models.factor_numbers` compares
        them.
    between : factors between persons (or stimuli).
    covariates : terms whose effects on every shape are taken out, ``("valence", "medium", "age_z")``.
    part : "all", "spontaneous" or "stimulus_driven".
    shapes : only these; () takes all that move but gaze and blinks.
    priors : LogNormal of "loading_sd" and "between_loading_sd", the sds that loadings scatter about 0 with, and of the
        variances "uniqueness" and "between_uniqueness"; in sds within persons.
    pool_trackers : True to put two trackers into one fit.

    Raises
    ------
    SpecError
    """
    named = (covariates,) if isinstance(covariates, str) else tuple(covariates)
    return FactorSpec(
        factors,
        between,
        named,
        part,
        tuple(shapes),
        {name: read_override(name, prior) for name, prior in (priors or {}).items()},
        pool_trackers,
        answers=ANSWERS.get(part, ""),
    )
