"""Design matrices: from a checked formula and coded columns to X, and Z and codes of every group term.

Columns and their products are multiplied here (`plain_terms`). Where there are transforms, formulae evaluates the
coefficients' side of the formula and the effects' side of every `(effects | group)`, with nothing in reach but its own
transforms and log, exp, sqrt. Groups are plain columns and are coded here. Names are
those of the posterior: `valence:medium`, `condition[a]`, `valence|participant`.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mien.models.coding import Coded, code_columns, with_coded_columns
from mien.models.levels import level_codes
from mien.models.plain_terms import plain_terms
from mien.models.smooths import POPULATION, Smooth, SmoothBasis, make_basis, parse_smooth, sd_name
from mien.study.errors import SpecError
from mien.study.formula import Formula, GroupTerm

__all__ = ["RESERVED_NAMES", "Block", "Design", "bambi_parts", "build_design", "new_columns", "rank_of"]

FUNCTIONS = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}
STATEFUL = ("scale", "center", "bs", "poly")  # transforms that depend on all rows
MAX_TERMS = 12
_EMPTY: Mapping[str, Any] = MappingProxyType({})
RESERVED_NAMES = ("sigma", "rho")  # of the posterior, beside the coefficients


class Block(NamedTuple):
    """The effects of one group term that are correlated with each other (one effect when `||`).

    factor : name of the group, "participant" or "participant:session".
    terms : names of the effects, "1" for the intercept.
    columns : (row, term); codes : (row,) level of each row; levels : labels.
    """

    factor: str
    terms: tuple[str, ...]
    columns: np.ndarray
    codes: np.ndarray
    levels: tuple[str, ...]


class Design(NamedTuple):
    """What the right side of a formula comes to on some rows.

    coefficients : names of the columns of X (row, coefficient).
    blocks : group effects.
    coding : category → its levels, in order.
    bases : column → the functions of its smooths.
    """

    coefficients: tuple[str, ...]
    columns: np.ndarray
    blocks: tuple[Block, ...]
    coding: Mapping[str, tuple[str, ...]]
    bases: Mapping[str, SmoothBasis] = _EMPTY

    def rows(self, keep: np.ndarray) -> "Design":
        """The same design on some of its rows; levels stay."""
        blocks = tuple(
            block._replace(columns=block.columns[keep], codes=block.codes[keep]) for block in self.blocks
        )
        return self._replace(columns=self.columns[keep], blocks=blocks)

    def equals(self, other: "Design") -> bool:
        """Whether two selections of rows of one design agree in every number."""
        if not np.array_equal(self.columns, other.columns):
            return False
        return all(
            np.array_equal(mine.codes, theirs.codes) and np.array_equal(mine.columns, theirs.columns)
            for mine, theirs in zip(self.blocks, other.blocks, strict=True)
        )


class _Plain(NamedTuple):
    """The columns that the formula's effects use, as numbers.

    rows : how many; columns : identifier → number for each row.
    coded : category → its coding; safe : name in the posterior → identifier that formulae can read, where coded.
    """

    rows: int
    columns: Mapping[str, np.ndarray]
    coded: Mapping[str, Coded]
    safe: Mapping[str, str]

    @property
    def frame(self) -> pd.DataFrame:
        """Numbers only, identifiers only."""
        return pd.DataFrame(self.columns, index=range(self.rows))

    @property
    def meanings(self) -> dict[str, tuple[str, ...]]:
        """Name in the formula → the identifiers of its columns."""
        numbers = {name: (name,) for name in self.columns if name not in self.safe.values()}
        return numbers | {
            name: tuple(self.safe[column] for column in coded.columns) for name, coded in self.coded.items()
        }

    def text(self, text: str) -> str:
        return with_coded_columns(text, self.coded, self.safe)

    def identifiers(self, label: str) -> str:
        """The reverse of `name`."""
        for name, identifier in self.safe.items():
            label = label.replace(name, identifier)
        return label

    def name(self, label: str) -> str:
        """A label of formulae with the posterior's names."""
        for name, identifier in self.safe.items():
            label = re.sub(rf"\b{identifier}\b", name, label) if identifier != name else label
        return label


