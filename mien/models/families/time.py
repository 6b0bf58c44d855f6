"""The time family: how does the answer unfold after onset, and does it fade over trials?

    activation ~ valence + time + valence:time + center(trial) + valence:center(trial)
                 + s(time) + s(time):valence                                    the course, and how it differs
                 + (valence | participant) + s(time) | participant + s(time):valence | participant
                 + (0 + center(trial) + valence:center(trial) || participant)   persons' habituation
                 + (1 | stimulus) + s(time) | stimulus                          stimuli have courses of their own
                 + (1 | participant:session:task:trial),    AR(1) within the trial

Rows are time bins. The baseline's error is shared by a trial's bins, so that AR(1) residuals stand beside a trial's own
effect. A difference between the courses is a claim for persons and stimuli like these: both have courses of their
own, or its bands would be those of these persons and stimuli alone. `mien.models.curves` and `mien.models.peaks` read
the courses; films and pictures last differently and are fitted apart, or over equal first seconds.
"""

from typing import Unpack

from mien.models.families.options import FamilyOptions, Options, compose, family_spec
from mien.models.spec import ModelSpec
from mien.study.errors import SpecError

__all__ = ["time"]

ANSWERS = (
    "How does each shape's answer to positive minus negative stimuli unfold from the onset, and by how much does it "
    "fade from trial to trial?"
)
SMOOTHS = ("s(time)", "s(time):valence")
OF_LEVELS = ("s(time, 2) | participant", "s(time, 2):valence | participant", "s(time, 2) | stimulus")
TRIAL = "(1 | participant:session:task:trial)"
HABITUATION = ("center(trial)", "valence:center(trial)")


def time(*, habituation: bool = True, **options: Unpack[FamilyOptions]) -> ModelSpec:
    """The course of each shape's answer within the trial, and its change over trials.

    Parameters
    ----------
    habituation : False leaves the change over trials out, as where all persons had one order.
    **options : group, traits, covariates, norms, session, baseline, priors, contrasts, pool_trackers: see
        `FamilyOptions`. They move the level of the answer, not its course.

    Raises
    ------
    SpecError
        Also for conditions, ratings or repeated, which would need courses of their own.
    """
    for name in ("conditions", "ratings", "repeated"):
        if options.get(name):
            raise SpecError(
                f"time: expected no {name}, which would need curves of their own: write smooths such as "
                "'s(time):condition' with a formula, or use another family."
            )
    chosen = Options.of(options, ("valence", "time", "trial"))
    over_trials = HABITUATION if habituation else ()
    formula = compose(chosen, slopes=over_trials, more=("time", "valence:time", *over_trials, TRIAL))
    return family_spec(
        "time", formula, chosen, answers=ANSWERS, smooths=(*SMOOTHS, *OF_LEVELS), residual="ar1"
    )
