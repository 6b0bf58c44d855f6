import re
from importlib import resources
from pathlib import Path

import pytest

from mien.priors import LIBRARY, LKJ, HalfNormal, HalfStudentT, LogNormal, Normal, read_library
from mien.priors.library import ROLES, SOURCES
from mien.priors.library_table import library_table
from mien.study.errors import SpecError

TEXT = resources.files("mien.priors").joinpath("library.toml").read_text(encoding="utf-8")


def test_defaults_by_role():
    priors = {entry.role: (entry.prior, entry.times) for entry in LIBRARY if not entry.variant}
    assert priors == {
        "Intercept": (Normal(0.0, 2.5), "intercept"),
        "beta": (Normal(0.0, 1.0), "per_unit"),
        "sd": (HalfNormal(1.0), "per_unit"),
        "smooth": (HalfNormal(1.0), "per_unit"),
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


def test_every_entry_says_where_it_comes_from_and_what_it_says():
    assert all(entry.source.kind in SOURCES and len(entry.source.reason) > 10 for entry in LIBRARY)
    assert all(entry.implies is not None for entry in LIBRARY)
    assert LIBRARY.default("sd").id == "mien-weak/group-sd"


def test_every_literature_entry_has_a_doi_and_the_sentence_that_was_read():
    literature = [entry for entry in LIBRARY if entry.source.kind == "literature"]
    assert [entry.id for entry in literature] == ["mien-weak/correlation"]
    for entry in literature:
        assert entry.source.doi.startswith("10.")
        assert len(entry.source.sentence.split()) > 5
        assert entry.source.record["read_in"]


@pytest.mark.parametrize("left_out", ["doi", "sentence"])
def test_a_literature_entry_without_what_was_read_is_refused(left_out):
    lines = [line for line in TEXT.splitlines() if not line.startswith(f"{left_out} = ")]
    with pytest.raises(SpecError, match="sentence that was read"):
        read_library("\n".join(lines))


def test_what_nobody_read_cannot_be_called_literature():
    with pytest.raises(SpecError, match="is a rule or a convention"):
        read_library(TEXT.replace('source = "convention"', 'source = "literature"', 1))


def test_the_sentence_of_the_library():
    found = LIBRARY.find("coefficient:sceptical").implies.sentence()
    assert found == (
        "With probability .95, the change of the average outcome when a column rises by one sd is between −0.294 and "
        "0.294 sd of the outcome."
    )
    assert (
        LIBRARY.default("uniqueness").implies.sentence().endswith("2.14 times its variance within persons.")
    )


# Variants


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_wide_and_narrow(role):
    names = [entry.variant for entry in LIBRARY.variants(role)]
    assert names in (["wide", "narrow"], ["sceptical", "wide", "narrow"])
    default = LIBRARY.default(role)
    for entry in LIBRARY.variants(role):
        assert (entry.scale, entry.times, entry.role) == (default.scale, default.times, role)
        assert type(entry.prior) is type(default.prior)


@pytest.mark.parametrize("role", ROLES)
def test_wide_and_narrow_are_the_default_by_the_factor_that_is_stated(role):
    default = LIBRARY.default(role)
    for entry in LIBRARY.variants(role)[-2:]:
        sign, factor = re.search(r"(?:width|eta) ([×÷]) ([\d.]+)", entry.source.reason).groups()
        moved = {"×": float(factor), "÷": 1.0 / float(factor)}[sign]
        assert _width(entry.prior) == pytest.approx(_width(default.prior) * moved)
        assert _middle(entry.prior) == _middle(default.prior)
        wider = 1.0 / moved if isinstance(entry.prior, LKJ) else moved
        assert (wider > 1.0) == (entry.variant == "wide")


def test_the_sceptical_ones():
    """Those of effects are centred on none; those of shares and loadings say that there is little."""
    found = {entry.role: entry.prior for entry in LIBRARY if entry.variant == "sceptical"}
    assert found == {
        "beta": Normal(0.0, 0.15),
        "sd": HalfNormal(0.25),
        "corr": LKJ(20.0),
        "rho": Normal(0.0, 0.25),
        "link_beta": Normal(0.0, 0.25),
        "link_sd": HalfNormal(0.25),
        "parameter_beta": Normal(0.0, 0.25),
        "zi": Normal(-3.0, 1.0),
        "loading_sd": LogNormal(-2.0, 0.5),
        "uniqueness": LogNormal(-0.1, 0.3),
        "between_loading_sd": LogNormal(-2.5, 0.75),
    }


def _width(prior):
    return next(getattr(prior, name) for name in ("sd", "scale", "sigma", "eta") if hasattr(prior, name))


def _middle(prior):
    return getattr(prior, "mean", getattr(prior, "mu", getattr(prior, "df", None)))


# The page


def test_the_page_has_every_entry_as_it_is():
    page = (Path(__file__).resolve().parents[2] / "docs" / "priors_library.md").read_text(encoding="utf-8")
    assert library_table(LIBRARY) in page, "run: python -m mien.priors.library_table"


def test_the_table_follows_the_library():
    moved = read_library(TEXT.replace("upper = 1.95996", "upper = 1.5", 1))
    assert library_table(moved) != library_table(LIBRARY)
    rows = library_table(LIBRARY).splitlines()
    assert sum(row.startswith("| `") for row in rows) == len(list(LIBRARY))


def test_a_library_without_a_role_is_refused():
    first = TEXT.index('[[prior]]\nid = "residual-sd"')
    after = TEXT.index("[[prior]]", first + 1)
    with pytest.raises(SpecError, match="for each of Intercept"):
        read_library(TEXT[:first] + TEXT[after:])


def test_a_source_of_another_kind_is_refused():
    with pytest.raises(SpecError, match="source"):
        read_library(TEXT.replace('source = "convention"', 'source = "somebody (1999)"'))
