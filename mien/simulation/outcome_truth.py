"""The truth that an estimate is held to: the expected outcome, counted from prepared recordings.

For each bilateral shape this is the population contrast (positive minus negative) of what a Recipe computes: the
trial's mean over its window, baseline-corrected, exclusions applied. No formula gives it: coefficients are clipped
at 0, so that a mean depends on the noise; reactions have a course and habituate; trials are lost. Therefore
thousands of persons are simulated, each with a new set of stimuli, and prepared like any recording.

Persons come in pairs: the second is the first one's mirror image, with the valences swapped and every other
random number alike. Each is a fair draw; their mean is free of most chance differences between the stimuli.

    python -m mien.simulation.outcome_truth        counts again and rewrites outcome_truth.json (minutes)
"""

import argparse
import hashlib
import io
import json
import sys
import tokenize
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from mien.data_prep.recipe import Recipe
from mien.data_prep.trials import finish
from mien.simulation.design import Design, demo_design, small_design, stimuli_table
from mien.simulation.people import draw_stimulus_effects
from mien.simulation.recordings import simulate_person
from mien.simulation.trials import person_trials
from mien.simulation.truth import Truth, default_truth
from mien.study.blend_shapes import BILATERAL_NAMES
from mien.study.errors import StudyError
from mien.study.files import write_whole
from mien.study.trials import MEDIA, mean_over_bins

__all__ = ["count_truth", "fingerprint", "outcome_truth", "pair_contrasts", "replay"]

SEED = 20_260_302
PAIRS = 1_500
BATCH_PAIRS = 20
REPLAYED_PAIRS = 3
STORED = "outcome_truth.json"
GENERATOR = ("design", "truth", "people", "movements", "tracker", "recordings")
OVER = ("all", *MEDIA)  # a person's contrast over all trials, over pictures, over films


class Outcomes(NamedTuple):
    """Prepared trial means of some persons, one row a trial and shape."""

    person: np.ndarray
    positive: np.ndarray
    medium: np.ndarray
    shape: np.ndarray
    y: np.ndarray


def outcome_truth(design: Design) -> pd.DataFrame:
    """The stored truth for the session of `design` under the default Recipe.

    Returns
    -------
    DataFrame indexed by blend_shape: contrast, mc_se, picture, picture_mc_se, film, film_mc_se, person_sd, sd_y
    (coefficient units), beta (contrast / 2 / sd_y, as valence is coded -1/2, +1/2), and the latent gains.

    Raises
    ------
    StudyError
        Where no truth was counted for such a session.
    """
    for entry in _stored().values():
        if entry["fingerprint"]["session"] == design.session_sha256:
            return pd.DataFrame.from_dict(entry["shapes"], orient="index").rename_axis("blend_shape")
    raise StudyError(
        "outcome truth: expected the session of demo_design() or small_design(), found another one: count its truth "
        "with mien.simulation.outcome_truth.count_truth (minutes)."
    )


def _stored() -> dict[str, Any]:
    return json.loads(resources.files("mien.simulation").joinpath(STORED).read_text(encoding="utf-8"))


def fingerprint(design: Design, truth: Truth, recipe: Recipe) -> dict[str, str]:
    """What the truth depends on, as hashes: session, latent numbers, recipe, and the generator's source."""
    return {
        "session": design.session_sha256,
        "latent": truth.sha256,
        "recipe": recipe.sha256,
        "generator": _source_sha256(),
    }


def _source_sha256() -> str:
    """Hash of the generator's code: its tokens without comments, docstrings and layout."""
    digest = hashlib.sha256()
    for name in GENERATOR:
        source = resources.files("mien.simulation").joinpath(f"{name}.py").read_text(encoding="utf-8")
        previous = tokenize.NEWLINE
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            is_docstring = token.type == tokenize.STRING and previous in (tokenize.NEWLINE, tokenize.INDENT)
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                previous = token.type
                if token.string.strip() and token.string != "," and not is_docstring:
                    digest.update(token.string.encode() + b"\n")
    return digest.hexdigest()


def pair_contrasts(design: Design, truth: Truth, recipe: Recipe, pairs: range) -> dict[str, np.ndarray]:
    """Simulate and prepare some pairs of persons.

    Returns
    -------
    dict with "contrast" (pair, all | picture | film, blend_shape): the mean of both persons' contrasts;
    "person" (2 · pair, blend_shape): each one's; "moments" (3, blend_shape): n, Σy, Σy² over trials.
    """
    prepared = [_prepared(design, truth, recipe, pair, swap=swap) for pair in pairs for swap in (False, True)]
    trials, _ = finish(pd.concat(prepared, ignore_index=True), recipe)
    means = mean_over_bins(trials.loc[(trials["excluded"] == "").to_numpy()])
    outcomes = Outcomes(
        person=_codes(means, "participant", sorted(means["participant"].cat.categories)),
        positive=(means["valence"] == "positive").to_numpy(),
        medium=_codes(means, "medium", MEDIA),
        shape=_codes(means, "blend_shape", BILATERAL_NAMES),
        y=means["activation"].to_numpy(dtype=np.float64),
    )
    everything = np.ones(len(means), dtype=bool)
    masks = [everything, *(outcomes.medium == number for number in range(len(MEDIA)))]
    contrasts = np.stack([_person_contrasts(outcomes, rows, 2 * len(pairs)) for rows in masks], axis=1)
    powers = [np.bincount(outcomes.shape, outcomes.y**power) for power in range(3)]
    return {
        "contrast": contrasts.reshape(len(pairs), 2, *contrasts.shape[1:]).mean(1),
        "person": contrasts[:, 0],
        "moments": np.stack(powers),
    }


