"""The words of the page about mien."""

from importlib.metadata import PackageNotFoundError, metadata

import pandas as pd

__all__ = ["GLOSSARY", "LIMITS", "PRIVACY", "versions"]

GLOSSARY = {
    "Blend shape": "one of 52 numbers between 0 and 1 with which ARKit describes a face, such as mouthSmileLeft.",
    "Activation": "a blend shape's mean over a trial, less its mean just before: how much the face moved.",
    "Valence": "positive, neutral or negative: what a picture or film was chosen for.",
    "Posterior mean": "the best single number for an effect, given the data and the model.",
    "95 % interval (ETI)": "the effect lies in it with a probability of 95 %, given the data and the model.",
    "P(direction)": "the probability that the effect has the sign it seems to have.",
    "ROPE": "the region of practical equivalence: effects so small that they count as practically none here.",
    "Pooled": "an effect of one shape, drawn towards those of its region as far as its own data leave it uncertain.",
    "Checks": "whether the numbers are what the model implies. A failed check means: we cannot tell.",
    "Percentile": "the share of the people that the model describes who lie below. It is no diagnosis.",
    "Power, assurance": "the share of simulated studies that meet a goal.",
}
LIMITS = (
    "No threshold here has clinical validation, and nothing here is a diagnosis.",
    "The reference group is whoever is in the study: there is no norm.",
    "Blend shapes are a tracker's estimates of movements, not muscles and not feelings.",
    "Left and right are nearly one signal for lids, squint and outer brow.",
    "That we cannot tell does not mean that nothing differs.",
)
PRIVACY = (
    "Everything stays on the machine that runs this app; no page loads anything from elsewhere, and nothing is sent.",
    "People stand here under the ids of the study; names and birth dates are not kept. A face's movements may identify "
    "a person: treat the data as health data.",
    "No video is opened or kept.",
)
LIBRARIES = (
    "mien", "streamlit", "pandas", "numpy", "xarray", "arviz-stats", "pymc", "nutpie", "numba", "altair",
    "vl-convert-python", "typst",
)  # fmt: skip


def versions() -> pd.DataFrame:
    """What this was made with: library, version, licence."""
    rows = []
    for name in LIBRARIES:
        try:
            told = metadata(name)
        except PackageNotFoundError:
            continue
        licence = told.get("License-Expression") or (told.get("License") or "").splitlines()[:1]
        rows.append({
            "library": name, "version": told["Version"],
            "licence": licence if isinstance(licence, str) else " ".join(licence)[:40] or "see its package",
        })  # fmt: skip
    return pd.DataFrame(rows)
