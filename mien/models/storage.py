"""Fits on disk: a folder with posterior.nc, summary.parquet and fit.json, whole or not there at all.

    posterior.nc      the DataTree, netCDF by h5netcdf; attributes are text and numbers only
    summary.parquet   `mien.effects(fit)`, or `mien.models.loadings(fit)` of co-activation: what a first page reads
    fit.json          attributes, verdict, fingerprint: what a list of fits reads

The folder is made beside its place and renamed. The fingerprint names a fit by what went in.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from mien.models.effect_tables import effects
from mien.models.factors.spec import FAMILY, FactorSpec, is_factor_fit
from mien.models.fitting import data_sha256
from mien.models.spec import ModelSpec
from mien.study.errors import FitError

if TYPE_CHECKING:
    from mien.models.statistics import Statistics

__all__ = ["FILES", "fingerprint", "load", "save"]

FILES = ("posterior.nc", "summary.parquet", "fit.json")


def fingerprint(  # noqa: PLR0913  (whatever makes a fit another one)
    spec: ModelSpec | FactorSpec,
    data: "pd.DataFrame | Statistics",
    *,
    participants: pd.DataFrame | None = None,
    engine: str = "auto",
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    version: str = "",
    also: str = "",
) -> str:
    """sha256 of specification, data, engine settings and version: the same fit has the same one.

    Parameters
    ----------
    also : whatever else makes it another one.
    """
    from importlib.metadata import version as installed

    is_table = isinstance(data, pd.DataFrame)
    parts = {
        "spec": json.loads(spec.to_json()),
        "data": data_sha256(data, participants) if is_table else data.source_sha256,
        "recipe": str(data.attrs.get("recipe_sha256", "")) if is_table else data.recipe_sha256,
        "engine": [engine, int(draws), int(chains), int(seed)],
        "version": version or installed("mien"),
        **({"also": also} if also else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save(fit: xr.DataTree, path: Path | str, *, fingerprint: str = "") -> Path:
    """Write a fit to the folder `path`, which must not exist.

    Parameters
    ----------
    path : folder, e.g. ``derivatives/mien/fits/valence-1a2b3c4d``.
    fingerprint : stored in fit.json.

    Raises
    ------
    FitError
        When something is at `path` already.
    """
    path = Path(path)
    if path.exists():
        raise FitError(
            f"{path}: expected a new folder for the fit, found one that exists: load it or name another."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        fit.to_netcdf(beside / "posterior.nc", engine="h5netcdf")
        _summary(fit).to_parquet(beside / "summary.parquet", index=False)
        described = {
            **{str(name): _plain(value) for name, value in fit.attrs.items()},
            "fingerprint": fingerprint, "files": list(FILES),
        }  # fmt: skip
        (beside / "fit.json").write_text(
            json.dumps(described, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        beside.chmod(0o777 & ~_umask())
        beside.rename(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return path


def load(path: Path | str, *, lazy: bool = False) -> xr.DataTree:
    """Read a fit that `save` wrote; its formula passes the safe door.

    Parameters
    ----------
    lazy : leave values in the file until they are asked for; the file stays open as long as the tree. Else all of it is
        read into memory.

    Raises
    ------
    FitError
        When the folder or one of its files is missing or damaged.
    """
    path = Path(path)
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise FitError(
            f"{path}: expected a fit with {', '.join(FILES)}, found no {', '.join(missing)}: fit again."
        )
    try:
        fit = xr.open_datatree(path / "posterior.nc", engine="h5netcdf")
        if not lazy:
            with fit:
                fit = fit.load()
    except (OSError, ValueError, KeyError) as problem:
        raise FitError(
            f"{path / 'posterior.nc'}: expected a posterior, found a damaged file ({problem}): fit again."
        ) from None
    (FactorSpec if fit.attrs["family"] == FAMILY else ModelSpec).from_json(str(fit.attrs["model_spec"]))
    return fit


def _summary(fit: xr.DataTree) -> pd.DataFrame:
    """Effects, or the loadings of a co-activation fit."""
    if not is_factor_fit(fit):
        return effects(fit)
    from mien.models.factors.tables import loadings

    return loadings(fit)


def _plain(value: object) -> object:
    """Attributes as JSON: texts that hold JSON structures are unfolded, numpy numbers become Python's."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value.item() if isinstance(value, np.generic) else value


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
