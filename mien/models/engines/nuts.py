"""Engine "nuts": mixed models of every family, sampled by nutpie.

A Gaussian model's rows enter as sums, in a PyMC model that is compiled once for all outcomes (`gaussian_sampler`).
Other families have a density of their own over the rows, compiled once for all models (`likelihood_sampler`).
"""

import numpy as np

from mien.models.engines.problem import Draws, Outcome, Problem, Progress, Settings
from mien.study.errors import FitError

__all__ = ["NutsEngine"]

MAX_EFFECTS = 2000  # the pilot's dense Cholesky factor: 2,000 effects take 0.2 s an evaluation


def _beyond_one_sigma(outcome: Outcome) -> str:
    """What this outcome asks for besides independent rows, one sigma and an sd for each effect, as a reason, or ""."""
    residual = outcome.residual
    reasons = {
        "residuals are AR(1), and here rows are independent": residual.series is not None,
        "sigma differs by stratum, and here there is one": len(residual.strata) > 1,
        "rows have known standard errors and a sigma, and here they have one of them": (
            residual.known_variance is not None
        ),
        "rows are means of several values (counts), and here a row is one value": residual.count is not None,
        "functions of a smooth share an sd, and here every effect has its own": bool(outcome.design.bases),
        "there are sufficient statistics in place of rows, and here rows are needed": (
            outcome.moments is not None
        ),
    }
    return next((reason for reason, found in reasons.items() if found), "")


class NutsEngine:
    """Mixed models by NUTS."""

    name = "nuts"

    def can_fit(self, problem: Problem) -> str:
        """Give the reason why not, or nothing."""
        beyond = next((reason for outcome in problem.outcomes if (reason := _beyond_one_sigma(outcome))), "")
        if beyond:
            return beyond
        effects = max(
            sum(len(block.levels) * len(block.terms) for block in outcome.design.blocks)
            for outcome in problem.outcomes
        )
        if effects > MAX_EFFECTS:
            return f"there are {effects} group effects, and at most {MAX_EFFECTS} fit in memory and time"
        return ""

    def sample(self, problem: Problem, settings: Settings, progress: Progress | None = None) -> list[Draws]:
        """Draws of every outcome; compiles once for each structure, which is once for ordinary priors."""
        from threadpoolctl import threadpool_limits

        draws = []
        with threadpool_limits(limits=1):
            for place, outcome in enumerate(problem.outcomes):
                if progress:
                    progress(place, len(problem.outcomes), outcome.name)
                draws.append(self._one(problem.family, outcome, settings))
        if progress:
            progress(len(problem.outcomes), len(problem.outcomes), "")
        return draws

    @staticmethod
    def _one(family: str, outcome: Outcome, settings: Settings) -> Draws:
        try:
            if family != "gaussian":
                from mien.models.engines.likelihood_sampler import sample_likelihood

                return sample_likelihood(family, outcome, settings)
            from mien.models.engines.gaussian_sampler import sample_gaussian

            return sample_gaussian(outcome, settings)
        except np.linalg.LinAlgError as problem:
            raise FitError(
                f"{outcome.name or 'outcome'}: expected a posterior that is proper, found a singular one ({problem}): "
                "flat priors need columns that the rows tell apart."
            ) from None
