"""Peers that sample by NUTS: each gives, for each repetition, its seconds and the draws of its scalars.

    bambi     `||` (Bambi has no correlated effects), nutpie; model and compiling timed apart
    pymc      correlated, PyMC's own NUTS; compiling happens within pm.sample, sampling time is what it reports
    numpyro   correlated, jax on the processor, in an environment of its own
    brms      correlated, Stan; compiled once

PyMC, numpyro and brms get the outcome divided by its sd and the default priors in those units: the same model.
All keep 4 chains × 1,000 draws after 1,000 steps of warm-up, on two cores.
"""

import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simulators
from fits import NotThereError

from peers.warm import HERE, WarmProcess, r_command

WARMUP, DRAWS, CORES = 1000, 1000, 2


class Sampled(NamedTuple):
    """One repetition: seconds with everything compiled, seconds of compiling in it (nan: done before), draws."""

    seconds: float
    compile_seconds: float
    draws: dict[str, np.ndarray]


def standardised(design, order, y):
    """(rows in their new order, y / sd) with y's mean taken off, as the default prior of the intercept does."""
    y = y[order]
    return design.person[order], design.stimulus[order], design.sign[order], (y - y.mean()) / y.std()


def bambi(design, repetitions):
    import nutpie

    from mien.models import to_bambi

    frame = design.frame()
    for number, (order, y) in enumerate(repetitions):
        data = frame.iloc[order].reset_index(drop=True).assign(activation=y[order])
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = to_bambi(simulators.SLOPES_INDEPENDENT, data)
            model.build()
            compiled = nutpie.compile_pymc_model(model.backend.model)
            ready = time.perf_counter()
            tree = nutpie.sample(
                compiled, draws=DRAWS, tune=WARMUP, chains=4, cores=CORES, seed=number, progress_bar=False
            )
        posterior = tree["posterior"]
        names = [
            "Intercept", "valence", "sigma", "1|participant_sigma", "valence|participant_sigma", "1|stimulus_sigma",
        ]  # fmt: skip
        draws = {name: np.asarray(posterior[name]) for name in names}
        yield Sampled(time.perf_counter() - ready, ready - start, draws)


def slopes_model(person, stimulus, sign, y):
    import pymc as pm

    with pm.Model() as model:
        intercept = pm.Normal("Intercept", 0, 2.5)
        valence = pm.Normal("valence", 0, 2)
        item_sd = pm.HalfNormal("1|stimulus_sigma", 1)
        sigma = pm.HalfStudentT("sigma", nu=4, sigma=1)
        factor, *_ = pm.LKJCholeskyCov(
            "participant",
            n=2,
            eta=2,
            sd_dist=pm.HalfNormal.dist(np.array([1.0, 2.0]), shape=2),
            compute_corr=True,
        )
        z = pm.Normal("z", 0, 1, shape=(int(person.max()) + 1, 2))
        item = pm.Normal("item", 0, 1, shape=int(stimulus.max()) + 1) * item_sd
        effects = z @ factor.T
        mean = intercept + effects[person, 0] + (valence + effects[person, 1]) * sign + item[stimulus]
        pm.Normal("y", mean, sigma, observed=y)
    return model


def pymc(design, repetitions):
    import pymc as pm

    for number, (order, y) in enumerate(repetitions):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = pm.sample(
                draws=DRAWS, tune=WARMUP, chains=4, cores=CORES, random_seed=number, progressbar=False,
                nuts_sampler="pymc", compute_convergence_checks=False,
                model=slopes_model(*standardised(design, order, y)),
            )  # fmt: skip
        whole = time.perf_counter() - start
        posterior = tree["posterior"]
        sampling = float(posterior.attrs.get("sampling_time", tree.attrs.get("sampling_time", whole)))
        draws = {
            name: np.asarray(posterior[name])
            for name in ("Intercept", "valence", "1|stimulus_sigma", "sigma")
        }
        sds = np.asarray(posterior["participant_stds"])
        draws |= {"1|participant_sigma": sds[..., 0], "valence|participant_sigma": sds[..., 1]}
        draws["corr"] = np.asarray(posterior["participant_corr"])[..., 1, 0]
        yield Sampled(sampling, whole - sampling, draws)


def numpyro_python():
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    python = cache / "mien-peers" / "numpyro" / "bin" / "python"
    if not python.exists():
        raise NotThereError("no environment with numpyro: benchmarks/engines/install-peers")
    return str(python)


def numpyro(design, repetitions):
    command = [numpyro_python(), str(HERE / "numpyro_slopes.py"), str(WARMUP), str(DRAWS)]
    compiling = None
    with tempfile.TemporaryDirectory() as folder, WarmProcess(command) as process:
        process.read()
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        for order, y in repetitions:
            names = ("person", "stimulus", "sign", "y")
            np.savez(source, **dict(zip(names, standardised(design, order, y), strict=True)))
            seconds = process.ask(f"{source} {target}")["seconds"]
            if compiling is None:  # the first time has it: asked again for the time without
                again = process.ask(f"{source} {target}")["seconds"]
                compiling, seconds = max(seconds - again, 0.0), again
            with np.load(target) as found:
                draws = dict(found)
            yield Sampled(seconds, compiling, draws)


def brms(design, repetitions):
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.bin", Path(folder) / "out.bin"
        write_design(design, Path(folder) / "design.csv")
        command = r_command("brms.R", "brms", Path(folder) / "design.csv", WARMUP, DRAWS, CORES)
        with WarmProcess(command) as process:
            compiling = process.read()["compile_seconds"]
            for order, y in repetitions:
                np.concatenate([order + 1.0, (y - y.mean()) / y.std()]).tofile(source)
                seconds = process.ask(f"{source} {target}")["seconds"]
                values = np.fromfile(target)
                arrays = values[1:].reshape(int(values[0]), 4, -1)
                draws = {f"parameter {place}": array for place, array in enumerate(arrays)}
                yield Sampled(seconds, compiling, draws)


def write_design(design, path):
    """For R: factors as text, valence as the number that both sides use."""
    frame = design.frame()
    frame["valence"] = design.sign
    frame.to_csv(path, index=False)


PEERS = {"bambi": bambi, "pymc": pymc, "numpyro": numpyro, "brms": brms}
