"""What is looked at of a prior tree, as draws: effects, persons, reliability, curves, replicates.

Everything comes from what reads fits. An effect is told per step of its column: 1 of a coded category (positive −
negative), one sd of a number; of a family with a link it is the contrast of the mean response.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from mien.models.coding import level_columns
from mien.models.courses import course_draws
from mien.models.design import Design
from mien.models.effect_tables import coefficient_names
from mien.models.likelihoods import LIKELIHOODS
from mien.models.mean_response import has_link, mean_response, response_of_level
from mien.models.person_tables import reliability_variances
from mien.models.refit import design_of, of_shape, used_rows
from mien.models.replicates import posterior_predictive
from mien.models.smooths import is_smooth_term

__all__ = ["WHO", "Effect", "ShapeDraws", "Step", "replicated"]

WHO = "participant"
NUMBERS = 12_000_000  # replicates of all shapes together
TIMES = 41  # at which courses are looked at
LINKED_DRAWS, LINKED_PERSONS = 200, 12  # of persons' mean responses, which are integrals

type Effect = tuple[str, np.ndarray]  # words, (draw,)


class Step:
    """Words, size and column of a coefficient.

    words : "positive − negative", "one sd of age_z". size : what its coefficient is multiplied by. sd : of its column.
    """

    def __init__(self, name: str, design: Design, coding: Mapping[str, Sequence[str]]) -> None:
        coded = {
            column: _words_of_code(category, column, levels)
            for category, levels in coding.items()
            for column in level_columns(category, list(levels))
        }
        columns = dict(zip(design.coefficients, design.columns.T, strict=True))
        for block in design.blocks:
            columns |= {t: c for t, c in zip(block.terms, block.columns.T, strict=True) if t not in columns}
        bases = name.split(":")
        self.coded = all(base in coded for base in bases)
        words = [coded.get(base, f"one sd of {base}") for base in bases]
        self.words = words[0] if len(words) == 1 else " × ".join(f"({one})" for one in words)
        self.sd = float(columns[name].std()) if name in columns else 1.0
        self.size = float(
            np.prod([columns[b].std() for b in bases if b not in coded and b in columns] or [1.0])
        )


def _words_of_code(category: str, column: str, levels: Sequence[str]) -> str:
    if category == "valence":
        return "positive − negative" if column == "valence" else "neutral − the others"
    return f"{levels[1]} − {levels[0]}" if len(levels) == 2 else column


class ShapeDraws:
    """One outcome of a prior tree.

    Parameters
    ----------
    label : its shape, None for a single outcome. replicates : (draw, row) of its rows.
    """

    def __init__(self, tree: xr.DataTree, label: str | None, replicates: np.ndarray) -> None:
        self.tree, self.label, self.replicates = tree, label, replicates
        self.name = label or ""
        used = used_rows(tree, label)
        self.observed = (
            of_shape(tree["observed_data"].dataset, label)["outcome"].to_numpy()[used].astype(float)
        )
        self.spread = float(self.observed.std())
        self.family = str(tree.attrs["family"])
        self.link = LIKELIHOODS[self.family].link if self.family in LIKELIHOODS else "identity"
        contrasts = json.loads(str(tree.attrs["model_spec"])).get("contrasts", {})
        self.units = "contrast" if label in contrasts else str(tree.attrs["units"])

    @cached_property
    def design(self) -> Design:
        """Of the outcome's rows."""
        return design_of(self.tree, self.label)

    @cached_property
    def coding(self) -> Mapping[str, Sequence[str]]:
        """Category → levels."""
        return json.loads(str(self.tree.attrs["coding"]))

    @cached_property
    def posterior(self) -> xr.Dataset:
        """The prior's draws."""
        return of_shape(self.tree["posterior"].dataset, self.label)

    def drawn(self, name: str) -> np.ndarray:
        """(draw, …) of a variable, chains one after the other."""
        values = self.posterior[name].to_numpy().astype(np.float64)
        return values.reshape(-1, *values.shape[2:])

    def step(self, name: str) -> Step:
        """Of a coefficient or a group term."""
        return Step(name, self.design, self.coding)

    @cached_property
    def effects(self) -> dict[str, np.ndarray]:
        """Coefficient → (draw,) its effect a step; without the intercept."""
        names = [name for name in coefficient_names(self.tree) if name != "Intercept"]
        if not names:
            return {}
        if not has_link(self.tree):
            return {name: self.drawn(name) * self.step(name).size for name in names}
        found = mean_response(self.tree, self.label, names)[0].contrasts
        return {name: found[name].ravel() * self.step(name).size for name in names}

    @cached_property
    def person_terms(self) -> list[str]:
        """Group terms of participants, without curves."""
        blocks = [block for block in self.design.blocks if block.factor == WHO]
        return [term for block in blocks for term in block.terms if not is_smooth_term(term)]

    @cached_property
    def persons(self) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Term → (draw,) sd between persons a step, and (draw,) share of persons with another sign than the mean's."""
        answers = self._linked_persons if has_link(self.tree) else self._plain_persons
        return dict(answers())

    def _plain_persons(self) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray | None]]]:
        for term in self.person_terms:
            sd = self.drawn(f"{term}|{WHO}_sigma") * (1.0 if term == "1" else self.step(term).size)
            other = None
            if term != "1" and term in self.posterior and self.drawn(term).any():
                mean = self.drawn(term)[:, None]
                other = (np.sign(mean + self.drawn(f"{term}|{WHO}")) != np.sign(mean)).mean(axis=1)
            yield term, (sd, other)

    def _linked_persons(self) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray | None]]]:
        """The same of persons' mean responses; the prior knows no person apart, so that a dozen of them do."""
        terms = self.person_terms
        if not terms:
            return
        block = next(block for block in self.design.blocks if block.factor == WHO)
        names = ["Intercept" if term == "1" else term for term in terms]
        thin = self._thinned()
        drawn = np.stack([thin.drawn(f"{term}|{WHO}") for term in terms], axis=-1)
        answers: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for person in np.unique(block.codes)[:LINKED_PERSONS]:
            at = np.flatnonzero(block.codes == person)
            found = response_of_level(thin.tree, None, names, WHO, drawn[:, person], at)
            for name in names:
                answers[name].append(found[name])
        for term, name in zip(terms, names, strict=True):
            each = np.column_stack(answers[name]) * (1.0 if term == "1" else self.step(name).size)
            sign = np.sign(each.mean(axis=1, keepdims=True))
            other = None if term == "1" else (np.sign(each) != sign).mean(axis=1)
            yield term, (each.std(axis=1, ddof=1) if each.shape[1] > 1 else np.zeros(len(each)), other)

    def _thinned(self) -> "ShapeDraws":
        """The outcome alone with fewer draws: enough for persons."""
        few = slice(0, max(1, LINKED_DRAWS // self.posterior.sizes["chain"]))
        groups = {
            name: of_shape(self.tree[name].to_dataset(), self.label)
            for name in ("posterior", "observed_data", "constant_data")
        }
        groups["posterior"] = groups["posterior"].isel(draw=few)
        tree = xr.DataTree.from_dict(groups)
        tree.attrs.update(self.tree.attrs)
        return ShapeDraws(tree, None, self.replicates)

    @cached_property
    def reliability(self) -> dict[str, np.ndarray]:
        """Effect → (draw,) reliability for a test of this length; none of families other than the Gaussian."""
        if self.family != "gaussian" or not self.person_terms:
            return {}
        parts = reliability_variances(self.tree, self.label, by_person=False)
        return {
            name: np.divide(true, true + error, out=np.zeros_like(true), where=true + error > 0)
            for name, _, _, _, true, error in parts
        }

    @cached_property
    def curves(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Times, and (draw, time) of each difference; none without a smooth of time."""
        stored = json.loads(str(self.tree.attrs.get("smooths", "{}")))
        if "time" not in stored:
            return np.zeros(0), {}
        knots = np.asarray(stored["time"]["knots"], dtype=np.float64)
        times = np.linspace(knots[0], knots[-1], TIMES)
        found = course_draws(self.tree, times, self.label)
        return times, {course.name: course.draws for course in found if course.kind == "difference"}


def replicated(tree: xr.DataTree, seed: int) -> np.ndarray:
    """(draw, outcome, observation) float32 of what the prior expects in place of the rows; fewer draws of many rows."""
    posterior = tree["posterior"]
    shapes = posterior.sizes.get("blend_shape", 1)
    numbers = shapes * tree["observed_data"].sizes["observation"] * posterior.sizes["chain"]
    kept = int(np.clip(NUMBERS // numbers, 5, posterior.sizes["draw"]))
    found: Any = posterior_predictive(tree, seed=seed, draws=kept)
    values = found["outcome"].to_numpy()
    return values.reshape(values.shape[0] * kept, -1, values.shape[-1])
