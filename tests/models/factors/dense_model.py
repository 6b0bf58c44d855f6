"""The two-level factor model written out densely, one row a trial and shape: what the fast ways are held against.

    vec(y) ~ N(𝒳 β, V),   V = I_N ⊗ Σ_w + ZZ' ⊗ Σ_b,   𝒳 = X ⊗ I_D     (all shapes of a trial stand together)

β = vec of (term, shape) has a flat prior. Everything else follows from V by the rules for normal variables; nothing is
decomposed, rotated or summed over groups. Small data only: V has (trials · shapes)² entries.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal

LOG_2PI = np.log(2 * np.pi)


class Normal(NamedTuple):
    """mean (…, unit, part) and covariance over its entries in that order, (unit · part, unit · part)."""

    mean: np.ndarray
    covariance: np.ndarray


class DenseModel(NamedTuple):
    """standardised (trial, shape), design (trial, term), group (trial,) codes; Ψ are variances (shape,)."""

    standardised: np.ndarray
    design: np.ndarray
    group: np.ndarray
    loading: np.ndarray
    uniqueness: np.ndarray
    between_loading: np.ndarray
    between_uniqueness: np.ndarray

    # Parts

    @property
    def shapes(self):
        return self.standardised.shape[1]

    @property
    def groups(self):
        return int(self.group.max()) + 1

    @property
    def dummies(self):
        return (self.group[:, None] == np.arange(self.groups)).astype(float)

    @property
    def within(self):
        return self.loading @ self.loading.T + np.diag(self.uniqueness)

    @property
    def between(self):
        return self.between_loading @ self.between_loading.T + np.diag(self.between_uniqueness)

    @property
    def covariance(self):
        trials = np.eye(len(self.standardised))
        same = self.dummies @ self.dummies.T
        return np.kron(trials, self.within) + np.kron(same, self.between)

    @property
    def columns(self):
        return np.kron(self.design, np.eye(self.shapes))

    def residual(self, coefficient):
        """What B (shape, term) leaves of vec(y); all of it without B."""
        fitted = 0.0 if coefficient is None else self.design @ np.asarray(coefficient).T
        return (self.standardised - fitted).ravel()

    def precision(self, coefficient):
        """V⁻¹ given B, else P = V⁻¹ − V⁻¹𝒳(𝒳'V⁻¹𝒳)⁻𝒳'V⁻¹."""
        inverse = np.linalg.inv(self.covariance)
        if coefficient is not None:
            return inverse
        half = inverse @ self.columns
        return inverse - half @ np.linalg.pinv(self.columns.T @ half, hermitian=True) @ half.T

    # Densities

    def log_density(self):
        """Of the error contrasts (REML): −½[(N−q)D log2π + log|V| + log|𝒳'V⁻¹𝒳| − log|𝒳'𝒳| + y'Py].

        A design without full rank is replaced by an orthonormal basis of its columns.
        """
        basis, sizes, _ = np.linalg.svd(self.design, full_matrices=False)
        basis = basis[:, sizes > 1e-10 * sizes[0]]
        rows, rank = basis.shape
        full = self._replace(design=basis)
        information = full.columns.T @ np.linalg.inv(full.covariance) @ full.columns
        y = self.residual(None)
        return -0.5 * (
            (rows - rank) * self.shapes * LOG_2PI
            + np.linalg.slogdet(full.covariance)[1]
            + np.linalg.slogdet(information)[1]
            + y @ full.precision(None) @ y
        )

    def log_density_given(self, coefficient):
        """log p(y | θ, B)."""
        return multivariate_normal(cov=self.covariance).logpdf(self.residual(coefficient))

    def held_out(self, rows, coefficient=None):
        """p(y of these trials | all other trials, θ, B or not): its Normal (trial, shape), and its log density."""
        rows = np.atleast_1d(rows)
        mine = (rows[:, None] * self.shapes + np.arange(self.shapes)).ravel()
        precision = self.precision(coefficient)  # of a normal: the conditional precision is the block
        covariance = np.linalg.inv(precision[np.ix_(mine, mine)])
        residual = self.residual(coefficient)
        gap = covariance @ (precision @ residual)[mine]  # y − its conditional mean
        density = multivariate_normal(cov=covariance).logpdf(gap)
        mean = self.standardised[rows] - gap.reshape(len(rows), self.shapes)
        return Normal(mean, covariance), density

    # What is not seen, given y

    def coefficients(self):
        """B given y: Normal (term, shape); B itself is mean.T."""
        inverse = np.linalg.inv(self.covariance)
        covariance = np.linalg.inv(self.columns.T @ inverse @ self.columns)
        mean = covariance @ self.columns.T @ inverse @ self.standardised.ravel()
        return Normal(mean.reshape(-1, self.shapes), covariance)

    def given_y(self, prior, maps, coefficient=None):
        """Latent z ~ N(0, prior), that enters as vec(y) = maps @ z + …, given y and B, or with B integrated out."""
        across = prior @ maps.T @ self.precision(coefficient)
        return across @ self.residual(coefficient), prior - across @ maps @ prior

    def person_effects(self, coefficient=None):
        """Λ_b g + ζ, Normal (group, shape)."""
        prior = np.kron(np.eye(self.groups), self.between)
        maps = np.kron(self.dummies, np.eye(self.shapes))
        mean, covariance = self.given_y(prior, maps, coefficient)
        return Normal(mean.reshape(self.groups, -1), covariance)

    def person_scores(self, coefficient=None):
        """g, Normal (group, between_factor)."""
        maps = np.kron(self.dummies, self.between_loading)
        mean, covariance = self.given_y(np.eye(maps.shape[1]), maps, coefficient)
        return Normal(mean.reshape(self.groups, -1), covariance)

    def person_rest(self, coefficient=None):
        """ζ, Normal (group, shape)."""
        prior = np.kron(np.eye(self.groups), np.diag(self.between_uniqueness))
        maps = np.kron(self.dummies, np.eye(self.shapes))
        mean, covariance = self.given_y(prior, maps, coefficient)
        return Normal(mean.reshape(self.groups, -1), covariance)

    def trial_scores(self, coefficient=None):
        """f, Normal (trial, factor)."""
        maps = np.kron(np.eye(len(self.standardised)), self.loading)
        mean, covariance = self.given_y(np.eye(maps.shape[1]), maps, coefficient)
        return Normal(mean.reshape(len(self.standardised), -1), covariance)


def small_case(seed=0, *, shapes=4, factors=2, between=1, counts=(3, 5, 1, 4), terms=3):
    """Unequal counts, a covariate of trials and one of persons, parameters from nowhere in particular."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    trials = len(group)
    design = np.column_stack([np.ones(trials), rng.normal(size=trials), rng.normal(size=len(counts))[group]])
    loading = 0.6 * rng.normal(size=(shapes, factors))
    between_loading = 0.4 * rng.normal(size=(shapes, between))
    uniqueness, between_uniqueness = rng.uniform(0.2, 0.8, shapes), rng.uniform(0.05, 0.3, shapes)
    effects = (
        rng.normal(size=(len(counts), between)) @ between_loading.T
        + rng.normal(size=(len(counts), shapes)) * between_uniqueness**0.5
    )
    noise = (
        rng.normal(size=(trials, factors)) @ loading.T + rng.normal(size=(trials, shapes)) * uniqueness**0.5
    )
    design = design[:, :terms]
    standardised = design @ rng.normal(size=(terms, shapes)) + effects[group] + noise
    return DenseModel(standardised, design, group, loading, uniqueness, between_loading, between_uniqueness)


class Unmarginalised(NamedTuple):
    """The same model with nothing integrated out: normal equations of all unknowns at once (Henderson's).

    unknowns are B (term, shape), g (group, between_factor), ζ (group, shape), f (trial, factor), each raveled.
    mean : of all, given y; information : their joint precision; log_density : REML, by Laplace, which is exact here.
    """

    mean: np.ndarray
    information: np.ndarray
    log_density: float


def unmarginalised(model):
    """A second way to everything, which shares no step with `DenseModel`."""
    shapes, trials = model.shapes, len(model.standardised)
    eye = np.eye(shapes)
    of_b = np.kron(model.design, eye)
    of_g = np.kron(model.dummies, model.between_loading)
    of_rest = np.kron(model.dummies, eye)
    of_f = block_diag(*[model.loading] * trials)
    maps = np.hstack([of_b, of_g, of_rest, of_f])
    prior = np.concatenate([
        np.zeros(of_b.shape[1]), np.ones(of_g.shape[1]), np.tile(1 / model.between_uniqueness, model.groups),
        np.ones(of_f.shape[1]),
    ])  # fmt: skip
    noise = np.tile(model.uniqueness, trials)
    y = model.standardised.ravel()
    information = maps.T @ (maps / noise[:, None]) + np.diag(prior)
    mean = np.linalg.solve(information, maps.T @ (y / noise))
    residual = y - maps @ mean
    joint = -0.5 * (residual**2 / noise + np.log(noise) + LOG_2PI).sum()
    proper = prior > 0
    joint += -0.5 * (mean**2 * prior - np.log(prior, where=proper, out=np.zeros_like(prior)))[proper].sum()
    joint -= 0.5 * proper.sum() * LOG_2PI
    flat = joint + 0.5 * len(mean) * LOG_2PI - 0.5 * np.linalg.slogdet(information)[1]
    columns = np.linalg.slogdet(of_b.T @ of_b)[1]
    return Unmarginalised(mean, information, flat + 0.5 * columns)
