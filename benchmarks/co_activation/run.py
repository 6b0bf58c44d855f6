"""What co-activation costs: `python benchmarks/co_activation/run.py [sampling trials choice scores cold]`.

    sampling   34 shapes, 5 + 2 factors, 32 persons × 52 trials, 4 chains × (500 + 1,000): seconds and effective sizes;
               the same with a tenth of the trials missing, and of the 29 shapes that are the default
    trials     the same with 100 times the trials: sums and sampling apart
    choice     K = 3 … 7 of 29 shapes with trials and 8 folds of persons left out
    scores     the same model with explicit scores in PyMC and nutpie, run until R-hat of all communalities is 1.01 at
               most (up to --minutes), against `sampling`'s effective draws a second
    cold       compilation of the density and of the rotation with an empty cache, in a process of its own

Results: results/<part>.json, as in benchmarks/engines.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "engines"))
import record  # noqa: E402

record.RESULTS = HERE / "results"
ALL_SHAPES, DEFAULT_SHAPES = 34, 29
REPEATS = 5
PARTS = ("sampling", "trials", "choice", "scores", "cold")


def simulated(shapes, *, participants=32, stimuli=52, missing=0.0, seed=1):
    from mien.simulation.co_activation import draw_truth, simulate_values

    rng = np.random.default_rng(seed)
    truth = draw_truth(rng, shapes=shapes, factors=5, between=2)
    return simulate_values(truth, rng, participants=participants, stimuli=stimuli, missing=missing)


def sums_of(data):
    from mien.models.factors.sums import factor_sums

    sums = factor_sums(data.standardised, data.design, data.participant)
    return sums.scaled(np.sqrt(np.diag(sums.within) / sums.count[0]))


def drawn(sums, seed):
    from mien.models import co_activation
    from mien.models.engines.factor_sampler import ATTEMPTS, sample_factors
    from mien.models.engines.problem import Settings

    return sample_factors(
        sums, 5, 2, co_activation(5).prior_numbers, Settings(1000, 4, seed), attempts=ATTEMPTS[:1]
    )


def communality_measures(loading, uniqueness):
    """Smallest bulk ESS and largest R-hat over shapes."""
    from mien.models.diagnostics import measure
    from mien.models.factors.fitting import communality

    share = communality(loading, uniqueness)
    measures = [measure(share[..., shape]) for shape in range(share.shape[-1])]
    return min(one.ess_bulk for one in measures), max(one.r_hat for one in measures)


def timed_sampling(sums, repeats=REPEATS):
    wall, cpu, sizes, sizes_b, r_hats, steps = [], [], [], [], [], []
    for seed in range(repeats):
        begin, used = time.perf_counter(), time.process_time()
        draws = drawn(sums, seed)
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
        size, r_hat = communality_measures(draws.loading, draws.uniqueness)
        size_b, r_hat_b = communality_measures(draws.between_loading, draws.between_uniqueness)
        sizes.append(size)
        sizes_b.append(size_b)
        r_hats.append(max(r_hat, r_hat_b))
        steps.append(float(draws.stats["n_steps"].mean()))
    return {
        "wall_s": record.spread(wall), "cpu_s": record.spread(cpu), "ess_within": record.spread(sizes),
        "ess_between": record.spread(sizes_b), "max_r_hat": max(r_hats), "steps": float(np.mean(steps)),
        "ess_within_per_s": float(np.median(sizes) / np.median(wall)),
    }  # fmt: skip


def gradient_us(sums):
    from mien.models import co_activation
    from mien.models.engines import factor_kernel as kernel

    shapes = sums.vectors.shape[1]
    q = 0.1 * np.random.default_rng(0).normal(size=kernel.size_of(shapes, 5, 2))
    arguments = (
        5,
        2,
        sums.weight,
        sums.count,
        *kernel.squared_where_cheaper(sums.first, sums.vectors),
        np.eye(shapes),
        np.array([*co_activation(5).prior_numbers, 0.05]),
        np.empty_like(q),
    )
    kernel.log_density(q, *arguments)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(200):
            kernel.log_density(q, *arguments)
        times.append((time.perf_counter() - begin) / 200 * 1e6)
    return float(np.median(times))


def sampling():
    drawn(sums_of(simulated(8, participants=6, stimuli=10)), 0)  # compiled code is read
    for name, shapes, missing in (
        ("34 shapes", ALL_SHAPES, 0.0),
        ("34 shapes, a tenth missing", ALL_SHAPES, 0.1),
        ("29 shapes", DEFAULT_SHAPES, 0.0),
    ):
        sums = sums_of(simulated(shapes, missing=missing))
        record.save("sampling", {name: {**timed_sampling(sums), "gradient_us": gradient_us(sums)}})


def trials():
    """Interleaved, so that what else runs falls on both."""
    sizes = {"1,664 trials": 52, "166,400 trials": 5200}
    made, seconds = {}, {name: [] for name in sizes}
    entry = {}
    for name, stimuli in sizes.items():
        data = simulated(ALL_SHAPES, stimuli=stimuli)
        begin = time.perf_counter()
        made[name] = sums_of(data)
        entry[name] = {"sums_s": time.perf_counter() - begin}
    for seed in range(REPEATS):
        for name, sums in made.items():
            begin = time.perf_counter()
            drawn(sums, seed)
            seconds[name].append(time.perf_counter() - begin)
    for name, values in seconds.items():
        entry[name] |= {"sampling_s": record.spread(values), "gradient_us": gradient_us(made[name])}
    fewer, more = (np.median(values) for values in seconds.values())
    record.save("trials", {"100 times the trials": {**entry, "ratio": float(more / fewer)}})


def choice():
    from mien.models import co_activation, factor_numbers
    from mien.simulation.co_activation import draw_truth, simulate_factors

    rng = np.random.default_rng(1)
    truth = draw_truth(rng, shapes=DEFAULT_SHAPES, factors=5, between=2)
    table = simulate_factors(truth, rng, participants=32, stimuli=52).trials
    begin, used = time.perf_counter(), time.process_time()
    found = factor_numbers(table, factors=range(3, 8), spec=co_activation(5), folds=8, seed=1)
    entry = {
        "wall_s": time.perf_counter() - begin, "cpu_s": time.process_time() - used,
        "recommended": int(found.recommended), "answer": found.answer,
    }  # fmt: skip
    record.save("choice", {"K = 3 to 7, 29 shapes, 8 folds": entry})


def least(entry):
    """Effective draws a second of the slowest communality of both levels."""
    sizes = entry["ess_within"]["median"], entry["ess_between"]["median"]
    return min(sizes) / entry["wall_s"]["median"]


def scores(minutes, first):
    """Runs of twice the draws until all communalities' R-hat is 1.01 at most, or the time is up."""
    from mien.models import co_activation
    from mien.models.engines.factor_graph import factor_model, sample_plain

    data = simulated(ALL_SHAPES)
    sums = sums_of(data)
    ours = timed_sampling(sums)
    from mien.models.factors.sums import factor_sums

    raw = factor_sums(data.standardised, data.design, data.participant)
    y = (data.standardised - data.standardised.mean(axis=0)) / np.sqrt(np.diag(raw.within) / raw.count[0])
    model = factor_model(
        y, data.design, data.participant, factors=5, between=2, priors=co_activation(5).prior_numbers
    )
    draws, spent = first, 0.0
    while True:
        begin = time.perf_counter()
        found = sample_plain(model, seed=draws, draws=draws, tune=500)
        wall = time.perf_counter() - begin
        spent += wall
        size, r_hat = communality_measures(found.loading, found.uniqueness)
        size_b, r_hat_b = communality_measures(found.between_loading, found.between_uniqueness)
        entry = {
            "draws": draws, "wall_s": wall, "ess_within": size, "ess_between": size_b,
            "max_r_hat": max(r_hat, r_hat_b), "converged": bool(max(r_hat, r_hat_b) <= 1.01),
            "steps": float(found.stats["n_steps"].mean()), "ess_within_per_s": size / wall, "ours": ours,
            "ratio_within": ours["ess_within_per_s"] / (size / wall),
            "ratio_of_all": least(ours) / (min(size, size_b) / wall),
        }  # fmt: skip
        record.save("scores", {f"PyMC and nutpie, {draws} draws": entry})
        if entry["converged"] or spent + 2 * wall > 60 * minutes:
            return
        draws *= 2


