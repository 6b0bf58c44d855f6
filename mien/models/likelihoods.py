"""The families of likelihoods besides the Gaussian: what they are for, their links, and what they ask of the rows.

    family                   mean of           further parameters (link)                  for
    student_t                μ (identity)      sigma (log), nu (log)                       outliers
    ordered_beta             μ (logit)         phi (log), cutpoint_zero, cutpoint_one      0, between, 1: one process
    zero_inflated_beta       μ (logit)         phi (log), zi (logit)                       zeros of their own kind
    zero_one_inflated_beta   μ (logit)         phi (log), zoi (logit), coi (logit)         zeros and ones of their own
    hurdle_gamma             μ (log)           shape (log), hu (logit)                     zeros, no upper end

zoi is the chance of 0 or 1, coi that of 1 given either; zi and hu are chances of 0. In the ordered beta one linear
predictor η does all: P(0) = 1 − s(η − cutpoint_zero), P(1) = s(η − cutpoint_one), and inside a beta with mean s(η) and
precision phi. **Zeros and ones**: exactly 0 is a zero; 1 and above is a one (a tracker's coefficients go a little
above), whatever its size. Nothing is rescaled or moved inside by an epsilon. A zero-inflated beta has no ones, and
refuses them; below 0 nothing but student_t makes sense, so that the outcome is `raw` and not the corrected
`activation`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from mien.study.errors import SpecError
from mien.study.formula import parse_formula
from mien.study.tables import nearest

if TYPE_CHECKING:
    from mien.models.spec import ModelSpec

__all__ = ["LIKELIHOODS", "Likelihood", "check_parameters", "parameter_columns"]


class Likelihood(NamedTuple):
    """A family: link of its mean; further parameters → their links; whether it knows zeros and ones.

    Links are "identity", "log" and "logit"; "above" is one that lies above the parameter before it.
    """

    link: str
    parameters: Mapping[str, str]
    zeros: bool
    ones: bool

    @property
    def regressed(self) -> tuple[str, ...]:
        """Parameters that may have a regression."""
        return tuple(name for name, link in self.parameters.items() if link in ("log", "logit"))


LIKELIHOODS: Mapping[str, Likelihood] = MappingProxyType(
    {
        "student_t": Likelihood("identity", {"sigma": "log", "nu": "log"}, False, False),
        "ordered_beta": Likelihood(
            "logit", {"phi": "log", "cutpoint_zero": "identity", "cutpoint_one": "above"}, True, True
        ),
        "zero_inflated_beta": Likelihood("logit", {"phi": "log", "zi": "logit"}, True, False),
        "zero_one_inflated_beta": Likelihood(
            "logit", {"phi": "log", "zoi": "logit", "coi": "logit"}, True, True
        ),
        "hurdle_gamma": Likelihood("log", {"shape": "log", "hu": "logit"}, True, False),
    }
)


def check_parameters(spec: "ModelSpec") -> None:
    """Refuse regressions of what the family does not have, and what these families cannot be combined with.

    Raises
    ------
    SpecError
    """
    family = LIKELIHOODS.get(spec.family)
    known = family.regressed if family else ()
    for name, text in spec.parameters.items():
        if name not in known:
            raise SpecError(
                f"parameters: expected some of {', '.join(known) or 'none'} for family {spec.family!r}, found {name!r}"
                f"{nearest(name, known)}."
            )
        formula = parse_formula(text)
        if formula.response or formula.groups:
            raise SpecError(
                f"parameters[{name!r}]: expected coefficients only, such as '~ valence', found {text!r}."
            )
    if family is None:
        return
    given = {
        "weights": spec.weights, "counts": spec.counts, "standard_errors": spec.standard_errors,
        "sigma_by": spec.sigma_by, "residual='ar1'": spec.residual == "ar1",
        "smooths": spec.smooths,
    }  # fmt: skip
    wanted = [name for name, value in given.items() if value]
    if wanted:
        hint = " (parameters={'sigma': '~ medium'} lets sigma differ)" if "sigma_by" in wanted else ""
        raise SpecError(
            f"family {spec.family!r}: expected a model without smooths, of rows that are single, "
            f"independent values, found {', '.join(wanted)}: leave it out{hint}, or use family 'gaussian'."
        )


def parameter_columns(spec: "ModelSpec") -> list[str]:
    """Columns that the regressions of the further parameters use."""
    return [name for text in spec.parameters.values() for name in parse_formula(text).columns]
