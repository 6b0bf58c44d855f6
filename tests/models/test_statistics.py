"""Statistics of parts are those of the table in memory; what cannot be summed in parts is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import mien
from mien.models import ModelSpec, load_statistics, sufficient_statistics
from mien.models.engines.collapsed.moments import moments_of_all
from mien.models.fitting import data_sha256, make_problem
from mien.priors import HalfNormal, HalfStudentT, Normal
from mien.study.errors import FitError, MienError, SpecError

PLAIN = "activation ~ valence + (valence | participant) + (1 | stimulus)"


def in_parts(data, folder, parts=3, seed=None):
    """The table as Parquet files, in order or shuffled."""
    order = np.arange(len(data)) if seed is None else np.random.default_rng(seed).permutation(len(data))
    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(np.array_split(order, parts)):
        data.iloc[rows].to_parquet(folder / f"part-{number}.parquet", index=False)
    return folder


def occupied(moments):
    return {
        (*codes, stratum): moments.gram[:, cell]
        for cell, (codes, stratum) in enumerate(zip(moments.codes.tolist(), moments.stratum, strict=True))
        if moments.gram[:, cell].any()
    }


def assert_same_problem(stats, spec, data, participants=None, tolerance=1e-10):
    """Moments, scales, priors, names and counts are those in memory."""
    problem, rows, scales = make_problem(spec, data, participants)
    mine, my_scales = stats.problem(spec)
    assert [outcome.name for outcome in mine.outcomes] == [outcome.name for outcome in problem.outcomes]
    assert dict(stats.counts) == dict(rows.counts)
    reasons = [{name: why.split(": ")[0] for name, why in one.left_out.items()} for one in (stats, rows)]
    assert reasons[0] == reasons[1]  # an sd of rounding is not compared
    for outcome, other, moments in zip(
        mine.outcomes, problem.outcomes, moments_of_all(problem.outcomes), strict=True
    ):
        assert outcome.design.coefficients == other.design.coefficients
        assert dict(outcome.design.coding) == dict(other.design.coding)
        assert len(outcome.design.columns) == len(outcome.response) == 0
        for block, expected in zip(outcome.design.blocks, other.design.blocks, strict=True):
            assert block[:2] == expected[:2]
            assert block.levels == expected.levels
        assert outcome.residual.strata == other.residual.strata
        assert_same_moments(outcome.moments, moments, tolerance)
        assert outcome.priors.keys() == other.priors.keys()
    for scale, other in zip(my_scales, scales, strict=True):
        for name in scale._fields:
            assert getattr(scale, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-12)


def assert_same_moments(first, second, tolerance=1e-10):
    assert first.columns.names == second.columns.names
    assert first.factors == second.factors
    assert first.levels == second.levels
    assert first.gaps == second.gaps
    np.testing.assert_allclose(first.centre, second.centre, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(first.rows, second.rows)
    np.testing.assert_array_equal(first.pairs, second.pairs)
    np.testing.assert_allclose(first.known_variance, second.known_variance)
    np.testing.assert_array_equal(first.sigma_of, second.sigma_of)
    assert first.log_precision == pytest.approx(second.log_precision, rel=tolerance, abs=tolerance)
    mine, other = occupied(first), occupied(second)
    assert mine.keys() == other.keys()
    for key, gram in mine.items():
        np.testing.assert_allclose(gram, other[key], rtol=tolerance, atol=tolerance)


@pytest.fixture
def table():
    """No Trials table: rows of a model of reaction times, with a number, a weight and replicates."""
    rng = np.random.default_rng(0)
    rows = 400
    data = pd.DataFrame(
        {
            "participant": rng.integers(1, 13, rows),
            "item": [f"i{number}" for number in rng.integers(0, 6, rows)],
            "group": rng.choice(["b", "c", "a"], rows),
            "x": rng.normal(3, 2, rows).astype(np.float32),
            "medium": rng.choice(["film", "picture"], rows),
            "w": rng.uniform(0.5, 2, rows),
            "se": rng.choice([0.1, 0.2, 0.3], rows),
            "n": rng.integers(1, 5, rows),
            "y": rng.normal(500, 30, rows),
        }
    )
    data["y_squares"] = np.where(data["n"] > 1, rng.chisquare(3, rows) * 900, 0.0)
    data.loc[5, "y"] = np.nan
    data.loc[9, "group"] = None
    return data


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("parts", [1, 3, 7])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"weights": "w"},
        {"counts": "n"},
        {"standard_errors": "se"},
        {"standard_errors": "se", "priors": {"sigma": HalfNormal(30)}},
        {"sigma_by": ("medium",)},
    ],
    ids=["plain", "weights", "counts", "errors", "errors and sigma", "strata"],
)
def test_parts_in_any_order_are_the_table_in_memory(table, tmp_path, parts, seed, fields):
    spec = ModelSpec("y ~ group * x + log(x + 20) + (x | participant) + (1 | item)", **fields)
    stats = sufficient_statistics(spec, in_parts(table, tmp_path / "parts", parts, seed))
    assert_same_problem(stats, spec, table)


def test_a_part_that_is_forgotten_is_noticed(table, tmp_path):
    """The sabotage of the comparison above."""
    spec = ModelSpec("y ~ x + (x | participant) + (1 | item)")
    folder = in_parts(table, tmp_path / "parts", 40)
    (folder / "part-7.parquet").unlink()
    stats = dataclasses.replace(
        sufficient_statistics(spec, folder), counts=make_problem(spec, table)[1].counts
    )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_problem(stats, spec, table)


@pytest.mark.parametrize("right", ["center(x) * medium", "scale(x) + (center(x) || item)", "0 + x", "1"])
def test_transforms_that_need_the_mean_of_all_rows(table, tmp_path, right):
    spec = ModelSpec(f"y ~ {right} + (1 | participant)")
    stats = sufficient_statistics(spec, in_parts(table, tmp_path / "parts"))
    assert_same_problem(stats, spec, table)


@pytest.mark.parametrize("right", ["poly(x, 2)", "bs(x, df=4)", "center(log(x + 20))"])
def test_transforms_of_whole_columns_are_refused(table, right):
    with pytest.raises(SpecError, match="needs all rows at once"):
        sufficient_statistics(f"y ~ {right} + (1 | participant)", table)


def test_a_table_in_memory_has_statistics_too(table):
    spec = ModelSpec("y ~ x + (1 | participant:medium)")
    stats = sufficient_statistics(spec, table)
    assert_same_problem(stats, spec, table)
    assert stats.source_sha256 == data_sha256(table)


@pytest.mark.parametrize("seed", [None, 2])
def test_shapes_are_outcomes_and_dead_ones_are_left_out(trials_maker, tmp_path, seed):
    trials = trials_maker(shapes=("mouthSmile", "mouthFrown", "jawOpen", "tongueOut"))
    trials["activation"] = trials["activation"].astype("float64")
    trials.loc[trials["blend_shape"] == "tongueOut", "activation"] = 1e-5
    lively = trials["participant"] == "01"
    trials.loc[(trials["blend_shape"] == "jawOpen") & ~lively, "activation"] = 0.0
    trials.loc[:4, "excluded"] = "moving baseline"
    trials = trials.drop(columns="peak")  # no Trials table: nothing is averaged, rows may lie in any part
    spec = ModelSpec(PLAIN)
    stats = sufficient_statistics(spec, in_parts(trials, tmp_path / "parts", 4, seed))
    assert stats.names == ("mouthSmile", "mouthFrown")
    assert_same_problem(stats, spec, trials)


def by_trial(trials):
    return trials.sort_values(["participant", "trial", "blend_shape", "bin"], ignore_index=True)


@pytest.mark.parametrize("formula", [PLAIN, PLAIN.replace("valence +", "valence + center(time) +", 1)])
def test_bins_are_averaged_when_the_model_has_no_time(trials_maker, tmp_path, formula):
    trials = by_trial(trials_maker(participants=8, bins=3))
    trials.loc[7, "excluded"] = "lost"
    trials.loc[30:38, "excluded"] = "lost"
    spec = ModelSpec(formula)
    parts = tmp_path / "parts"
    for name, part in trials.groupby("participant", observed=True):
        parts.mkdir(exist_ok=True)
        part.to_parquet(parts / f"{name}.parquet", index=False)
    assert_same_problem(sufficient_statistics(spec, parts), spec, trials)


def test_trials_stay_whole_between_batches(trials_maker, monkeypatch, tmp_path):
    monkeypatch.setattr("mien.models.table_parts.BATCH", 100)  # a trial has 9 rows
    trials = by_trial(trials_maker(bins=3))
    trials.to_parquet(tmp_path / "all.parquet", index=False)
    for source in (trials, tmp_path / "all.parquet"):
        assert_same_problem(sufficient_statistics(PLAIN, source), ModelSpec(PLAIN), trials)


def test_a_trial_in_two_parts_is_refused(trials_maker, tmp_path):
    trials = trials_maker(bins=3)
    with pytest.raises(FitError, match="stand together in one part"):
        sufficient_statistics(PLAIN, in_parts(trials, tmp_path / "parts", 5, seed=0))


def test_series_of_ar1(trials_maker, tmp_path):
    trials = by_trial(trials_maker(bins=4))
    trials = trials[np.random.default_rng(0).uniform(size=len(trials)) > 0.2].reset_index(drop=True)  # holes
    spec = ModelSpec(PLAIN, residual="ar1")
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, part in trials.groupby("participant", observed=True):
        part.to_parquet(parts / f"{name}.parquet", index=False)
    stats = sufficient_statistics(spec, parts)
    assert stats.moments[0].gaps == (1, 2, 3)
    assert_same_problem(stats, spec, trials)
    with pytest.raises(FitError, match="stand together in one part"):
        sufficient_statistics(spec, in_parts(trials, tmp_path / "torn", 5, seed=0))


def test_columns_of_persons_are_joined(trials, tmp_path):
    persons = sorted(trials["participant"].unique())
    participants = pd.DataFrame(
        {"participant_id": [f"sub-{name}" for name in persons], "age": np.linspace(20, 60, len(persons))}
    )
    data = trials.drop(columns="peak")
    spec = ModelSpec("activation ~ valence * center(age) + (valence | participant)")
    stats = sufficient_statistics(spec, in_parts(data, tmp_path / "parts"), participants=participants)
    assert_same_problem(stats, spec, data, participants)
    with pytest.raises(FitError, match="a row for every participant"):
        sufficient_statistics(spec, tmp_path / "parts", participants=participants[1:])


def test_parts_without_a_row_to_model_add_nothing(table, tmp_path):
    spec = ModelSpec("y ~ group * x + (x | participant) + (1 | item)")
    data = pd.concat(
        [table.assign(excluded="lost", item="other"), table.assign(excluded="")], ignore_index=True
    )
    folder = in_parts(data, tmp_path / "parts", 4)
    data[:0].to_parquet(folder / "empty.parquet", index=False)
    assert_same_problem(sufficient_statistics(spec, folder), spec, data)


def test_whole_numbers_stay_whole_where_some_are_missing(table, tmp_path):
    """A part with a missing participant has floats; its others are still "7", not "7.0"."""
    folder = tmp_path / "parts"
    folder.mkdir()
    persons = pd.array(table["participant"], dtype="Int64")
    persons[3] = pd.NA
    data = table.assign(participant=persons)
    data[:200].to_parquet(folder / "first.parquet", index=False)
    data[200:].to_parquet(folder / "second.parquet", index=False)
    stats = sufficient_statistics("y ~ x + (1 | participant)", folder)
    assert set(stats.moments[0].levels[0]) == {str(number) for number in range(1, 13)}
    assert stats.counts["missing"] == 2


def test_strata_and_series_that_cannot_be_are_refused(trials, table):
    with pytest.raises(SpecError, match="other than blend_shape"):
        sufficient_statistics(PLAIN, trials, sigma_by=("blend_shape",))
    with pytest.raises(SpecError, match="expected labels in x"):
        sufficient_statistics("y ~ x + (1 | participant)", table, sigma_by=("x",))
    alone = table.assign(trial=np.arange(len(table)), bin=0)
    with pytest.raises(FitError, match="stand alone"):
        sufficient_statistics("y ~ x + (1 | participant)", alone, residual="ar1")


def test_workers_and_file_names_change_nothing(table, tmp_path):
    spec = ModelSpec("y ~ x + (x | participant)")
    folder = in_parts(table, tmp_path / "parts", 3)
    one = sufficient_statistics(spec, folder)
    told = []
    two = sufficient_statistics(
        spec, str(folder / "*.parquet"), workers=2, progress=lambda *at: told.append(at[:2])
    )
    assert told[0] == (1, 6)
    assert told[-1] == (6, 6)
    np.testing.assert_array_equal(one.moments[0].gram, two.moments[0].gram)
    (folder / "part-0.parquet").rename(folder / "part-9.parquet")
    other = sufficient_statistics(spec, folder)
    assert one.source_sha256 == two.source_sha256 == other.source_sha256
    assert_same_moments(one.moments[0], other.moments[0], 1e-12)


# On disk, and other models


def test_the_file_gives_the_same_statistics_back(trials, tmp_path):
    data = trials.drop(columns="peak").assign(w=1.5)
    data.attrs["recipe_sha256"] = "ab" * 32
    spec = ModelSpec(PLAIN, weights="w", sigma_by=("task",), priors={"beta": Normal(0, 1)})
    data["task"] = np.where(data["trial"] < 5, "a", "b")
    stats = sufficient_statistics(spec, data)
    path = stats.save(tmp_path / "valence.statistics")
    back = load_statistics(path)
    assert back.recipe_sha256 == "ab" * 32
    assert sorted(path.parent.iterdir()) == [path]
    assert back.spec == stats.spec
    assert (back.names, back.counts, back.left_out, back.scales) == (
        stats.names, stats.counts, stats.left_out, stats.scales,
    )  # fmt: skip
    for mine, other in zip(back.moments, stats.moments, strict=True):
        assert_same_moments(mine, other, 0)
        np.testing.assert_array_equal(mine.gram, other.gram)
    first, second = (one.problem(spec)[0].outcomes[0] for one in (back, stats))
    assert first.priors == second.priors
    assert first.residual.strata == second.residual.strata
    assert first.residual.dim == "task"


def test_fits_of_statistics_are_fits_of_the_table(trials, tmp_path):
    """The same draws again from the file, digit for digit, and those of the table to rounding."""
    data = trials.drop(columns="peak")
    stats = sufficient_statistics(PLAIN, in_parts(data, tmp_path / "parts", seed=3))
    path = stats.save(tmp_path / "some.statistics")
    settings = {"engine": "collapsed", "draws": 100, "seed": 4}
    whole, first, again = (mien.fit(PLAIN, one, **settings) for one in (data, stats, load_statistics(path)))
    for name, draws in first["posterior"].data_vars.items():
        np.testing.assert_array_equal(draws, again["posterior"][name])
        np.testing.assert_allclose(draws, whole["posterior"][name], rtol=1e-6, atol=1e-8)
    narrow = mien.fit(PLAIN, stats, priors={"valence": Normal(0, 1e-6)}, **settings)
    assert float(np.abs(narrow["posterior"]["valence"]).max()) < 1e-5


def test_only_priors_may_change(table):
    stats = sufficient_statistics("y ~ x + (1 | participant)", table)
    problem, _ = stats.problem(
        ModelSpec("y~x+(1|participant)", priors={"sigma": HalfStudentT(4, 9)}, name="other")
    )
    assert problem.outcomes[0].priors["sigma"].prior == HalfStudentT(4, 9)
    with pytest.raises(SpecError, match=r"formula: expected .* that of the statistics"):
        stats.problem(ModelSpec("y ~ x + w + (1 | participant)"))
    with pytest.raises(SpecError, match="weights: expected ''"):
        stats.problem(ModelSpec("y ~ x + (1 | participant)", weights="w"))
    known = sufficient_statistics("y ~ x + (1 | participant)", table, standard_errors="se")
    with pytest.raises(SpecError, match="other sums"):
        known.problem(dataclasses.replace(known.spec, priors={"sigma": HalfNormal(1)}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"words"])
def test_damaged_files_are_told(tmp_path, content):
    path = tmp_path / "some.statistics"
    path.write_bytes(content)
    with pytest.raises(FitError, match="cannot be read"):
        load_statistics(path)
    with pytest.raises(FitError, match="found none"):
        load_statistics(tmp_path / "none")


def test_a_file_of_another_version_is_refused(tmp_path):
    with (tmp_path / "old").open("wb") as file:
        np.savez(file, about=np.array('{"format": "mien statistics 0"}'))
    with pytest.raises(FitError, match="expected 'mien statistics 1', found 'mien statistics 0'"):
        load_statistics(tmp_path / "old")


# Bad input


def test_a_missing_column_is_named(table, tmp_path):
    with pytest.raises(SpecError, match="found 'xx'"):
        sufficient_statistics("y ~ xx + (1 | participant)", in_parts(table, tmp_path / "parts"))


def test_parts_with_other_columns_or_types_are_refused(table, tmp_path):
    folder = in_parts(table, tmp_path / "parts")
    table.assign(x="1.0").to_parquet(folder / "part-1.parquet")
    with pytest.raises(FitError, match=r"part-1\.parquet: expected 'x' as in .*numbers.* found text"):
        sufficient_statistics("y ~ x + (1 | participant)", folder)
    table.drop(columns="x").to_parquet(folder / "part-1.parquet")
    with pytest.raises(FitError, match=r"part-1\.parquet: expected the columns of .* found no 'x'"):
        sufficient_statistics("y ~ x + (1 | participant)", folder)


def test_files_that_are_not_there_or_no_parquet_are_told(table, tmp_path):
    with pytest.raises(FitError, match="in the folder, found none"):
        sufficient_statistics("y ~ x + (1 | participant)", tmp_path)
    with pytest.raises(FitError, match="found none: check the path"):
        sufficient_statistics("y ~ x + (1 | participant)", tmp_path / "nowhere" / "*.parquet")
    folder = in_parts(table, tmp_path / "parts")
    (folder / "part-2.parquet").write_bytes(b"no parquet")
    with pytest.raises(FitError, match=r"part-2\.parquet: expected a Parquet file"):
        sufficient_statistics("y ~ x + (1 | participant)", folder)


@pytest.mark.parametrize(
    ("change", "formula", "message"),
    [
        ({"y": "words"}, "y ~ x + (1 | participant)", "y: expected numbers as the outcome"),
        ({"y": 5.0}, "y ~ x + (1 | participant)", "expected an outcome that varies"),
        ({"y": np.nan}, "y ~ x + (1 | participant)", "found none of 400 kept"),
        ({"x": np.inf}, "y ~ x + (1 | participant)", "expected finite numbers"),
        ({"tracker": None}, "y ~ x + (1 | participant)", "expected one tracker"),
        ({"participant": 1}, "y ~ x + (1 | participant)", "at least two levels of the group"),
        ({"group": "a"}, "y ~ group + (1 | participant)", "at least two levels of 'group'"),
        ({"x": 2.0}, "y ~ x + (1 | participant)", "apart|repeat"),
        ({"w": -1.0}, "y ~ x + (1 | participant)", "expected positive numbers"),
    ],
)
def test_what_a_fit_refuses_statistics_refuse(table, tmp_path, change, formula, message):
    data = table.assign(**change)
    if "tracker" in change:
        data["tracker"] = np.where(np.arange(400) < 200, "arkit", "mediapipe")
    fields = {"weights": "w"} if "w" in change else {}
    with pytest.raises(MienError, match=message):
        make_problem(ModelSpec(formula, **fields), data)
    with pytest.raises(MienError, match=message):
        sufficient_statistics(formula, in_parts(data, tmp_path / "parts"), **fields)


def test_other_sources_are_refused(trials):
    with pytest.raises(FitError, match=r"expected a pandas\.DataFrame"):
        sufficient_statistics(PLAIN, [1, 2])
    with pytest.raises(SpecError, match="contrasts"):
        sufficient_statistics(PLAIN, trials, contrasts={"smile - frown": {"mouthSmile": 1, "mouthFrown": -1}})
    with pytest.raises(FitError, match="workers"):
        sufficient_statistics(PLAIN, trials, workers=0)


def test_the_public_names():
    assert mien.sufficient_statistics is sufficient_statistics
    assert mien.load_statistics is load_statistics


def test_dask_partitions_are_parts(table):
    frames = pytest.importorskip("dask.dataframe", reason="Dask is not installed (mien[cluster])")
    spec = ModelSpec("y ~ group * x + (x | participant) + (1 | item)")
    stats = sufficient_statistics(spec, frames.from_pandas(table, npartitions=5))
    assert_same_problem(stats, spec, table)
