"""What is shown to whom: the part of a simulated study that an experimenter decides.

A person sees two takes: task "met" (pictures) and task "films", each with three cued blinks before the first
and after the last stimulus, so that the clocks can be aligned. Positive and negative stimuli are balanced
within each medium; the order is drawn for each person. There are no neutral stimuli: the coefficient of
valence (coding -1/2, +1/2) is then positive minus negative.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

import pandas as pd

__all__ = [
    "VALENCES", "Design", "Stimulus", "demo_design", "quick_design", "small_design", "stimuli_of", "stimuli_table",
]  # fmt: skip

VALENCES = ("negative", "positive")


@dataclass(frozen=True)
class Design:
    """A study's plan. `session_sha256` names the session one person goes through, whatever the sample size."""

    participants: int = 32
    pictures_per_valence: int = 12
    films_per_valence: int = 4
    picture_s: float = 5.0
    film_s: float = 15.0
    pause_s: tuple[float, float] = (2.2, 3.2)  # between stimuli, uniform
    lead_s: float = 6.0  # before the first stimulus and after the last: three cued blinks
    rate_hz: float = 60.0
    clock: str = "aligned"  # "aligned": onsets in recording time; "stimulus": in the stimulus computer's

    def __post_init__(self) -> None:
        if self.participants < 1 or min(self.pictures_per_valence, self.films_per_valence) < 0:
            raise ValueError(f"expected at least one participant and no negative counts, found {self}")
        if self.clock not in ("aligned", "stimulus"):
            raise ValueError(f'expected clock "aligned" or "stimulus", found {self.clock!r}')

    @property
    def session_sha256(self) -> str:
        """Hash of what one person goes through: all fields but the sample size and the events' clock."""
        fields = {key: value for key, value in asdict(self).items() if key not in ("participants", "clock")}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Stimulus(NamedTuple):
    """One picture or film of the set; `number` indexes the drawn stimulus effects."""

    number: int
    stimulus_id: str
    valence: str
    medium: str
    duration_s: float
    task: str

    @property
    def sign(self) -> float:
        """+1/2 for positive, -1/2 for negative."""
        return 0.5 if self.valence == "positive" else -0.5


def stimuli_of(design: Design, *, swap_valence: bool = False) -> tuple[Stimulus, ...]:
    """The set of stimuli, pictures first; `swap_valence` calls the positive ones negative and the reverse."""
    media = (
        ("picture", "met", design.pictures_per_valence, design.picture_s),
        ("film", "films", design.films_per_valence, design.film_s),
    )
    meaning = dict(zip(VALENCES, VALENCES[::-1] if swap_valence else VALENCES, strict=True))
    rows = [
        (f"{medium}{valence.capitalize()}{item:02d}", meaning[valence], medium, duration, task)
        for medium, task, count, duration in media
        for valence in VALENCES
        for item in range(1, count + 1)
    ]
    return tuple(Stimulus(number, *row) for number, row in enumerate(rows))


def stimuli_table(design: Design, *, swap_valence: bool = False) -> pd.DataFrame:
    """stimuli.tsv: stimulus_id, valence, medium, duration (s)."""
    stimuli = stimuli_of(design, swap_valence=swap_valence)
    rows = [(item.stimulus_id, item.valence, item.medium, item.duration_s) for item in stimuli]
    return pd.DataFrame(rows, columns=["stimulus_id", "valence", "medium", "duration"])


def demo_design(participants: int = 32) -> Design:
    """The demo: as many people as in the paper; 24 pictures of 5 s and 8 films of 15 s."""
    return Design(participants=participants)


def quick_design(participants: int = 8) -> Design:
    """`mien demo --quick`: eight people and the small design's shorter session."""
    return small_design(participants)


def small_design(participants: int = 12) -> Design:
    """For tests that need many studies: 20 pictures of 4 s and 4 films of 8 s, under four minutes a person."""
    return Design(
        participants=participants, pictures_per_valence=10, films_per_valence=2, picture_s=4.0, film_s=8.0
    )
