"""Export: the prepared trials as a table for other programs, long or wide, CSV or Parquet."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pcsv

from mien.study.errors import StudyError
from mien.study.files import whole_file
from mien.study.folder import Study
from mien.study.trials import TRIAL_KEY
from mien.workflow.preparing import load_trials

__all__ = ["FORMATS", "export_trials"]

FORMATS = ("csv", "parquet")


def export_trials(study: Study, *, wide: bool = False, format: str = "csv", out: Path | None = None) -> Path:
    """Write the trials to `out` (default derivatives/mien/export/trials[_wide].FORMAT), with the person columns.

    Parameters
    ----------
    wide : one column a blend shape (activation; missing where the row was excluded), one row a bin of a trial.
    """
    if format not in FORMATS:
        raise StudyError(f"format: expected one of {', '.join(FORMATS)}, found {format!r}.")
    table = load_trials(study)
    table = _wide(table) if wide else table
    people = study.participants.assign(
        participant=study.participants["participant_id"].str.removeprefix("sub-")
    )
    people = people.drop(columns="participant_id")
    clash = [name for name in people.columns if name in table.columns and name != "participant"]
    table = table.astype({"participant": "str"}).merge(
        people.drop(columns=clash), on="participant", how="left"
    )
    path = out or study.derivatives / "export" / f"trials{'_wide' if wide else ''}.{format}"
    with whole_file(path) as temporary:
        if format == "parquet":
            table.to_parquet(temporary, index=False)
        else:
            arrow = pa.Table.from_pandas(_plain(table), preserve_index=False)
            pcsv.write_csv(arrow, temporary, pcsv.WriteOptions(quoting_style="needed"))
    return path


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(
        {name: "str" for name in table.columns if isinstance(table[name].dtype, pd.CategoricalDtype)}
    )


def _wide(trials: pd.DataFrame) -> pd.DataFrame:
    shapes = [str(name) for name in trials["blend_shape"].cat.categories]
    keys = [name for name in TRIAL_KEY if name != "blend_shape"]
    kept = trials.assign(activation=trials["activation"].where(trials["excluded"] == ""))
    wide = kept.pivot(index=keys, columns="blend_shape", values="activation")  # noqa: PD010  (keys are unique)
    measured = {"blend_shape", "activation", "raw", "baseline", "peak", "n_frames", "valid", "excluded"}
    carried = [name for name in trials.columns if name not in measured and name not in keys]
    first = trials.drop_duplicates(keys).set_index(keys)[carried]
    wide.columns = [str(name) for name in wide.columns]
    return first.join(wide[shapes]).reset_index()
