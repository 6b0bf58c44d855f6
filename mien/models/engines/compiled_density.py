"""A compiled log density and its data, in the form in which nutpie takes a compiled PyMC model.

nutpie is given the address of a numba `cfunc` and one buffer of data. (`nutpie.compiled_pyfunc` calls Python for every
gradient, which took as long again as the density of 1,664 rows, measured.) This is the one place that uses nutpie's
inner classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import carray, cfunc, types  # pyright: ignore[reportPrivateImportUsage]
from nutpie import _lib  # pyright: ignore[reportAttributeAccessIssue]
from nutpie.sample import CompiledModel

__all__ = ["CompiledDensity"]

_POINTER = types.CPointer(types.float64)


@cfunc(
    types.int64(types.uint64, types.uint64, _POINTER, _POINTER, types.voidptr),
    cache=True,
    error_model="numpy",
)
def _copy(dim, expanded, q, out, buffer):
    """The sampler's vector as what nutpie stores of a draw."""
    source, target = carray(q, dim), carray(out, expanded)
    for j in range(source.size):
        target[j] = source[j]
    return 0


@dataclass(frozen=True)
class CompiledDensity(CompiledModel):
    """One density for nutpie; what it stores of a draw is the sampler's vector, `q`.

    density : address of int64 (dim, q, gradient, value, buffer). buffer : the data that it is given.
    start : (entry,) about which chains start, or (place, entry), about one of which each does.
    """

    density: int | None
    buffer: np.ndarray
    start: np.ndarray

    @property
    def n_dim(self) -> int:
        """Entries of the sampler's vector."""
        return self.start.shape[-1]

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
            _lib.ExpandFunc(self.n_dim, self.n_dim, _copy.address, data, self),
            _lib.PyVariable.new_variables(["q"], ["float64"], [(self.n_dim,)], sizes, {"q": ("entry",)}),
            self.n_dim, sizes, {}, self.scattered, None,
        )  # fmt: skip

    def scattered(self, chain_seed: int) -> np.ndarray:
        """A starting point about the given one, or one of them."""
        rng = np.random.default_rng(chain_seed)
        places = np.atleast_2d(self.start)
        place = places[rng.integers(len(places))] if len(places) > 1 else places[0]
        return place + rng.uniform(-0.5, 0.5, self.n_dim)