def _plain(
    data: pd.DataFrame, formula: Formula, levels: Mapping[str, Sequence[str]] | None = None,
    also: Sequence[str] = (),
) -> _Plain:  # fmt: skip
    names = list(dict.fromkeys([*effect_columns(formula), *also]))
    coded = code_columns(data, names, levels)
    safe, columns = {}, {}
    for name in names:
        if name not in coded:
            if levels is not None and not pd.api.types.is_numeric_dtype(data[name]):
                raise SpecError(f"{name}: expected numbers, as in the fit, found {data[name].dtype}.")
            columns[name] = data[name].to_numpy(dtype=np.float64)
            continue
        for place, (new, values) in enumerate(coded[name].columns.items()):
            safe[new] = new if new.isidentifier() else f"{name}_level_{place}"
            if safe[new] in columns or (safe[new] != name and safe[new] in data.columns):
                raise SpecError(f"data: expected no column {safe[new]!r} beside {name!r}: rename it.")
            columns[safe[new]] = values
    return _Plain(len(data), columns, coded, safe)


def effect_columns(formula: Formula) -> list[str]:
    """Columns that the formula uses as numbers or categories, groups left out."""
    text = " ".join([formula.common, *(term.effects for term in formula.groups)])
    words = set(re.findall(r"[^\W\d]\w*", text))
    return [name for name in formula.columns if name in words and name != formula.response]


def _matrix(text: str, plain: _Plain) -> tuple[list[str], np.ndarray]:
    """Labels and columns of one side, in the posterior's names."""
    terms = plain_terms(text, plain.meanings)
    labels, matrix = _evaluated(text, plain) if terms is None else _multiplied(terms, plain)
    if not np.isfinite(matrix).all():
        column = int(np.flatnonzero(~np.isfinite(matrix).all(axis=0))[0])
        raise SpecError(
            f"formula: expected finite numbers in {labels[column]!r}, found a missing or infinite one: "
            "check the transform (a log of 0?)."
        )
    return labels, matrix


def _multiplied(terms: Sequence[tuple[str, ...]], plain: _Plain) -> tuple[list[str], np.ndarray]:
    """Products of columns; () is the intercept."""
    matrix = np.ones((plain.rows, len(terms)))
    for place, term in enumerate(terms):
        for identifier in term:
            matrix[:, place] *= plain.columns[identifier]
    return [":".join(map(plain.name, term)) or "Intercept" for term in terms], matrix


def _evaluated(text: str, plain: _Plain) -> tuple[list[str], np.ndarray]:
    """What formulae makes of the text."""
    from formulae import design_matrices

    with warnings.catch_warnings(), np.errstate(all="ignore"):  # what is not finite is refused by the caller
        warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        try:
            common: Any = design_matrices(
                plain.text(text), plain.frame, extra_namespace=dict(FUNCTIONS)
            ).common
        except Exception as problem:  # formulae raises what it likes
            raise SpecError(
                f"formula part {text!r}: expected terms that formulae can evaluate, found: {problem}."
            ) from None
    labels = [plain.name(label) for term in common.terms.values() for label in term.labels]
    return labels, np.asarray(common.design_matrix, dtype=np.float64)


def expanded(term: GroupTerm) -> list[GroupTerm]:
    """`a/b` = `a` and `a:b`."""
    if "/" not in term.group:
        return [term._replace(group=term.group.replace(" ", ""))]
    parts = [part.strip() for part in term.group.split("/")]
    return [term._replace(group=":".join(parts[: place + 1])) for place in range(len(parts))]


