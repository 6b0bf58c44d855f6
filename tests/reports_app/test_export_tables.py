"""Tables for papers: nothing lost in CSV and Parquet, all escaped in LaTeX, conventions kept, methods complete."""

import json

import numpy as np
import pandas as pd
import pytest

import mien
from mien.reports_app.export_tables import effects_latex, effects_text
from mien.study.errors import FitError


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(0)
    p, s = (column.ravel() for column in np.meshgrid(np.arange(10), np.arange(12), indexing="ij"))
    v = np.where(s % 2 == 0, "negative", "positive")
    tables = [
        pd.DataFrame(
            {"participant": [f"{i:02d}" for i in p], "stimulus": [f"s{i}" for i in s], "valence": v,
             "blend_shape": name,
             "activation": effect * (s % 2) + rng.normal(0, 0.02, 10)[p] + rng.normal(0, 0.05, len(p))}
        )
        for name, effect in (("mouthSmile", 0.08), ("smile − frown_50%", -0.02))
    ]  # fmt: skip
    return mien.fit("activation ~ valence + (1 | participant)", pd.concat(tables), draws=500, seed=4)


@pytest.fixture(scope="module")
def table(fit):
    return mien.effects(fit)


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_data_formats_keep_every_number(table, tmp_path, suffix, read):
    path = mien.export_effects(table, tmp_path / f"effects{suffix}")
    back = read(path)
    assert list(back.columns) == list(table.columns)
    for name in table.columns:
        if table[name].dtype.kind == "f":
            assert np.array_equal(back[name].to_numpy(dtype=float), table[name].to_numpy(), equal_nan=True)
    assert back["blend_shape"].tolist() == table["blend_shape"].tolist()


def test_latex_is_escaped_and_has_three_rules(table):
    text = effects_latex(table)
    assert "smile $-$ frown\\_50\\%" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"\hline" not in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert body[0] == r"\multicolumn{8}{l}{\textit{valence}} \\"
    assert all(line.count("&") == 7 and line.endswith(r"\\") for line in body[1:])
    assert "−" not in text
    hard = effects_latex(table.assign(blend_shape=r"a\b{c}^~#$&"))
    assert r"a\textbackslash{}b\{c\}\textasciicircum{}\textasciitilde{}\#\$\&" in hard


def test_text_keeps_its_conventions(table):
    text = effects_text(table)
    lines = text.splitlines()
    assert lines[0] == lines[2]
    assert set(lines[0]) == {"─"}
    assert "95 % ETI" in lines[1]
    smile = next(line for line in lines if "mouthSmile" in line)
    row = table[table["blend_shape"] == "mouthSmile"].iloc[0]
    assert f"{row['mean']:.4f}" in smile
    assert f"[{row['eti_lower']:.4f}, {row['eti_upper']:.4f}]" in smile
    assert "> .99" in smile
    assert "< .01" in smile
    assert " 0." not in smile.split("]")[1].split("outside")[0]  # no leading zero of probabilities
    assert "Note. M and SD" in text
    failed = effects_text(table.assign(verdict="failed"))
    assert failed.count("(checks failed)") == 2


def test_other_endings_and_tables_are_refused(table, tmp_path):
    with pytest.raises(FitError, match=r"expected a name ending in \.csv"):
        mien.export_effects(table, tmp_path / "effects.xlsx")
    with pytest.raises(FitError, match="found no 'in_rope'"):
        mien.export_effects(table.drop(columns="in_rope"), tmp_path / "effects.tex")
    with pytest.raises(FitError, match="a table with rows"):
        mien.export_effects(table.iloc[:0], tmp_path / "effects.csv")
    assert not list(tmp_path.iterdir())


def test_the_methods_are_those_of_the_fit(fit):
    text = mien.methods_paragraph(fit)
    assert "activation ~ valence + (1 | participant)" in text
    assert "2 outcomes" in text
    assert "10 participants" in text
    assert "240 rows, 240 complete" in text
    prior = json.loads(fit.attrs["priors"])["mouthSmile"]["sd:1|participant"]
    assert f"{prior['sd']:.3g}" in text
    assert "4 runs of importance sampling over the variance parameters, 500 draws" in text
    assert "seed 4" in text
    assert f"mien {mien.__version__}, numba" in text
    assert "were passed" in text
    assert "\n" not in text


def test_rows_are_called_what_they_are():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"blend_shape": "mouthSmile", "participant": np.repeat(list("abcde"), 8), "bin": np.tile(np.arange(8), 5)}
    )  # fmt: skip
    data["activation"] = rng.normal(0, 1, 40)
    series = mien.fit(
        "activation ~ 1 + (1 | participant)", data, residual="ar1", series=("participant",), draws=50
    )
    assert "fitted to time bins" in mien.methods_paragraph(series)
    plain = mien.fit("activation ~ 1 + (1 | participant)", data.drop(columns="blend_shape"), draws=50)
    assert "fitted to the rows of a table" in mien.methods_paragraph(plain)
