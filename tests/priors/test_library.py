from importlib import resources

import pytest

from mien.priors import LIBRARY, LKJ, HalfNormal, HalfStudentT, LogNormal, Normal, read_library
from mien.priors.library import SOURCES
from mien.study.errors import SpecError

TEXT = resources.files("mien.priors").joinpath("library.toml").read_text(encoding="utf-8")


def test_defaults_by_role():
    priors = {entry.role: (entry.prior, entry.times) for entry in LIBRARY if not entry.variant}
    assert priors == {
        "Intercept": (Normal(0.0, 2.5), "intercept"),
        "beta": (Normal(0.0, 1.0), "per_unit"),
        "sd": (HalfNormal(1.0), "per_unit"),
        "corr": (LKJ(2.0), "none"),
        "sigma": (HalfStudentT(4.0, 1.0), "outcome"),
        "rho": (Normal(0.0, 1.0), "none"),
        "link_Intercept": (Normal(0.0, 1.5), "intercept"),
        "link_beta": (Normal(0.0, 1.0), "per_unit"),
        "link_sd": (HalfNormal(1.0), "per_unit"),
        "parameter_beta": (Normal(0.0, 1.0), "per_column"),
        "log_sigma": (Normal(0.0, 1.0), "log_outcome"),
        "nu": (Normal(2.5, 1.0), "none"),
        "phi": (Normal(2.5, 2.0), "none"),
        "shape": (Normal(1.0, 1.5), "none"),
        **dict.fromkeys(("zi", "zoi", "coi", "hu"), (Normal(0.0, 1.5), "none")),
        "cutpoint_zero": (Normal(-2.0, 3.0), "none"),
        "cutpoint_one": (Normal(2.0, 3.0), "none"),
        "loading_sd": (LogNormal(-1.0, 0.5), "none"),
        "uniqueness": (LogNormal(-1.2, 1.0), "none"),
        "between_loading_sd": (LogNormal(-1.5, 0.75), "none"),
        "between_uniqueness": (LogNormal(-2.5, 1.5), "none"),
    }


def test_every_entry_says_where_it_comes_from():
    assert all(entry.source.kind in SOURCES and entry.source.reason for entry in LIBRARY)
    assert LIBRARY.default("sd").id == "mien-weak/group-sd"


def test_a_library_without_a_role_is_refused():
    with pytest.raises(SpecError, match="for each of Intercept"):
        read_library(TEXT.replace('role = "sigma"', 'role = "corr"'))


def test_a_source_of_another_kind_is_refused():
    with pytest.raises(SpecError, match="source"):
        read_library(TEXT.replace('source = "convention"', 'source = "somebody (1999)"'))