def _blocks(term: GroupTerm, data: pd.DataFrame, plain: _Plain) -> list[Block]:
    labels, columns = _matrix(term.effects, plain)
    terms = tuple("1" if label == "Intercept" else label for label in labels)
    codes, levels = level_codes(data, term.group.split(":"))
    if len(levels) < 2:
        raise SpecError(
            f"formula: expected at least two levels of the group {term.group!r}, found {', '.join(levels)}."
        )
    if not terms:
        raise SpecError(f"formula: expected effects in ({term.effects} | {term.group}), found none.")
    if term.correlated:
        return [Block(term.group, terms, columns, codes, levels)]
    return [
        Block(term.group, (name,), columns[:, [place]], codes, levels) for place, name in enumerate(terms)
    ]


def build_design(formula: Formula, data: pd.DataFrame, smooths: Sequence[str] = ()) -> Design:
    """Evaluate a checked formula on complete rows.

    Parameters
    ----------
    data : complete rows. smooths : curves beside the formula (`mien.models.smooths`).

    Raises
    ------
    SpecError
        For a category or group with one level, effects named twice, columns that repeat each other, or a
        transform that fails.
    """
    curves = [parse_smooth(text) for text in smooths]
    plain = _plain(data, formula, also=[name for curve in curves for name in (curve.column, *curve.by)])
    coefficients, columns = _matrix(formula.common, plain)
    taken = [name for name in coefficients if name in RESERVED_NAMES]
    if taken:
        raise SpecError(
            f"formula: expected no column {taken[0]!r}, which is a residual's parameter: rename it."
        )
    blocks = [
        block
        for term in formula.groups
        for single in expanded(term)
        for block in _blocks(single, data, plain)
    ]
    bases = _EMPTY
    if curves:
        lines, curved, bases = _smooth_parts(curves, data, plain)
        new = [place for place, name in enumerate(lines.names) if not _has(coefficients, name)]
        coefficients = [*coefficients, *(lines.names[place] for place in new)]
        columns = np.column_stack([columns, lines.columns[:, new]])
        blocks += curved
    names = [f"{term}|{block.factor}" for block in blocks for term in block.terms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"formula: expected each group effect once, found {twice[0]!r} twice.")
    sds = {sd_name(term, block.factor) for block in blocks for term in block.terms}
    if len(sds) > MAX_TERMS:
        raise SpecError(
            f"formula: expected at most {MAX_TERMS} group standard deviations, found {len(sds)}: simplify it."
        )
    if len(coefficients) != len(set(coefficients)) or rank_of(columns) < len(coefficients):
        raise SpecError(
            f"formula: expected columns that do not repeat each other, found that {', '.join(coefficients)} do "
            f"on {len(data)} rows: leave a term out."
        )
    coding = {name: coded.levels for name, coded in plain.coded.items()}
    return Design(tuple(coefficients), columns, tuple(blocks), coding, bases)


class _Lines(NamedTuple):
    """Straight parts of smooths: names and columns (row, line)."""

    names: list[str]
    columns: np.ndarray


def _has(coefficients: Sequence[str], name: str) -> bool:
    """Whether there is a product of these columns, in whatever order."""
    return any(sorted(known.split(":")) == sorted(name.split(":")) for known in coefficients)


