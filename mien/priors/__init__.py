"""Priors as data: frozen values with a family, numbers and a source, and nothing of PyMC.

Import rule: this folder imports `mien.study` only. Engines translate these values into their own language.

    distributions   the families: Normal, HalfNormal, HalfStudentT, Exponential, LogNormal, LKJ, Flat,
                    Fixed
    statements      what a prior says about data, as data
    library         entries with their sources: the default of each role and variants, read from library.toml
    resolution      defaults and the user's own → one prior per parameter, on the scale of the data
    library_table   the library as a page of docs/
    elicitation, answers, people, quantiles, family_fits, earlier_results   entries from answers, pilots, publications
    powers          a prior to a power; log densities
    frozen          priors that do not move any more, under one sha256
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
    prior_from_text,
    prior_text,
    prior_to_dict,
)
from mien.priors.frozen import FrozenPriors, resolved_from_dict
from mien.priors.library import (
    LIBRARY,
    Entry,
    Library,
    Source,
    entry_from_dict,
    entry_to_dict,
    read_library,
)
from mien.priors.resolution import (
    UNSOURCED,
    DataScale,
    Override,
    ParameterNames,
    ResolvedPrior,
    check_overrides,
    families_of,
    override_from_dict,
    override_to_dict,
    read_override,
    resolve,
    role_by_name,
    roles_of,
    scaled,
)
from mien.priors.statements import Statement, statement_from_dict, statement_to_dict

__all__ = [
    "LIBRARY",
    "LKJ",
    "UNSOURCED",
    "DataScale",
    "Entry",
    "Exponential",
    "Fixed",
    "Flat",
    "FrozenPriors",
    "HalfNormal",
    "HalfStudentT",
    "Library",
    "LogNormal",
    "Normal",
    "Override",
    "ParameterNames",
    "Prior",
    "ResolvedPrior",
    "Source",
    "Statement",
    "check_overrides",
    "entry_from_dict",
    "entry_to_dict",
    "families_of",
    "override_from_dict",
    "override_to_dict",
    "prior_from_dict",
    "prior_from_text",
    "prior_text",
    "prior_to_dict",
    "read_library",
    "read_override",
    "resolve",
    "resolved_from_dict",
    "role_by_name",
    "roles_of",
    "scaled",
    "statement_from_dict",
    "statement_to_dict",
]