def _prepared(design: Design, truth: Truth, recipe: Recipe, pair: int, *, swap: bool) -> pd.DataFrame:
    """The trials of one person of a pair, before `finish`."""
    rng = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(pair,)))
    effects = draw_stimulus_effects(design, truth, rng)
    person = simulate_person(design, truth, effects, rng, swap_valence=swap)
    return person_trials(person, stimuli_table(design, swap_valence=swap), recipe, f"{2 * pair + swap:06d}")


def _person_contrasts(outcomes: Outcomes, rows: np.ndarray, persons: int) -> np.ndarray:
    """(person, blend_shape) mean of the kept positive trials minus mean of the kept negative ones, over `rows`."""
    shape = (persons, 2, len(BILATERAL_NAMES))
    cell = np.ravel_multi_index((outcomes.person, outcomes.positive.astype(int), outcomes.shape), shape)[rows]
    total = np.bincount(cell, outcomes.y[rows], minlength=int(np.prod(shape))).reshape(shape)
    mean = total / np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
    return mean[:, 1] - mean[:, 0]


def _codes(means: pd.DataFrame, column: str, names: Sequence[str]) -> np.ndarray:
    """(row,) number in `names` of each cell of a categorical column."""
    number = {name: place for place, name in enumerate(names)}
    of_category = np.array([number.get(str(name), -1) for name in means[column].cat.categories])
    return of_category[means[column].cat.codes.to_numpy()]


def count_truth(
    design: Design,
    truth: Truth,
    recipe: Recipe,
    *,
    pairs: int = PAIRS,
    workers: int = 2,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Count the truth from `pairs` pairs of persons; plain data for the JSON."""
    batches = [range(first, min(first + BATCH_PAIRS, pairs)) for first in range(0, pairs, BATCH_PAIRS)]
    results = Parallel(n_jobs=workers, return_as="generator")(
        delayed(pair_contrasts)(design, truth, recipe, batch) for batch in batches
    )
    parts = []
    for part in results:
        parts.append(part)
        if progress:
            progress(min(len(parts) * BATCH_PAIRS, pairs), pairs, "pairs of persons")
    contrast = np.concatenate([part["contrast"] for part in parts])
    return {
        "pairs": pairs,
        "fingerprint": fingerprint(design, truth, recipe),
        "replay": np.round(contrast[:REPLAYED_PAIRS, 0].mean(0), 9).tolist(),
        "shapes": _summary(
            contrast,
            np.concatenate([p["person"] for p in parts]),
            np.sum([p["moments"] for p in parts], axis=0),
            truth,
        ),
    }


def _summary(
    contrast: np.ndarray, person: np.ndarray, moments: np.ndarray, truth: Truth
) -> dict[str, dict[str, float]]:
    mean, error = np.nanmean(contrast, 0), np.nanstd(contrast, 0, ddof=1) / np.sqrt(len(contrast))
    number, total, squares = moments
    sd_y = np.sqrt(squares / number - (total / number) ** 2)
    table = {}
    for column, shape in enumerate(truth.shapes):
        row = {}
        for over, which in enumerate(OVER):
            name = "contrast" if which == "all" else which
            row[name] = mean[over, column]
            row["mc_se" if which == "all" else f"{which}_mc_se"] = error[over, column]
        row |= {"person_sd": person[:, column].std(ddof=1), "sd_y": sd_y[column]}
        row["beta"] = row["contrast"] / 2 / row["sd_y"]
        row = {key: float(f"{value:.6g}") for key, value in row.items()}
        row |= {"latent_gain_picture": shape.gain_picture, "latent_gain_film": shape.gain_film}
        table[shape.blend_shape] = row
    return table


def replay(design: Design, truth: Truth, recipe: Recipe) -> np.ndarray:
    """(blend_shape,) the mean contrast of the first few pairs, counted anew: what `replay` in the JSON holds."""
    return pair_contrasts(design, truth, recipe, range(REPLAYED_PAIRS))["contrast"][:, 0].mean(0)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mien.simulation.outcome_truth", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(STORED))
    given = parser.parse_args()

    def tell(done: int, total: int, label: str) -> None:
        print(f"\r{done} of {total} {label}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    result = {
        name: count_truth(
            design, default_truth(), Recipe(), pairs=given.pairs, workers=given.workers, progress=tell
        )
        for name, design in (("demo", demo_design()), ("small", small_design()))
    }
    write_whole(given.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    _main()
