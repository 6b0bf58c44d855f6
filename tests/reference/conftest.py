"""The reference cases of this folder as values, whatever test reads them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

HERE = Path(__file__).parent


class Point(NamedTuple):
    """-2 log-likelihood at these values. sds and correlations are by block (one factor each), in lme4's order."""

    factors: tuple[str, ...]
    terms: tuple[tuple[str, ...], ...]
    sds: tuple[np.ndarray, ...]
    correlations: tuple[np.ndarray, ...]
    sigma: float
    beta: np.ndarray
    objective: float


class Lme4Case(NamedTuple):
    """One model of lme4 and data; points: (reml or ml, optimum first)."""

    name: str
    formula: str
    coefficients: tuple[str, ...]
    data: pd.DataFrame
    weights: str
    points: dict[str, tuple[Point, ...]]


def covariances(theta, terms):
    """Relative covariance matrices from lme4's theta: lower triangles, column by column."""
    found, at = [], 0
    for names in terms:
        k = len(names)
        factor = np.zeros((k, k))
        for j in range(k):
            factor[j:, j] = theta[at : at + k - j]
            at += k - j
        found.append(factor @ factor.T)
    return found


def _point(record, factors, terms):
    matrices = covariances(record["theta"], terms)
    sds = [np.sqrt(np.diag(matrix)) for matrix in matrices]
    correlations = [
        matrix / np.outer(sd, sd) if (sd > 0).all() else np.eye(len(sd))
        for matrix, sd in zip(matrices, sds, strict=True)
    ]
    return Point(
        factors, terms, tuple(sd * record["sigma"] for sd in sds), tuple(correlations), record["sigma"],
        np.array(record["beta"]), record["objective"],
    )  # fmt: skip


def _lme4_case(name, record):
    points = {}
    for method in ("reml", "ml"):
        mine = record[method]
        terms = tuple(tuple(names) for names in mine["terms"])
        records = [mine["optimum"], *mine["away"]]
        points[method] = tuple(_point(one, tuple(mine["factors"]), terms) for one in records)
    text = {"participant": "str", "stimulus": "str", "session": "str"}
    data = pd.read_csv(HERE / "data" / record["data"], dtype=text)
    coefficients = tuple(record["reml"]["coefficients"])
    return Lme4Case(
        name, record["formula"], coefficients, data, "weight" if record["weights"] else "", points
    )


@pytest.fixture(scope="session")
def lme4_cases():
    """All cases of lme4.json by name."""
    records = json.loads((HERE / "lme4.json").read_text(encoding="utf-8"))["cases"]
    return {name: _lme4_case(name, record) for name, record in records.items()}


@pytest.fixture(scope="session")
def nlme_cases():
    """The records of nlme.json, and their data (series of bins with holes)."""
    records = json.loads((HERE / "nlme.json").read_text(encoding="utf-8"))
    return records["cases"], pd.read_csv(HERE / "data" / records["data"])


@pytest.fixture(scope="session")
def exact_posteriors():
    """Model name → (its record in exact.json, its data)."""
    models = json.loads((HERE / "exact.json").read_text(encoding="utf-8"))["models"]
    return {name: (record, pd.read_csv(HERE / "data" / f"{name}.csv")) for name, record in models.items()}
