"""Small fits of each family, each made once."""

import pytest

from tests.models.likelihood_study import make_study


@pytest.fixture(scope="session")
def fit_of():
    """A fit of a family, by its formula and regressions."""
    import mien

    kept = {}

    def fit(family, formula="raw ~ valence + (1 | participant)", parameters=None, seed=0):
        key = (family, formula, str(parameters), seed)
        if key not in kept:
            kept[key] = mien.fit(
                formula,
                make_study(family, 10, 16, seed),
                family=family,
                parameters=parameters or {},
                draws=500,
            )
        return kept[key]

    return fit
