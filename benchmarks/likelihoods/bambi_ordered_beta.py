"""The ordered beta regression as a custom family of Bambi: what a user of this year's Python writes instead.

Bambi has no correlated group effects, so that its model is `||`, a little easier than ours.
"""

import bambi as bmb
import numpy as np
import pymc as pm
import pytensor.tensor as pt

FORMULA = "raw ~ sign + (sign | participant) + (1 | stimulus)"


def log_density(y, mu, c1, dc, phi):
    """c1 is the lower cutpoint, dc their distance; 0 and 1 or above are categories of their own."""
    eta = pt.log(mu) - pt.log1p(-mu)
    lower, upper = eta - c1, eta - c1 - dc
    zero, one = pt.le(y, 0.0), pt.ge(y, 1.0)
    inside = pt.switch(zero | one, 0.5, y)
    beta = pm.logp(pm.Beta.dist(alpha=mu * phi, beta=(1 - mu) * phi), inside)
    between = -pt.softplus(-lower) - pt.softplus(upper) + pt.log1mexp(-dc)
    return pt.switch(zero, -pt.softplus(lower), pt.switch(one, -pt.softplus(-upper), between + beta))


class OrderedBeta:
    """What Bambi calls to make the response, and to simulate it."""

    def __new__(cls, name, mu, c1, dc, phi, **kwargs):
        return pm.CustomDist(name, mu, c1, dc, phi, logp=log_density, **kwargs)

    @staticmethod
    def dist(mu, c1, dc, phi, **kwargs):
        return pm.CustomDist.dist(mu, c1, dc, phi, logp=log_density, **kwargs)


def build(study):
    """The model, built; priors of the same size as ours."""
    likelihood = bmb.Likelihood(
        "OrderedBeta", params=["mu", "c1", "dc", "phi"], parent="mu", dist=OrderedBeta
    )
    family = bmb.Family(
        "ordered_beta", likelihood, {"mu": "logit", "c1": "identity", "dc": "log", "phi": "log"}
    )
    data = study.assign(sign=np.where(study["valence"] == "positive", 0.5, -0.5))

    def group(sd):
        return bmb.Prior("Normal", mu=0, sigma=bmb.Prior("HalfNormal", sigma=sd))

    priors = {
        "Intercept": bmb.Prior("Normal", mu=-0.8, sigma=1.5), "sign": bmb.Prior("Normal", mu=0, sigma=2),
        "1|participant": group(1), "sign|participant": group(2), "1|stimulus": group(1),
        "c1": bmb.Prior("Normal", mu=-2, sigma=3), "dc": bmb.Prior("HalfNormal", sigma=6),
        "phi": bmb.Prior("LogNormal", mu=2.5, sigma=2),
    }  # fmt: skip
    model = bmb.Model(FORMULA, data, family=family, priors=priors)
    model.build()
    return model
