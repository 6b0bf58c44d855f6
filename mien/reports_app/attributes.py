"""What a fit says about itself: its attributes (DESIGN 3.4), read once and with a default for what is not there."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = [
    "engine_verdicts",
    "failures",
    "is_weighted",
    "left_out",
    "parsed",
    "rope_widths",
    "verdict_detail",
]


def parsed(fit: Any, name: str) -> Any:
    """An attribute that holds JSON text; the text itself where it is none, {} where there is none."""
    text = fit.attrs.get(name, "")
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def verdict_detail(fit: Any) -> Mapping[str, Any]:
    """The gate's detail: limits, extremes over all hyperparameters and coefficients, what failed by outcome."""
    detail = parsed(fit, "diagnostics_detail")
    return detail if isinstance(detail, Mapping) else {}


def is_weighted(fit: Any) -> bool:
    """Whether draws come from importance sampling, whose verdict is not R-hat but the weights'."""
    return verdict_detail(fit).get("kind") == "importance"


def engine_verdicts(fit: Any) -> Mapping[str, Mapping[str, Any]]:
    """Outcome → the verdict of an engine that gives its own; {} where R-hat decides."""
    found = parsed(fit, "engine_verdict")
    return found if isinstance(found, Mapping) else {}


def failures(fit: Any) -> dict[str, str]:
    """Outcome → why its computation failed."""
    failed = verdict_detail(fit).get("failed", {})
    return {str(name): ", ".join(map(str, texts)) for name, texts in failed.items()}


def left_out(fit: Any) -> dict[str, str]:
    """Outcome → why it was not fitted."""
    found = parsed(fit, "left_out")
    return {str(name): str(reason) for name, reason in found.items()} if isinstance(found, Mapping) else {}


def rope_widths(fit: Any, rope: float) -> dict[str, float]:
    """Outcome ("" for a single one) → half-width of its ROPE: `rope` posterior-mean residual sds."""
    sigma = fit["posterior"].to_dataset()["sigma"].mean(("chain", "draw"))
    by_shape = "blend_shape" in sigma.dims
    sigma = sigma.mean([dim for dim in sigma.dims if dim != "blend_shape"])  # of the strata
    if not by_shape:
        return {"": rope * float(sigma)}
    names = [str(name) for name in sigma["blend_shape"].to_numpy()]
    return {name: rope * float(value) for name, value in zip(names, sigma.to_numpy(), strict=True)}