def _smooth_parts(
    curves: Sequence[Smooth], data: pd.DataFrame, plain: _Plain
) -> tuple[_Lines, list[Block], dict[str, SmoothBasis]]:
    """Straight parts for the coefficients, a block for each function of each curve, and the functions by column."""
    names, lines, blocks = [], [], []
    bases, functions = {}, {}
    for column in dict.fromkeys(curve.column for curve in curves):
        if column in plain.coded:
            raise SpecError(f"smooths: expected numbers in {column!r}, found categories.")
        bases[column] = make_basis(plain.columns[column], column)
        functions[column] = bases[column](plain.columns[column])
    for curve in curves:
        x, values = plain.columns[curve.column], functions[curve.column]
        codes, levels = np.zeros(len(data), dtype=np.int64), ("all",)
        if curve.group:
            codes, levels = level_codes(data, curve.group.split(":"))
        for times in product(*(plain.meanings[name] for name in curve.by)):
            factor = np.ones(len(data))
            for identifier in times:
                factor = factor * plain.columns[identifier]
            by = "".join(f":{plain.name(identifier)}" for identifier in times)
            if not curve.group:
                names.append(f"{curve.column}{by}")
                lines.append(x * factor)
            first = 0 if curve.group else 1
            blocks += [
                Block(
                    curve.group or POPULATION, (f"s({curve.column}){by}[{k}]",), (values[:, k] * factor)[:, None],
                    codes, levels,
                )
                for k in range(first, min(curve.size + 1, values.shape[1]))
            ]  # fmt: skip
    return _Lines(names, np.column_stack(lines) if lines else np.zeros((len(data), 0))), blocks, bases


def new_columns(
    formula: Formula, data: pd.DataFrame, levels: Mapping[str, Sequence[str]]
) -> tuple[list[str], np.ndarray, list[tuple[str, tuple[str, ...], np.ndarray]]]:
    """The columns of rows that a fit has not seen, coded as in the fit.

    Parameters
    ----------
    data : complete rows. levels : category → levels of the fit (`Design.coding`).

    Returns
    -------
    Names and columns (row, coefficient) of X, and (factor, terms, columns (row, term)) of every group term.

    Raises
    ------
    SpecError
        For other levels, text where the fit has numbers, or a transform whose numbers come from the fit's rows.
    """
    text = " ".join([formula.common, *(term.effects for term in formula.groups)])
    found = [name for name in STATEFUL if re.search(rf"\b{name}\s*\(", text)]
    if found:
        raise SpecError(
            f"formula: expected columns and their products for rows that the fit has not seen, found {found[0]}(…), "
            "whose numbers come from the fit's own rows: put the transformed column into the data."
        )
    plain = _plain(data, formula, levels)
    names, columns = _matrix(formula.common, plain)
    groups = []
    for term in formula.groups:
        for single in expanded(term):
            labels, matrix = _matrix(single.effects, plain)
            terms = tuple("1" if label == "Intercept" else label for label in labels)
            groups.append((single.group, terms, matrix))
    return names, columns, groups


def rank_of(columns: np.ndarray) -> int:
    """The number of columns that do not repeat each other, as `numpy.linalg.matrix_rank` counts them."""
    if 0 in columns.shape:
        return 0
    values = np.linalg.svd(np.linalg.qr(columns, mode="r"), compute_uv=False)
    return int((values > values.max() * max(columns.shape) * np.finfo(np.float64).eps).sum())


def bambi_parts(formula: Formula, data: pd.DataFrame) -> tuple[str, pd.DataFrame, Mapping[str, str]]:
    """The right side with coded columns, the frame that it needs, and identifier → the posterior's name."""
    plain = _plain(data, formula)
    terms: Sequence[str] = [plain.text(formula.common)]
    for term in formula.groups:
        for single in expanded(term):
            terms = [*terms, *_bambi_group(single, plain)]
    frame = plain.frame.copy()
    for term in formula.groups:
        for name in re.findall(r"[^\W\d]\w*", term.group):
            frame[name] = pd.Categorical(data[name].astype("str"))
    return " + ".join(terms), frame, {identifier: name for name, identifier in plain.safe.items()}


def _bambi_group(term: GroupTerm, plain: _Plain) -> list[str]:
    labels, _ = _matrix(term.effects, plain)
    if term.correlated and len(labels) > 1:
        raise SpecError(
            f"to_bambi: expected uncorrelated group effects, found ({term.effects} | {term.group}): Bambi has no "
            f"correlated ones; write ({term.effects} || {term.group})."
        )
    return [
        f"(1|{term.group})" if label == "Intercept" else f"(0 + {plain.identifiers(label)}|{term.group})"
        for label in labels
    ]
