"""Exact posteriors of three small models: `python tests/reference/quadrature.py` writes exact.json.

Everything Gaussian is integrated by dense linear algebra, the two parameters that are left by Gauss-Legendre
quadrature on a scale where the posterior is smooth; `error` is the largest difference, in posterior sds, to the same
sum with two thirds of the nodes. Log evidence is with all normalising constants.

    intercepts   y ~ x + (1 | participant)         over sd and sigma
    series       y ~ x + (1 | participant), AR(1)  over sigma and rho, sd known, bins lost
    strata       y ~ x + (1 | participant)         over the sigma of pictures and of films, sd known

Priors: Intercept N(0, 2), x N(0, 1), sd half-normal(1), sigma half-t(4, 1) (strata: half-normal(1)),
atanh rho N(0, .5).
"""

import json
from math import lgamma, log, pi
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
PRIOR_SD = np.array([2.0, 1.0])  # of Intercept and x


def log_half_normal(value, scale):
    return log(2) - 0.5 * log(2 * pi) - log(scale) - 0.5 * (value / scale) ** 2


def log_half_t(value, df, scale):
    constant = lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 * log(df * pi) + log(2) - log(scale)
    return constant - (df + 1) / 2 * np.log1p((value / scale) ** 2 / df)


class Model:
    """Data of one model: X with the participants' indicators beside it."""

    def __init__(self, name):
        self.frame = pd.read_csv(HERE / "data" / f"{name}.csv")
        codes, self.levels = pd.factorize(self.frame["participant"])
        self.y = self.frame["y"].to_numpy()
        self.columns = np.column_stack(
            [np.ones(len(codes)), self.frame["x"], np.eye(len(self.levels))[codes]]
        )

    def given(self, sd, residual):
        """Log p(y) and the mean and sd of coefficients and effects, given sd and the residual covariance."""
        prior = np.concatenate([PRIOR_SD, np.full(len(self.levels), sd)]) ** 2
        whole = residual + (self.columns * prior) @ self.columns.T
        factor = np.linalg.cholesky(whole)
        white = np.linalg.solve(factor, np.column_stack([self.y, self.columns * prior]))
        value = -0.5 * (len(self.y) * log(2 * pi) + white[:, 0] @ white[:, 0]) - np.log(np.diag(factor)).sum()
        return value, white[:, 1:].T @ white[:, 0], prior - (white[:, 1:] ** 2).sum(axis=0)

    def names(self):
        return ["Intercept", "x", *(f"1|participant[{level}]" for level in self.levels)]


def ar1_covariance(frame, rho):
    """Correlation rho^gap within a trial of a participant."""
    series = (frame["participant"] + frame["trial"]).to_numpy()
    bins = frame["bin"].to_numpy()
    return (series[:, None] == series) * rho ** np.abs(bins[:, None] - bins)


def integrate(model, names, axes, nodes, point):
    """Moments of the two parameters, the coefficients and the effects over a box.

    `point` maps the two coordinates to (values of the parameters, log prior with Jacobian, sd, residual covariance).
    """
    x, w = np.polynomial.legendre.leggauss(nodes)
    grids = [0.5 * (high - low) * (x + 1) + low for low, high in axes]
    scale = np.prod([0.5 * (high - low) for low, high in axes])
    logs, means, variances = [], [], []
    for i, first in enumerate(grids[0]):
        for j, second in enumerate(grids[1]):
            values, log_prior, sd, residual = point(first, second)
            value, mean, variance = model.given(sd, residual)
            logs.append(value + log_prior + log(w[i] * w[j] * scale))
            means.append([*values, *mean])
            variances.append([0.0, 0.0, *variance])
    logs, means, variances = np.array(logs), np.array(means), np.array(variances)
    weight = np.exp(logs - logs.max())
    evidence = float(logs.max() + log(weight.sum()))
    weight /= weight.sum()
    mean = weight @ means
    sd = np.sqrt(weight @ (variances + (means - mean) ** 2))
    return evidence, dict(zip([*names, *model.names()], zip(mean, sd, strict=True), strict=True))


def exact(model, names, axes, point, nodes):
    evidence, found = integrate(model, names, axes, nodes, point)
    coarse_evidence, coarse = integrate(model, names, axes, 2 * nodes // 3, point)
    error = max(
        max(abs(found[name][0] - coarse[name][0]), abs(found[name][1] - coarse[name][1])) / found[name][1]
        for name in found
    )
    return {
        "log_evidence": evidence,
        "error": max(error, abs(evidence - coarse_evidence)),
        "moments": {name: {"mean": float(mean), "sd": float(sd)} for name, (mean, sd) in found.items()},
    }


def of_intercepts(nodes=120):
    model = Model("intercepts")
    identity = np.eye(len(model.y))

    def point(sd, log_sigma):
        sigma = np.exp(log_sigma)
        prior = log_half_normal(sd, 1) + log_half_t(sigma, 4, 1) + log_sigma
        return (sd, sigma), prior, sd, sigma**2 * identity

    return exact(model, ["1|participant_sigma", "sigma"], [(0.0, 4.0), (log(0.4), log(2.2))], point, nodes)


def of_series(nodes=120):
    model = Model("series")

    def point(log_sigma, atanh_rho):
        sigma, rho = np.exp(log_sigma), np.tanh(atanh_rho)
        prior = log_half_t(sigma, 4, 1) + log_sigma
        prior += -0.5 * log(2 * pi) - log(0.5) - 0.5 * (atanh_rho / 0.5) ** 2
        return (sigma, rho), prior, 0.6, sigma**2 * ar1_covariance(model.frame, rho)

    result = exact(model, ["sigma", "rho"], [(log(0.35), log(2.0)), (-0.4, 1.8)], point, nodes)
    return {"known": {"sd:1|participant": 0.6}, **result}


def of_strata(nodes=120):
    model = Model("strata")
    film = model.frame["medium"].to_numpy() == "film"

    def point(log_picture, log_film):
        picture, films = np.exp(log_picture), np.exp(log_film)
        prior = log_half_normal(picture, 1) + log_half_normal(films, 1) + log_picture + log_film
        return (picture, films), prior, 0.5, np.diag(np.where(film, films, picture) ** 2)

    names = ["sigma[picture]", "sigma[film]"]
    axes = [(log(0.15), log(1.6)), (log(0.3), log(3.5))]
    return {"known": {"sd:1|participant": 0.5}, **exact(model, names, axes, point, nodes)}


def main():
    out = {
        "made_by": "tests/reference/quadrature.py",
        "models": {"intercepts": of_intercepts(), "series": of_series(), "strata": of_strata()},
    }
    (HERE / "exact.json").write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    for name, model in out["models"].items():
        print(name, model["log_evidence"], model["error"])
        for parameter, moments in list(model["moments"].items())[:5]:
            print(f"  {parameter:24s} {moments['mean']:.5f}  {moments['sd']:.5f}")


if __name__ == "__main__":
    main()
