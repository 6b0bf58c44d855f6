"""Maximum-likelihood factor analysis by scikit-learn: `python tests/reference/factor_analysis.py` writes its JSON.

scikit-learn is no dependency of this project: run it with an interpreter that has it. The data are one level, 400 rows
of 8 shapes, made of 2 factors by `draw_truth` and `simulate_values` of seed 2026 with one participant, rounded to
thousandths; they are stored, so that only a new data set needs this package.

    at      maximum of log p(y | mean of y, Λ, Ψ) = Σ log N(y_t; mean, ΛΛ' + Ψ), Λ as found, and rotated by varimax
    away    the same log-likelihood where no optimiser has been
    scores  E[f_t | y_t] of the first rows at the maximum
"""

import json
import platform
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).with_suffix(".json")
UNIT = 0.001
SEED, ROWS, SHAPES, FACTORS = 2026, 400, 8, 2
SCORED = 5  # rows
VARIMAX = {"method": "varimax", "tol": 1e-14, "max_iter": 10_000}


def stored_or_new():
    """(row, shape) thousandths."""
    if OUTPUT.exists():
        return np.array(json.loads(OUTPUT.read_text(encoding="utf-8"))["data"]["thousandths"]).T
    from mien.simulation.co_activation import draw_truth, simulate_values

    rng = np.random.default_rng(SEED)
    truth = draw_truth(rng, shapes=SHAPES, factors=FACTORS)
    data = simulate_values(truth, rng, participants=1, stimuli=ROWS)
    return np.round(data.standardised / UNIT).astype(int)


def fit(y, factors):
    """One fit, as numbers for JSON; loadings are (shape, factor)."""
    from sklearn.decomposition import FactorAnalysis
    from sklearn.decomposition._factor_analysis import _ortho_rotation

    model = FactorAnalysis(factors, svd_method="lapack", tol=1e-13, max_iter=100_000).fit(y)
    loading, uniqueness = model.components_.T, model.noise_variance_
    record = {
        "loading": loading.tolist(),
        "uniqueness": uniqueness.tolist(),
        "log_likelihood": float(model.score_samples(y).sum()),  # loglike_ has 1e-12 added to sds
        "iterations": model.n_iter_,
        "scores": model.transform(y[:SCORED]).tolist(),
    }
    if factors > 1:
        length = np.sqrt((loading**2).sum(axis=1, keepdims=True))
        record["varimax"] = _ortho_rotation(loading, **VARIMAX).T.tolist()
        record["varimax_of_rows_of_length_one"] = (
            length * _ortho_rotation(loading / length, **VARIMAX).T
        ).tolist()  # Kaiser's normalisation
    record["away"] = []
    for number in range(2):
        rng = np.random.default_rng([SEED, factors, number])
        model.components_ = rng.normal(0, 0.6, (factors, y.shape[1])).round(3)
        model.noise_variance_ = rng.uniform(0.2, 1.5, y.shape[1]).round(3)
        record["away"].append(
            {
                "loading": model.components_.T.tolist(),
                "uniqueness": model.noise_variance_.tolist(),
                "log_likelihood": float(model.score_samples(y).sum()),
            }
        )
    return record


def lines_of(record, indent=1):
    """JSON with one line for each array of numbers."""
    space = " " * indent
    parts = []
    for name, value in record.items():
        if isinstance(value, dict):
            text = lines_of(value, indent + 1)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            items = [lines_of(item, indent + 2) for item in value]
            text = "[\n" + ",\n".join(f"{space} {item}" for item in items) + f"\n{space}]"
        elif name == "thousandths":
            items = [json.dumps(item, separators=(",", ":")) for item in value]
            text = "[\n" + ",\n".join(f"{space} {item}" for item in items) + f"\n{space}]"
        else:
            text = json.dumps(value)
        parts.append(f"{space}{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + f"\n{' ' * (indent - 1)}}}"


def main():
    import scipy
    import sklearn

    thousandths = stored_or_new()
    y = np.ascontiguousarray(thousandths) * UNIT
    record = {
        "made_by": "tests/reference/factor_analysis.py",
        "versions": {
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "data": {"seed": SEED, "thousandths": thousandths.T.tolist()},
        "fits": {str(factors): fit(y, factors) for factors in (1, FACTORS)},
    }
    OUTPUT.write_text(lines_of(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
