"""A compiled log density and its data, in the form in which nutpie takes a compiled PyMC model.

nutpie is given the address of a numba `cfunc` and one buffer of data. (`nutpie.compiled_pyfunc` calls Python for every
gradient, which took as long again as the density of 1,664 rows, measured.) This is the one place that uses nutpie's
inner classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from nutpie import _lib  # pyright: ignore[reportAttributeAccessIssue]
from nutpie.sample import CompiledModel

__all__ = ["CompiledDensity"]


@dataclass(frozen=True)
class CompiledDensity(CompiledModel):
    """One density for nutpie; what it stores of a draw is the sampler's vector, `q`.

    density, copy : addresses of int64 (dim, q, gradient, value, buffer) and (dim, expanded, q, out, buffer).
    buffer : the data that both are given. start : (entry,) about which chains start.
    """

    density: int | None
    copy: int | None
    buffer: np.ndarray
    start: np.ndarray

    @property
    def n_dim(self) -> int:
        """Entries of the sampler's vector."""
        return len(self.start)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of what is stored."""
        return {"q": (self.n_dim,)}

    @property
    def coords(self) -> dict[str, Any]:
        """None: the vector has no names."""
        return {}

    def _make_sampler(self, settings: Any, init_mean: Any, cores: int, *rest: Any) -> Any:
        return _lib.PySampler.from_pymc(settings, cores, self._make_model(init_mean), *rest)

    def _make_model(self, init_mean: Any) -> Any:
        data = self.buffer.ctypes.data
        sizes = {"entry": self.n_dim}
        return _lib.PyMcModel(
            _lib.LogpFunc(self.density, data, self),
            _lib.ExpandFunc(self.n_dim, self.n_dim, self.copy, data, self),
            _lib.PyVariable.new_variables(["q"], ["float64"], [(self.n_dim,)], sizes, {"q": ("entry",)}),
            self.n_dim, sizes, {}, self.scattered, None,
        )  # fmt: skip

    def scattered(self, chain_seed: int) -> np.ndarray:
        """A starting point about the given one."""
        return self.start + np.random.default_rng(chain_seed).uniform(-0.5, 0.5, self.n_dim)
