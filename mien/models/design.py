"""Design matrices: from a checked formula and coded columns to X, and Z and codes of every group term.

Columns and their products are multiplied here (`plain_terms`). Where there are transforms, formulae evaluates the
coefficients' side of the formula and the effects' side of every `(effects | group)`, with nothing in reach but its own
transforms and log, exp, sqrt. Groups are plain columns and are coded here. Names are
those of the posterior: `valence:medium`, `condition[a]`, `valence|participant`.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
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

__all__ = [
    "RESERVED_NAMES", "Block", "Design", "FitCoding", "Transform", "bambi_parts", "build_design", "new_columns",
    "rank_of",
]  # fmt: skip

FUNCTIONS = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}
STATEFUL = ("scale", "center", "bs", "poly")  # transforms that depend on all rows
_LINEAR = re.compile(r"\b(center|scale)\s*\(\s*([^\W\d]\w*)\s*\)")  # those of which two numbers tell all
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


class Transform(NamedTuple):
    """`center(x)` or `scale(x)` of a column, as (x − offset) · factor."""

    column: str
    offset: float
    factor: float


class Design(NamedTuple):
    """What the right side of a formula comes to on some rows.

    coefficients : names of the columns of X (row, coefficient).
    blocks : group effects.
    coding : category → its levels, in order.
    bases : column → the functions of its smooths. transforms : "center(trial)" → its numbers.
    """

    coefficients: tuple[str, ...]
    columns: np.ndarray
    blocks: tuple[Block, ...]
    coding: Mapping[str, tuple[str, ...]]
    bases: Mapping[str, SmoothBasis] = _EMPTY
    transforms: Mapping[str, Transform] = _EMPTY

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


class FitCoding(NamedTuple):
    """What the columns of a fit were made with, for rows that it has not seen.

    levels : category → levels (`Design.coding`). smooths, bases : curves and their functions.
    transforms : see `Design`.
    """

    levels: Mapping[str, Sequence[str]]
    smooths: Sequence[str] = ()
    bases: Mapping[str, SmoothBasis] = _EMPTY
    transforms: Mapping[str, Transform] = _EMPTY


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
        coded = {identifier for name, identifier in self.safe.items() if "(" not in name}
        numbers = {name: (name,) for name in self.columns if name not in coded}
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
    return Design(tuple(coefficients), columns, tuple(blocks), coding, bases, _transforms(formula, plain))


def _effects_text(formula: Formula) -> str:
    return " ".join([formula.common, *(term.effects for term in formula.groups)])


def _transforms(formula: Formula, plain: _Plain) -> dict[str, Transform]:
    """The numbers behind every center(x) and scale(x), from what formulae made of the lowest and the highest x."""
    found = {}
    for function, column in _LINEAR.findall(_effects_text(formula)):
        name, x = f"{function}({column})", plain.columns.get(column)
        if name in found or x is None:
            continue
        values = _evaluated(f"0 + {name}", plain)[1][:, 0]
        low, high = int(x.argmin()), int(x.argmax())
        factor = (values[high] - values[low]) / (x[high] - x[low]) if x[high] > x[low] else 1.0
        if factor:
            found[name] = Transform(column, float(x[low] - values[low] / factor), float(factor))
    return found


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
    bases = {}
    for column in dict.fromkeys(curve.column for curve in curves):
        if column in plain.coded:
            raise SpecError(f"smooths: expected numbers in {column!r}, found categories.")
        bases[column] = make_basis(plain.columns[column], column)
    names, lines, blocks = [], [], []
    for piece in _pieces(curves, plain, bases):
        codes, levels = np.zeros(len(data), dtype=np.int64), ("all",)
        if piece.group == POPULATION:
            names.append(piece.line)
            lines.append(piece.straight)
        else:
            codes, levels = level_codes(data, piece.group.split(":"))
        blocks += [
            Block(piece.group, (term,), piece.columns[:, [place]], codes, levels)
            for place, term in enumerate(piece.terms)
        ]
    return _Lines(names, np.column_stack(lines) if lines else np.zeros((len(data), 0))), blocks, bases


class _Piece(NamedTuple):
    """A smooth times one product of columns: the line's name and column (row,), terms and columns (row, term)."""

    group: str
    line: str
    straight: np.ndarray
    terms: tuple[str, ...]
    columns: np.ndarray


