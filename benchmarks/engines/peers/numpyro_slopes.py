"""The slopes model in numpyro, in numpyro's own environment: `python numpyro_slopes.py WARMUP DRAWS`.

For each line on stdin ("IN OUT", .npz files) 4 chains; the first includes the compiling, which jit_model_args
keeps for the others. Prints a line of JSON each. y is standardised. Chains are vectorised and numbers float32, which
was the fastest of the ways that numpyro has on two cores.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS


def model(person, stimulus, sign, y, participants=32, stimuli=52):
    intercept = numpyro.sample("Intercept", dist.Normal(0, 2.5))
    valence = numpyro.sample("valence", dist.Normal(0, 2))
    sd = numpyro.sample("sd", dist.HalfNormal(jnp.array([1.0, 2.0])).to_event(1))
    item_sd = numpyro.sample("1|stimulus_sigma", dist.HalfNormal(1.0))
    sigma_scale = numpyro.sample("sigma", dist.FoldedDistribution(dist.StudentT(4.0, 0.0, 1.0)))
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    z = numpyro.sample("z", dist.Normal(0, 1).expand([participants, 2]).to_event(2))
    item = numpyro.sample("item", dist.Normal(0, 1).expand([stimuli]).to_event(1)) * item_sd
    effects = z @ (sd[:, None] * factor).T
    mean = intercept + effects[person, 0] + (valence + effects[person, 1]) * sign + item[stimulus]
    numpyro.sample("y", dist.Normal(mean, sigma_scale), obs=y)


def main():
    warmup, draws = int(sys.argv[1]), int(sys.argv[2])
    mcmc = MCMC(
        NUTS(model), num_warmup=warmup, num_samples=draws, num_chains=4, chain_method="vectorized",
        progress_bar=False, jit_model_args=True,
    )  # fmt: skip
    print(json.dumps({"numpyro": numpyro.__version__, "jax": jax.__version__}), flush=True)
    for number, line in enumerate(sys.stdin):
        source, target = line.split()
        data = np.load(source)
        arrays = [jnp.asarray(data[name]) for name in ("person", "stimulus", "sign", "y")]
        start = time.perf_counter()
        mcmc.run(jax.random.PRNGKey(number), *arrays)
        samples = {name: np.asarray(values) for name, values in mcmc.get_samples(group_by_chain=True).items()}
        seconds = time.perf_counter() - start
        found = {name: samples[name] for name in ("Intercept", "valence", "1|stimulus_sigma", "sigma")}
        found |= {
            "1|participant_sigma": samples["sd"][..., 0],
            "valence|participant_sigma": samples["sd"][..., 1],
        }
        found["corr"] = samples["factor"][..., 1, 0]
        np.savez(target, **found)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
