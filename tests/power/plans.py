"""Small plans for tests."""

from typing import Any

from mien.models import ModelSpec
from mien.power.plan import Analysis, Budget, Design, Goal, Plan, Truth
from mien.priors import Fixed, Normal, Prior

SDS = {"1|participant": 0.04, "valence|participant": 0.04, "1|stimulus": 0.02}
FORMULA = "activation ~ valence + (valence | participant) + (1 | stimulus)"


def known(sds: dict[str, float], sigma: float, effect: Normal, correlation: float = 0.0) -> dict[str, Prior]:
    """Priors that know all variances, and a normal one of the effect; the intercept's is wide."""
    priors: dict[str, Prior] = {f"sd:{name}": Fixed(value) for name, value in sds.items()}
    return priors | {
        "sigma": Fixed(sigma), "corr": Fixed(correlation), "valence": effect, "Intercept": Normal(0.0, 10.0),
    }  # fmt: skip


def plan(*goals: Goal, priors: dict[str, Any] | None = None, **parts: Any) -> Plan:
    """Valence, crossed with stimuli, as in the paper but smaller."""
    design = parts.pop("design", Design(participants=(8, 12), pictures=(6,)))
    truth = parts.pop(
        "truth", Truth({"Intercept": (0.05,), "valence": (0.03,)}, SDS, {"participant": 0.2}, 0.1)
    )
    formula = parts.pop("formula", FORMULA)
    return Plan(
        "test", design, truth, Analysis(ModelSpec(formula, priors=priors or {})),
        goals or (Goal("smile", "direction", "valence"),),
        parts.pop("budget", Budget(20, 10, null_replicates=10)), **parts,
    )  # fmt: skip