def _pieces(curves: Sequence[Smooth], plain: _Plain, bases: Mapping[str, SmoothBasis]) -> Iterator[_Piece]:
    functions = {column: basis(plain.columns[column]) for column, basis in bases.items()}
    for curve in curves:
        values = functions[curve.column]
        for times in product(*(plain.meanings[name] for name in curve.by)):
            factor = np.ones(plain.rows)
            for identifier in times:
                factor = factor * plain.columns[identifier]
            by = "".join(f":{plain.name(identifier)}" for identifier in times)
            used = range(
                0 if curve.group else 1, min(curve.size + 1, values.shape[1])
            )  # function 0 is the line
            yield _Piece(
                curve.group or POPULATION, f"{curve.column}{by}", plain.columns[curve.column] * factor,
                tuple(f"s({curve.column}){by}[{k}]" for k in used), values[:, list(used)] * factor[:, None],
            )  # fmt: skip


def new_columns(
    formula: Formula, data: pd.DataFrame, coding: FitCoding
) -> tuple[list[str], np.ndarray, list[tuple[str, tuple[str, ...], np.ndarray]]]:
    """The columns of rows that a fit has not seen, coded as in the fit.

    Parameters
    ----------
    data : complete rows.

    Returns
    -------
    Names and columns (row, coefficient) of X, and (factor, terms, columns (row, term)) of every group term.

    Raises
    ------
    SpecError
        For other levels, text where the fit has numbers, or a transform whose numbers come from the fit's rows.
    """
    curves = [parse_smooth(text) for text in coding.smooths]
    also = [name for curve in curves for name in (curve.column, *curve.by)]
    plain, safe = _with_transforms(_plain(data, formula, coding.levels, also), coding.transforms)

    def matrix(text: str) -> tuple[list[str], np.ndarray]:
        for name, identifier in safe.items():
            function, column = name.rstrip(")").split("(")
            text = re.sub(rf"\b{function}\s*\(\s*{column}\s*\)", identifier, text)
        found = [name for name in STATEFUL if re.search(rf"\b{name}\s*\(", text)]
        if found:
            raise SpecError(
                "formula: expected columns, their products, center(x) and scale(x) for rows that the fit has not seen, "
                f"found {found[0]}(…), whose numbers come from the fit's own rows: put the transformed column into the "
                "data."
            )
        return _matrix(text, plain)

    names, columns = matrix(formula.common)
    groups = []
    for term in formula.groups:
        for single in expanded(term):
            labels, values = matrix(single.effects)
            groups.append(
                (single.group, tuple("1" if label == "Intercept" else label for label in labels), values)
            )
    for piece in _pieces(curves, plain, coding.bases):
        groups.append((piece.group, piece.terms, piece.columns))
        if piece.group == POPULATION and not _has(names, piece.line):
            names, columns = [*names, piece.line], np.column_stack([columns, piece.straight])
    return names, columns, groups


def _with_transforms(plain: _Plain, transforms: Mapping[str, Transform]) -> tuple[_Plain, dict[str, str]]:
    """The transforms as columns of their own, and the identifier of each."""
    safe, columns = {}, dict(plain.columns)
    for number, (name, transform) in enumerate(transforms.items()):
        if transform.column in columns:
            safe[name] = f"transform_{number}"
            columns[safe[name]] = (columns[transform.column] - transform.offset) * transform.factor
    return plain._replace(columns=columns, safe={**plain.safe, **safe}), safe


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