COLD = """
import time
begin = time.perf_counter()
from mien.models.engines import factor_kernel
from mien.models.factors.rotation import varimax
import numpy as np
imported = time.perf_counter()
varimax(np.random.default_rng(0).normal(size=(2, 5, 2)))
factor_kernel.unfolded(np.zeros((1, factor_kernel.size_of(4, 2, 1))), np.eye(4), 2, 1, 0.1)
print(imported - begin, time.perf_counter() - begin)
"""


def cold():
    """Compilation happens where the density is imported."""
    entry = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty cache", "second process"):
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            told = subprocess.run(
                [sys.executable, "-c", COLD], env=environment, capture_output=True, text=True, check=True
            ).stdout.split()
            entry[name] = {"import_s": float(told[0]), "all_s": float(told[1])}
    record.save("cold", {"density and rotation": entry})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all but scores where none is named")
    parser.add_argument("--first", type=int, default=500, help="draws of the first run of scores")
    parser.add_argument("--minutes", type=float, default=40.0, help="of scores")
    chosen = parser.parse_args()
    for part in chosen.parts or [part for part in PARTS if part != "scores"]:
        if part == "scores":
            scores(chosen.minutes, chosen.first)
        else:
            {"sampling": sampling, "trials": trials, "choice": choice, "cold": cold}[part]()


if __name__ == "__main__":
    main()
