"""The design check: what the order, the number and the length of trials, and lost tracking, allow one to say.

order       correlation of a trial's place in its sequence (participant, session, task) with valence and medium, within
            sequences, and with the stimulus (the root of the adjusted share of variance that stimuli explain, 0-1).
            Above .5, or with one order for everybody, habituation is "not identified": it cannot be told from what
            was shown when.
cells       persons, stimuli and kept trials by valence and medium, and the fewest kept trials of a person
durations   how long the modelled stretch of a trial is, s
tracked     share of frames tracked and of trials kept, by valence, medium and person: an outcome, since large movements
            lose the tracker
repeated    share of person-stimulus pairs that were seen more than once

It is part of every fit (`attrs["design_check"]`), as far as the data have the columns; all trials count, excluded or
not, where it says nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from mien.models.engines.problem import Draws, Outcome
from mien.models.equal_stretches import ends_of_bins
from mien.models.error_shares import error_shares, limit_notes
from mien.models.levels import codes_of
from mien.study.errors import SpecError
from mien.study.formula import Formula
from mien.study.trials import MEDIA, SERIES_KEY, VALENCES, row_codes

__all__ = ["STRONG", "DesignCheck", "check_of_fit", "design_check", "refuse_unequal_peaks"]

STRONG = 0.5  # correlation with the order above which habituation is not identified; STATISTICS 2
FEW_PERSONS = 5  # below this, the prior says most of what is said about differences between persons (rule)
UNLIKE = 1.05  # ratio of durations above which stretches count as unequal
UNLIKE_SHARES = 0.05  # difference of tracked shares that is told
COUNTED = 1_000_000  # pairs that may be counted in a table instead of sorted
KNOWN_ORDER = {"valence": VALENCES, "medium": MEDIA}


class DesignCheck(NamedTuple):
    """facts : plain data by topic. notes : what a reader should know, a sentence each; print it to read them."""

    facts: Mapping[str, Any]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"- {note}" for note in self.notes) or "nothing to note"


class _Shown(NamedTuple):
    """One row a trial: who saw what and when.

    codes : column → (trial,) codes; names : column → labels. place : (trial,) number of the trial, None without it.
    sequence : (trial,) participant, session and task. kept : (trial,) whether any row of it is kept.
    frames, tracked : (trial,) frames due and tracked, summed over shapes; None without them. end : (trial,) s.
    """

    codes: Mapping[str, np.ndarray]
    names: Mapping[str, Sequence[str]]
    place: np.ndarray | None
    sequence: np.ndarray
    kept: np.ndarray
    frames: np.ndarray | None
    tracked: np.ndarray | None
    end: np.ndarray | None

    def has(self, *names: str) -> bool:
        return all(name in self.codes for name in names)

    def values(self, name: str) -> np.ndarray:
        """(trial,) the levels as numbers in their order."""
        order = KNOWN_ORDER.get(name, ())
        number = np.array(
            [
                order.index(label) if label in order else place + len(order)
                for place, label in enumerate(self.names[name])
            ]
        )
        return number[self.codes[name]].astype(np.float64)


def design_check(
    trials: pd.DataFrame, participants: pd.DataFrame | None = None, *, formula: Formula | None = None
) -> DesignCheck:
    """What a table's design allows one to say; `print` it to read it.

    Parameters
    ----------
    trials : a Trials table, or any table with some of its columns.
    participants : the participants table; who has no trial is told.
    formula : a model's, so that what it lacks or cannot tell apart is told too.
    """
    shown = _shown(trials)
    facts: dict[str, Any] = {
        name: value
        for name, value in (
            ("trials", len(shown.kept)),
            ("trials_kept", int(shown.kept.sum())),
            ("persons", _in_use(shown, "participant")),
            ("stimuli", _in_use(shown, "stimulus")),
            ("order", _order(shown)),
            ("cells", _cells(shown)),
            ("durations", _durations(shown)),
            ("tracked", _tracked(shown)),
            ("repeated", _repeated(shown)),
        )
        if value is not None
    }
    notes = [*_order_notes(facts), *_number_notes(facts), *_tracking_notes(facts)]
    if formula is None or "medium" in formula.columns:
        notes += _media_notes(facts)
    if participants is not None:
        notes += _absent(trials, participants)
    if formula is not None:
        notes += _model_notes(facts, shown, formula)
    return DesignCheck(facts, tuple(notes))


# Trials


def _shown(data: pd.DataFrame) -> _Shown:
    keys = [name for name in SERIES_KEY if name != "blend_shape" and name in data.columns]
    trial = row_codes(data, keys) if "trial" in keys else np.arange(len(data))
    size = int(trial.max(initial=-1)) + 1
    first = np.zeros(size, dtype=np.int64)
    first[trial[::-1]] = np.arange(len(trial))[::-1]
    codes, names = {}, {}
    for name in ("participant", "session", "task", "stimulus", "valence", "medium"):
        if name in data.columns:
            mine, names[name] = codes_of(cast(pd.Series, data[name]))
            codes[name] = mine[first].astype(np.int64)
    known = np.all([values >= 0 for values in codes.values()], axis=0) if codes else np.ones(size, dtype=bool)
    at = first[known]
    frames = tracked = end = None
    if _numeric(data, "n_frames", "valid"):
        number = data["n_frames"].to_numpy(dtype=np.float64)
        frames = np.bincount(trial, weights=number, minlength=size)[known]
        tracked = np.bincount(
            trial, weights=np.nan_to_num(number * data["valid"].to_numpy(dtype=np.float64)), minlength=size
        )[known]
    if "trial" in keys and _numeric(data, "time", "bin"):
        end = _ends(data, trial, first)[known]
    sequence = np.zeros(len(at), dtype=np.int64)
    for name in ("participant", "session", "task"):
        if name in codes:
            mine = codes[name][known]
            sequence = sequence * (int(mine.max(initial=0)) + 1) + mine
    return _Shown(
        {name: values[known] for name, values in codes.items()}, names,
        data["trial"].to_numpy(dtype=np.float64)[at] if _numeric(data, "trial") else None,
        np.unique(sequence, return_inverse=True)[1],
        (np.bincount(trial, weights=_kept(data), minlength=size) > 0)[known], frames, tracked, end,
    )  # fmt: skip


def _numeric(data: pd.DataFrame, *names: str) -> bool:
    return all(name in data.columns and pd.api.types.is_numeric_dtype(data[name]) for name in names)


def _kept(data: pd.DataFrame) -> np.ndarray:
    if "excluded" not in data.columns:
        return np.ones(len(data), dtype=bool)
    reason = cast(pd.Series, data["excluded"])
    return (reason.isna() | (reason == "")).to_numpy(dtype=bool)


def _ends(data: pd.DataFrame, trial: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(trial,) s from onset to the end of its last bin; the bins of one shape stand for all."""
    rows = np.arange(len(trial))
    if "blend_shape" in data.columns:
        shape = codes_of(cast(pd.Series, data["blend_shape"]))[0]
        rows = np.flatnonzero(shape == shape[first][trial])
    end = ends_of_bins(
        trial[rows], data["bin"].to_numpy(dtype=np.int64)[rows], data["time"].to_numpy(dtype=np.float64)[rows]
    )
    latest = np.full(len(first), -np.inf)
    np.fmax.at(latest, trial[rows], end)
    return latest


