"""What the two-level factor model needs of the rows: a few blocks of vectors, whatever the number of trials.

With X the covariates and Z the groups' dummies, what X does not explain of Z is Z̃ = Z − X(X'X)⁻X'Z. Its eigenvalues
Z̃'Z̃ = Σ_k λ_k v_k v_k' turn the error contrasts of y into independent parts, exactly, for any X and any counts:

    u_k = v_k'Z̃'y / √λ_k  ~  N(0, Σ_w + λ_k Σ_b)          one vector of D shapes for every λ_k > 0
    what X and Z leave      ~  N(0, Σ_w),  ν = rows − rank[X Z] degrees of freedom

(REML: the coefficients have flat priors and are integrated out.) Complete data give one λ, the number of trials of a
person; with trials missing the λ_k lie near their counts. Vectors of one λ are replaced by at most D with the same
scatter.
"""

from typing import NamedTuple

import numpy as np

from mien.study.errors import FitError

__all__ = ["FactorSums", "factor_sums"]

NULL = 1e-9  # of an eigenvalue or singular value, relative to the largest
ALIKE = 1e-10  # relative distance of eigenvalues that are one


class FactorSums(NamedTuple):
    """Blocks of error contrasts; the first has λ = 0.

    weight : (block,) λ_g. count : (block,) v_g, how many contrasts. first : (block + 1,) rows of `vectors`.
    vectors : (row, shape); the scatter of block g is V_g'V_g.
    """

    weight: np.ndarray
    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]
    first: np.ndarray
    vectors: np.ndarray

    @property
    def within(self) -> np.ndarray:
        """Scatter within groups, (shape, shape)."""
        mine = self.vectors[: self.first[1]]
        return mine.T @ mine

    @property
    def groups(self) -> int:
        """Contrasts between groups."""
        return int(self.count[1:].sum())

    def scaled(self, scale: np.ndarray) -> "FactorSums":
        """The same of shapes divided by `scale` (shape,)."""
        return self._replace(vectors=self.vectors / scale)


def factor_sums(values: np.ndarray, design: np.ndarray, group: np.ndarray) -> FactorSums:
    """The blocks of some rows.

    Parameters
    ----------
    values : (row, shape). design : (row, term), an intercept among them; of full rank.
    group : (row,) codes from 0; every code occurs.

    Raises
    ------
    FitError
        When nothing is left within groups, or nothing between them.
    """
    rows, groups = len(group), int(group.max()) + 1
    base = _orthonormal(design)
    left = values - values.mean(axis=0)
    left = left - base @ (base.T @ left)
    by_group = _group_sums(base, group, groups)  # Z'X
    gram = np.diag(np.bincount(group, minlength=groups).astype(np.float64)) - by_group @ by_group.T
    value, vector = np.linalg.eigh(gram)
    keep = value > NULL * value.max()
    value, vector = value[keep][::-1], vector[:, keep][:, ::-1]
    degrees = rows - design.shape[1] - len(value)
    shapes = values.shape[1]
    if degrees <= shapes:
        raise FitError(
            f"co-activation: expected more than {shapes} trials beyond the {len(value)} contrasts of groups and "
            f"{design.shape[1]} coefficients, one for each shape, found {max(degrees, 0)}: leave shapes or covariates "
            "out."
        )
    if len(value) < 2:
        raise FitError(
            "co-activation: expected groups that differ beyond the covariates, found "
            f"{len(value)} contrasts between {groups} groups: leave covariates out, or fit more persons."
        )
    sums = vector.T @ _group_sums(left, group, groups)
    between = sums / np.sqrt(value)[:, None]
    inside = left - _projected(vector, sums / value[:, None], base, by_group, group)
    return _blocks(value, between, np.linalg.qr(inside, mode="r"), degrees)


def _projected(
    vector: np.ndarray, coefficient: np.ndarray, base: np.ndarray, by_group: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Z̃ b for the group effects b that explain most, (row, shape)."""
    effect = vector @ coefficient
    return effect[group] - base @ (by_group.T @ effect)


def _orthonormal(design: np.ndarray) -> np.ndarray:
    """Columns that span those of the design."""
    basis, triangle = np.linalg.qr(design)
    size = np.abs(np.diag(triangle))
    if size.min() <= NULL * size.max():
        raise FitError(
            "co-activation: expected covariates that do not repeat each other, found that they do."
        )
    return basis


def _group_sums(table: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """(group, column) sums over rows."""
    return np.stack([np.bincount(group, weights=column, minlength=groups) for column in table.T], axis=1)


def _blocks(value: np.ndarray, between: np.ndarray, inside: np.ndarray, degrees: int) -> FactorSums:
    """One block for each λ; those within 1e-10 of each other are one."""
    weight, count, parts = [0.0], [float(degrees)], [inside]
    begin = 0
    while begin < len(value):
        end = begin + 1
        while end < len(value) and value[begin] - value[end] <= ALIKE * value[begin]:
            end += 1
        mine = between[begin:end]
        weight.append(float(value[begin:end].mean()))
        count.append(float(end - begin))
        parts.append(np.linalg.qr(mine, mode="r") if len(mine) > mine.shape[1] else mine)
        begin = end
    first = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    return FactorSums(np.array(weight), np.array(count), first, np.ascontiguousarray(np.vstack(parts)))
