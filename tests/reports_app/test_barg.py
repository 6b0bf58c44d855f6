"""The checklist: what is done is there, what failed is not done, what only people can say waits for them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mien.reports_app.barg import STATEMENTS, BargItem, CheckedPriors, Evidence, barg
from mien.reports_app.barg_items import DOI, ITEMS, READ, STEPS
from mien.study.errors import SpecError

ENTRIES = {
    "made-up": {"id": "made-up", "version": "1", "source": {"kind": "rule", "reason": "follows from the scale"}},
}  # fmt: skip
SAID = dict.fromkeys(STATEMENTS, "It is said.")


def with_attrs(fit, **attrs):
    own = fit.copy()
    own.attrs = fit.attrs | attrs
    return own


@pytest.fixture
def full(fit):
    return with_attrs(
        fit, prior_entries=json.dumps(ENTRIES), model_spec=json.dumps({"contrasts": {}}), priors_sha256="c" * 64,
        checks=json.dumps({"notes": ["Scatter: as the model expects.", "Zeros: as the model expects."]}),
    )  # fmt: skip


def scaling(shapes, diagnosis="-"):
    return pd.DataFrame({"blend_shape": shapes, "parameter": "valence", "diagnosis": diagnosis})


def widths(shapes, how="exact given theta", decisions=("undecided",) * 3):
    rows = [
        {"blend_shape": shape, "effect": "valence", "factor": factor, "how": how, "decision": decision,
         "p_direction": 0.9, "bayes_factor": 1.5 * factor}
        for shape in shapes for factor, decision in zip((0.25, 1.0, 4.0), decisions, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def evidence(full, effects):
    shapes = list(effects["blend_shape"])
    return Evidence(
        {"valence": full}, {"valence": effects}, {"valence": CheckedPriors("c" * 64, 1000, 12, 1)},
        {"valence": scaling(shapes)}, {"valence": widths(shapes)}, statements=SAID,
    )  # fmt: skip


def by_title(evidence) -> dict[str, BargItem]:
    return {
        item.title if item.step != "Sensitivity" else f"sensitivity: {item.title}": item
        for item in barg(evidence)
    }


def status(evidence) -> dict[str, str]:
    return {title: item.status for title, item in by_title(evidence).items()}


def changed(evidence, fit, name="valence"):
    return replace(evidence, fits={**evidence.fits, name: fit})


POSTERIOR = (
    "Convergence of chains", "Resolution of chains", "Posterior predictive check", "Posterior of the parameters",
    "Estimates beside decisions", "sensitivity: Broad priors", "sensitivity: Default priors", "sensitivity: Decisions",
)  # fmt: skip


def test_the_items_are_those_of_the_guidelines():
    letters = {}
    for item in ITEMS:
        letters[item.step] = letters.get(item.step, "") + item.item
    assert letters == {
        "preamble": "AB",
        "1": "ABCDE",
        "2": "ABCD",
        "3": "ABC",
        "4": "ABCDE",
        "5": "ABCDE",
        "6": "DG",
    }
    assert DOI == "10.1038/s41562-021-01177-7"
    assert len(READ) == 1
    assert len({item.key for item in ITEMS}) == len(ITEMS)
    assert set(STATEMENTS) <= {item.key for item in ITEMS}
    assert set(STEPS) == {item.step for item in ITEMS}


def test_with_everything_there_nothing_is_left(evidence):
    rows = barg(evidence)
    assert [row.title for row in rows] == [item.title for item in ITEMS]
    assert {row.status for row in rows} == {"done", "not applicable"}
    left = {row.title for row in rows if row.status == "not applicable"}
    assert left == {
        "If not MCMC", "Bayes factors and model probabilities", "Threshold of a Bayes factor", "Informed priors",
        "Bayes factors",
    }  # fmt: skip
    assert all(row.evidence for row in rows)


def test_the_evidence_is_the_numbers_that_are_there(evidence, effects):
    found = by_title(evidence)
    assert found["Resolution of chains"].evidence == (
        "effects table: column ess_bulk, smallest 2,400, column ess_tail, smallest 2,100; all parameters: smallest "
        "ess_bulk 871, ess_tail 655"
    )
    assert (
        "column r_hat, largest 1.002; all parameters: largest r_hat 1.004"
        in found["Convergence of chains"].evidence
    )
    assert found["Prior predictive check"].evidence == (
        "prior predictive check: 12 checks of 1,000 simulated studies, 1 not as expected"
    )
    assert "2 parameters with reasons, by source 1 rule, 1 convention" in found["Priors"].evidence
    assert f"{len(effects)} rows with mean, sd and 95 % ETI" in found["Posterior of the parameters"].evidence
    assert found["sensitivity: Broad priors"].evidence.endswith("valence with prior sds × 0.25 to × 4")
    assert found["sensitivity: Decisions"].evidence.endswith("34 of 34 decisions stay at all of them")
    assert "seed 0" in found["Random numbers"].evidence
    assert "aaaaaaaaaaaa…" in found["Data and script"].evidence


def test_the_smallest_of_all_rows_is_told(evidence, effects):
    small = effects.assign(ess_bulk=np.where(effects["blend_shape"] == "jawOpen", 432.0, 2400.0))
    text = by_title(replace(evidence, effects={"valence": small}))["Resolution of chains"].evidence
    assert "ess_bulk, smallest 432" in text


def test_nothing_of_a_failed_posterior_is_done(evidence, full):
    detail = json.loads(full.attrs["diagnostics_detail"]) | {
        "failed": {"mouthSmile": ["R-hat of valence 1.080"]}
    }
    bad = with_attrs(full, diagnostics="failed", diagnostics_detail=json.dumps(detail))
    found = by_title(changed(evidence, bad))
    for title in POSTERIOR:
        assert found[title].status == "not done", title
        assert "mouthSmile: R-hat of valence 1.080" in found[title].evidence
        assert "fit again" in found[title].evidence
    assert found["Software"].status == "done"  # what does not hang on the posterior stays


def test_a_fit_without_a_verdict_has_not_passed(evidence, full):
    bad = with_attrs(full)
    del bad.attrs["diagnostics"]
    assert {status(changed(evidence, bad))[title] for title in POSTERIOR} == {"not done"}


def test_one_failed_fit_of_two_is_named(evidence, full, effects):
    bad = with_attrs(full, diagnostics="failed")
    two = replace(changed(evidence, bad, "time"), effects={"valence": effects, "time": effects})
    found = by_title(two)["Convergence of chains"]
    assert (found.status, found.evidence[:5]) == ("not done", "time:")
    assert "valence:" not in found.evidence


def test_importance_sampling_is_judged_as_such(evidence, full, weighted_fit):
    weighted = with_attrs(full, **{
        key: weighted_fit.attrs[key] for key in ("engine", "engine_verdict", "diagnostics_detail")
    })  # fmt: skip
    found = by_title(changed(evidence, weighted))
    assert found["If not MCMC"].evidence == (
        "importance sampling, verdict of the engine: largest Pareto k 0.32, smallest effective sample size 812, "
        "largest |z| between runs 2.880; 1 outcome by NUTS instead, judged by R-hat"
    )
    assert {found[title].status for title in POSTERIOR[:2]} == {"not applicable"}
    bad = with_attrs(weighted, diagnostics="failed")
    assert status(changed(evidence, bad))["If not MCMC"] == "not done"
    detail = json.loads(weighted.attrs["diagnostics_detail"])
    del detail["max_khat"]
    bare = with_attrs(weighted, diagnostics_detail=json.dumps(detail))
    assert status(changed(evidence, bare))["If not MCMC"] == "not done"


@pytest.mark.parametrize(
    ("check", "said"),
    [(None, "not run: mien priors check"), (CheckedPriors("d" * 64, 1000, 12, 0), "other priors"),
     (CheckedPriors("", 1000, 12, 0), "other priors")],
)  # fmt: skip
def test_a_prior_check_counts_for_its_own_priors_alone(evidence, check, said):
    without = replace(evidence, prior_checks={} if check is None else {"valence": check})
    found = by_title(without)["Prior predictive check"]
    assert found.status == "not done"
    assert said in found.evidence


def test_a_fit_and_a_check_without_hashes_are_no_match(evidence, full):
    bare = with_attrs(full, priors_sha256="")
    empty = replace(changed(evidence, bare), prior_checks={"valence": CheckedPriors("", 10, 1, 0)})
    assert status(empty)["Prior predictive check"] == "not done"


def test_priors_without_a_source_are_named(evidence, full):
    priors = json.loads(full.attrs["priors"])
    priors["mouthSmile"]["valence"]["source"] = "user"
    found = by_title(changed(evidence, with_attrs(full, priors=json.dumps(priors))))["Priors"]
    assert (found.status, "valence" in found.evidence) == ("not done", True)
    without_reason = with_attrs(full, prior_entries="{}")
    assert status(changed(evidence, without_reason))["Priors"] == "not done"
    assert status(changed(evidence, with_attrs(full, priors="")))["Priors"] == "not done"
    frozen = by_title(changed(evidence, with_attrs(full, priors_frozen="2026-01-01")))["Priors"]
    assert frozen.evidence.endswith("frozen before the fit")


def test_checks_of_the_model_that_were_not_run(evidence, full):
    found = by_title(changed(evidence, with_attrs(full, checks="{}")))["Posterior predictive check"]
    assert (found.status, "not run" in found.evidence) == ("not done", True)


def test_sensitivity_that_is_not_there_or_not_reliable(evidence, effects):
    shapes = list(effects["blend_shape"])
    sensitivity = POSTERIOR[-3:]
    none = by_title(replace(evidence, scaling={}, widths={}))
    assert {none[title].status for title in sensitivity} == {"not done"}
    assert "mien priors sensitivity" in none[sensitivity[0]].evidence
    bad = by_title(
        replace(
            evidence,
            scaling={"valence": scaling(shapes, "not reliable")},
            widths={"valence": widths(shapes, "not reliable")},
        )
    )
    assert {bad[title].status for title in sensitivity} == {"not done"}
    assert "refit" in bad[sensitivity[1]].evidence
    conflict = by_title(replace(evidence, scaling={"valence": scaling(shapes, "prior-data conflict")}))
    assert "34 of 34 quantities lean" in conflict["sensitivity: Default priors"].evidence


def test_only_narrower_priors_are_not_broad_ones(evidence, effects):
    table = widths(list(effects["blend_shape"]))
    narrow = replace(evidence, widths={"valence": table[table["factor"] <= 1.0]})
    assert status(narrow)["sensitivity: Broad priors"] == "not done"


def test_decisions_that_change_are_counted(evidence, effects):
    shapes = list(effects["blend_shape"])
    table = pd.concat([widths(shapes[1:]), widths(shapes[:1], decisions=("undecided", "outside", "outside"))])
    text = by_title(replace(evidence, widths={"valence": table}))["sensitivity: Decisions"].evidence
    assert "33 of 34 decisions stay" in text


def test_informed_priors_are_asked_for_their_sensitivity(evidence, full):
    priors = json.loads(full.attrs["priors"])
    for one in priors.values():
        one["valence"]["source"] = "pilot"
    informed = changed(evidence, with_attrs(full, priors=json.dumps(priors)))
    assert "of valence" in by_title(informed)["sensitivity: Informed priors"].evidence
    assert status(replace(informed, scaling={}))["sensitivity: Informed priors"] == "not done"


def test_bayes_factors_ask_for_more_where_they_are_shown(evidence):
    shown = by_title(replace(evidence, bayes_factors=True))
    assert shown["sensitivity: Bayes factors"].evidence.endswith(
        "Bayes factors 0.38 to 6 (column bayes_factor)"
    )
    unsaid = status(replace(evidence, bayes_factors=True, statements={}))
    assert unsaid["Bayes factors and model probabilities"] == "not done"
    assert unsaid["Threshold of a Bayes factor"] == "not done"


def test_what_people_have_to_say_waits_for_them(evidence):
    silent = by_title(replace(evidence, statements={}))
    for key in ("why_bayesian", "goals", "why_decide", "rope", "data_and_script", "readable", "archive"):
        item = silent[next(one.title for one in ITEMS if one.key == key)]
        assert item.status == "not done", key
        assert f"[barg], {key}: " in item.evidence
    assert "±0.1 residual sds" in silent["Limits of practical equivalence"].evidence
    blank = status(replace(evidence, statements=dict.fromkeys(STATEMENTS, "  ")))
    assert blank == {title: item.status for title, item in silent.items()}


def test_a_text_does_not_make_up_for_what_was_not_run(evidence):
    with pytest.raises(SpecError, match="prior_check"):
        replace(evidence, statements={"prior_check": "We looked at it."})
    with pytest.raises(SpecError, match="expected a text"):
        replace(evidence, statements={"goals": 3})  # type: ignore[dict-item]


def test_a_text_may_say_that_an_item_is_none_of_the_study(evidence):
    own = replace(
        evidence,
        statements=SAID | {"why_bayesian": "Not applicable: our readers know.", "goals": "not applicable"},
    )
    found = by_title(own)
    assert (found["Why Bayesian"].status, found["Why Bayesian"].evidence) == (
        "not applicable",
        "our readers know.",
    )
    assert found["Goals of the analysis"].status == "not done"


def test_without_decisions_nothing_is_asked_about_them(evidence, effects):
    plain = replace(evidence, effects={"valence": effects.drop(columns="decision")})
    found = status(plain)
    asked = ("Why decide, and how", "Limits of practical equivalence", "Estimates beside decisions")
    assert {found[title] for title in asked} == {"not applicable"}


def test_a_decision_without_its_estimate_is_not_done(evidence, effects):
    bare = replace(evidence, effects={"valence": effects.drop(columns="eti_upper")})
    assert status(bare)["Estimates beside decisions"] == "not done"


def test_a_study_without_fits_has_nothing_done_but_its_texts():
    rows = barg(Evidence({}, statements={"goals": "To estimate."}))
    assert [row.title for row in rows if row.status == "done"] == ["Goals of the analysis"]
    assert sum("mien fit" in row.evidence for row in rows) == len(rows) - 3


def test_a_fit_that_stores_nothing_is_not_done_anywhere(evidence, fit):
    bare = fit.copy()
    bare.attrs = {"diagnostics": "passed"}
    found = status(Evidence({"valence": bare}))
    assert "done" not in found.values()


def test_the_statuses_come_from_the_evidence_given(evidence):
    """The saboteur: a checklist that says done to all is not this one."""
    assert {row.status for row in barg(Evidence(evidence.fits))} == {"done", "not done", "not applicable"}
    assert status(Evidence(evidence.fits)) != status(evidence)