def _in_use(shown: _Shown, name: str) -> int | None:
    return int((np.bincount(shown.codes[name]) > 0).sum()) if shown.has(name) else None


# Order


def _order(shown: _Shown) -> dict[str, Any] | None:
    if shown.place is None or not len(shown.place):
        return None
    place = _centred(shown.place, shown.sequence)
    found: dict[str, Any] = {
        name: _correlation(place, _centred(shown.values(name), shown.sequence))
        for name in ("valence", "medium")
        if shown.has(name) and len(np.unique(shown.codes[name])) > 1
    }
    if shown.has("stimulus"):
        found["stimulus"] = _explained(place, shown.codes["stimulus"])
        found["fixed_in"] = _fixed_tasks(shown)
        tasks = len(np.unique(shown.codes["task"])) if shown.has("task") else 1
        found["fixed"] = len(found["fixed_in"]) == tasks
    reasons = [name for name in ("valence", "medium", "stimulus") if abs(found.get(name) or 0.0) > STRONG]
    found["habituation"] = "not identified" if reasons or found.get("fixed") else "identified"
    return found


def _centred(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    count = np.bincount(group)
    return values - (np.bincount(group, weights=values) / np.maximum(count, 1))[group]


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """None where one of them does not vary."""
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size > 1e-12 * max(1.0, len(one)) else None


def _explained(place: np.ndarray, stimulus: np.ndarray) -> float | None:
    """Root of the adjusted share of the place's variance that stimuli explain; 0 where it is negative."""
    levels, free = len(np.unique(stimulus)), len(place) - len(np.unique(stimulus))
    total = float(place @ place)
    if levels < 2 or free < 1 or total <= 0:
        return None
    left = _centred(place, stimulus)
    return float(np.sqrt(max(0.0, 1.0 - (float(left @ left) / free) / (total / (len(place) - 1)))))


def _fixed_tasks(shown: _Shown) -> list[str]:
    """Tasks that two persons or more went through, all of them in one order (in each session)."""
    orders: dict[str, dict[str, list[tuple[int, ...]]]] = {}
    by_place = np.lexsort((shown.place, shown.sequence))  # type: ignore[arg-type]
    begins = np.flatnonzero(np.diff(shown.sequence[by_place], prepend=-1))
    for part in np.split(by_place, begins[1:]):
        task, session = (_label(shown, name, int(part[0])) for name in ("task", "session"))
        order = tuple(shown.codes["stimulus"][part].tolist())
        orders.setdefault(task, {}).setdefault(session, []).append(order)
    return sorted(task for task, sessions in orders.items() if all(map(_one_order, sessions.values())))


def _label(shown: _Shown, name: str, trial: int) -> str:
    return shown.names[name][int(shown.codes[name][trial])] if shown.has(name) else ""


def _one_order(orders: Sequence[tuple[int, ...]]) -> bool:
    return len(orders) > 1 and len(orders[0]) > 1 and len(set(orders)) == 1


# Numbers, durations, tracking


def _cells(shown: _Shown) -> list[dict[str, Any]] | None:
    names = [name for name in ("valence", "medium") if shown.has(name)]
    if not names:
        return None
    found = []
    sizes = [len(shown.names[name]) for name in names]
    cell = np.ravel_multi_index([shown.codes[name] for name in names], sizes)
    for place in np.flatnonzero(np.bincount(cell)):
        mine = cell == place
        kept = mine & shown.kept
        levels = np.unravel_index(place, sizes)
        row: dict[str, Any] = {
            name: shown.names[name][int(level)] for name, level in zip(names, levels, strict=True)
        }
        for name, plural in (("participant", "persons"), ("stimulus", "stimuli")):
            if shown.has(name):
                row[plural] = int((np.bincount(shown.codes[name][kept]) > 0).sum())
        row |= {"trials": int(mine.sum()), "trials_kept": int(kept.sum())}
        if shown.has("participant"):
            row["fewest_of_a_person"] = _fewest(shown, kept)
        found.append(row)
    return found


def _fewest(shown: _Shown, kept: np.ndarray) -> int:
    who = shown.codes["participant"]
    return int(np.bincount(who[kept], minlength=who.max() + 1)[np.bincount(who) > 0].min())


def _durations(shown: _Shown) -> dict[str, Any] | None:
    if shown.end is None or not shown.has("medium"):
        return None
    found = {}
    for level in np.unique(shown.codes["medium"]):
        mine = shown.end[shown.codes["medium"] == level]
        found[shown.names["medium"][level]] = {
            "median_s": round(float(np.median(mine)), 3),
            "min_s": round(float(mine.min()), 3),
            "max_s": round(float(mine.max()), 3),
        }
    return found


def _tracked(shown: _Shown) -> dict[str, Any] | None:
    if shown.frames is None or shown.tracked is None:
        return None
    found: dict[str, Any] = {
        "share": _share(shown.tracked, shown.frames),
        "kept": float(shown.kept.mean()) if len(shown.kept) else None,
    }
    for name in ("valence", "medium", "participant"):
        if not shown.has(name):
            continue
        code, size = shown.codes[name], len(shown.names[name])
        tracked, frames, kept, trials = (
            np.bincount(code, weights=weights, minlength=size)
            for weights in (shown.tracked, shown.frames, shown.kept, np.ones(len(code)))
        )
        found[name] = {
            shown.names[name][int(level)]: {
                "share": _share(tracked[level], frames[level]), "kept": float(kept[level] / trials[level]),
                "trials": int(trials[level]),
            }
            for level in np.flatnonzero(trials)
        }  # fmt: skip
    return found


def _share(part: Any, whole: Any) -> float | None:
    total = float(np.sum(whole))
    return round(float(np.sum(part)) / total, 6) if total > 0 else None


def _repeated(shown: _Shown) -> float | None:
    if not shown.has("participant", "stimulus") or not len(shown.kept):
        return None
    size = int(shown.codes["stimulus"].max()) + 1
    pair = shown.codes["participant"] * size + shown.codes["stimulus"]
    seen = np.bincount(pair) if pair.max() < COUNTED else np.unique(pair, return_counts=True)[1]
    return float((seen[seen > 0] > 1).mean())


# Sentences


def _order_notes(facts: Mapping[str, Any]) -> list[str]:
    order = facts.get("order")
    if not order:
        return []
    strong = [
        f"{name} ({order[name]:+.2f})"
        for name in ("valence", "medium", *(() if order.get("fixed_in") else ("stimulus",)))
        if abs(order.get(name) or 0.0) > STRONG
    ]
    notes = []
    if strong:
        notes.append(
            f"Habituation is not identified: the order of trials goes with {', '.join(strong)}; above {STRONG:g} it "
            "cannot be told from what was shown when."
        )
    if order.get("fixed_in"):
        where = ", ".join(filter(None, order["fixed_in"]))
        notes.append(
            f"One fixed order of stimuli for everybody{f' (task {where})' if where else ''}: habituation is "
            + ("not identified." if order["fixed"] else "not identified there.")
        )
    return notes


def _number_notes(facts: Mapping[str, Any]) -> list[str]:
    notes = []
    persons = facts.get("persons")
    if persons is not None and persons < FEW_PERSONS:
        notes.append(
            f"{persons} persons: how much persons differ is known from the prior more than from the data, and "
            "intervals for further persons rest on it."
        )
    empty = [cell for cell in facts.get("cells") or [] if cell.get("fewest_of_a_person") == 0]
    if empty:
        which = "; ".join(_cell_name(cell) for cell in empty)
        notes.append(f"Not every person has a kept trial in each cell: {which}.")
    return notes


def _media_notes(facts: Mapping[str, Any]) -> list[str]:
    order, durations = facts.get("order") or {}, facts.get("durations") or {}
    notes = []
    if "medium" in order and order["medium"] is None:
        notes.append(
            "Films and pictures were shown in different tasks: what differs between them may be the order of the tasks."
        )
    lengths = [one["median_s"] for one in durations.values()]
    if len(lengths) > 1 and max(lengths) > UNLIKE * min(lengths):
        told = ", ".join(f"{medium} {one['median_s']:g} s" for medium, one in durations.items())
        notes.append(
            f"Media differ in duration ({told}): compare equal first seconds (mien.models.first_seconds) before whole "
            "stimuli, and never peaks; they differ in sound and motion too."
        )
    return notes


def _cell_name(cell: Mapping[str, Any]) -> str:
    return " ".join(str(cell[name]) for name in ("valence", "medium") if name in cell)


def _tracking_notes(facts: Mapping[str, Any]) -> list[str]:
    tracked = facts.get("tracked") or {}
    notes = []
    for name in ("valence", "medium"):
        shares = {
            level: one["share"] for level, one in tracked.get(name, {}).items() if one["share"] is not None
        }
        if len(shares) > 1 and max(shares.values()) - min(shares.values()) > UNLIKE_SHARES:
            told = ", ".join(f"{level} {share:.0%}" for level, share in shares.items())
            notes.append(
                f"The tracked share differs by {name} ({told}): see how far lost trials could move the answer "
                "(mien.models.lost_trials)."
            )
    return notes


def _absent(trials: pd.DataFrame, participants: pd.DataFrame) -> list[str]:
    key = next((name for name in ("participant_id", "participant") if name in participants.columns), None)
    if key is None or "participant" not in trials.columns:
        return []
    there = set(trials["participant"].astype("str"))
    absent = sorted(set(participants[key].astype("str").str.removeprefix("sub-")) - there)
    return [f"Without any trial: {', '.join(absent)}."] if absent else []


def _model_notes(facts: Mapping[str, Any], shown: _Shown, formula: Formula) -> list[str]:
    groups = {term.group.replace(" ", "") for term in formula.groups}
    notes = []
    pair = {"participant:stimulus", "stimulus:participant"}
    if (facts.get("repeated") or 0.0) > 0 and {"participant", "stimulus"} <= groups and not groups & pair:
        notes.append(
            f"{facts['repeated']:.0%} of the pairs of person and stimulus were seen more than once, and the model has "
            "no (1 | participant:stimulus): its intervals take repeated answers as independent."
        )
    if shown.has("stimulus") and "valence" in formula.columns and "stimulus" not in formula.columns:
        notes.append("The model has no effect of stimuli: its answer holds for these stimuli alone.")
    return notes


# In a fit


def refuse_unequal_peaks(formula: Formula, data: pd.DataFrame) -> None:
    """Refuse to compare peaks of stretches of unequal lengths: longer ones have higher peaks by chance alone.

    Raises
    ------
    SpecError
    """
    if formula.response != "peak" or "medium" not in formula.columns:
        return
    durations = _durations(_shown(data)) or {}
    lengths = {medium: one["median_s"] for medium, one in durations.items()}
    if len(lengths) > 1 and max(lengths.values()) > UNLIKE * min(lengths.values()):
        told = ", ".join(f"{medium} {length:g} s" for medium, length in lengths.items())
        raise SpecError(
            f"formula {formula.text!r}: expected peaks of equally long stretches, found {told}: longer ones have "
            "higher peaks by chance alone; take equal first seconds (mien.models.first_seconds)."
        )


def check_of_fit(
    data: pd.DataFrame, formula: Formula, outcomes: Sequence[Outcome], sampled: Sequence[Draws]
) -> dict[str, Any]:
    """The design check of a fitted model as plain data, with what limits each of its effects."""
    facts, notes = design_check(data, formula=formula)
    shares = error_shares(outcomes, sampled)
    told = [*notes, *limit_notes(shares, facts.get("stimuli"))]
    return {**facts, **({"error_shares": shares} if shares else {}), "notes": told}
