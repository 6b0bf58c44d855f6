"""Priors as data: frozen values with a family, numbers and a source, and nothing of PyMC.

Import rule: this folder imports `mien.study` only. Engines translate these values into their own language.

    distributions   the families: Normal, HalfNormal, HalfStudentT, Exponential, LogNormal, LKJ, Flat,
                    Fixed
    library         the defaults of each role, read from library.toml
    resolution      defaults and the user's own → one frozen prior per parameter, on the scale of the data
"""

from mien.priors.distributions import (
    LKJ,
    Exponential,
    Fixed,
    Flat,
    HalfNormal,
    HalfStudentT,
    LogNormal,
    Normal,
    Prior,
    prior_from_dict,
    prior_to_dict,
)
from mien.priors.library import DEFAULT_LIBRARY, LibraryPrior, read_library
from mien.priors.resolution import (
    DataScale,
    ParameterNames,
    ResolvedPrior,
    check_overrides,
    resolve,
    scaled,
)

__all__ = [
    "DEFAULT_LIBRARY",
    "LKJ",
    "DataScale",
    "Exponential",
    "Fixed",
    "Flat",
    "HalfNormal",
    "HalfStudentT",
    "LibraryPrior",
    "LogNormal",
    "Normal",
    "ParameterNames",
    "Prior",
    "ResolvedPrior",
    "check_overrides",
    "prior_from_dict",
    "prior_to_dict",
    "read_library",
    "resolve",
    "scaled",
]
