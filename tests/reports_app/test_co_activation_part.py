"""Co-activation in the report: sentences say what tables say, what cannot be told is said, what failed is withheld."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mien
from mien.models import co_activation, co_activation_pairs, loadings, shape_groups
from mien.models.factors.partitions import Ball
from mien.models.factors.tables import ShapeGroups
from mien.models.factors.trees import correlation_tree
from mien.reports_app import co_activation_words as words
from mien.reports_app import methods, tables
from mien.reports_app.co_activation_part import co_activation_part, part_order
from mien.reports_app.co_activation_tables import ball_table, groups_table, loadings_table, numbers_table
from mien.reports_app.defaults import DEFAULTS
from mien.reports_app.documents import study_report
from mien.reports_app.export_tables import (
    effects_latex,
    effects_text,
    write_study_checks,
    write_study_effects,
)
from mien.reports_app.model_checks import model_checks
from mien.reports_app.rows import rows_of
from mien.simulation.co_activation import draw_truth, simulate_factors
from mien.study.errors import StudyError
from mien.study.folder import Study
from mien.workflow.co_activation import NUMBERS
from tests.reports_app.pages import Page

SMILE = {"mouthSmile": 0.9, "cheekSquint": 0.8, "eyeSquint": 0.7, "mouthFrown": -0.7}
BROW = {"browInnerUp": 0.85, "browOuterUp": 0.8, "browDown": -0.7, "eyeWide": 0.6}
SHAPES = (*SMILE, *BROW, "jawForward")


@pytest.fixture(scope="module")
def trials():
    """A smile and a brow factor within, one of each between persons and between stimuli, a shape on its own."""
    rng = np.random.default_rng(8)
    truth = draw_truth(rng, shapes=SHAPES, factors=2, between=1, stimulus=1)
    loading = np.array([[SMILE.get(name, 0.0), BROW.get(name, 0.0)] for name in truth.shapes])
    truth = truth._replace(
        loading=loading, uniqueness=1 - (loading**2).sum(axis=1),
        stimulus_loading=0.8 * loading[:, :1], stimulus_uniqueness=np.full(len(SHAPES), 0.02),
    )  # fmt: skip
    return simulate_factors(truth, rng, participants=20, stimuli=40).trials


@pytest.fixture(scope="module")
def factors(trials):
    return mien.fit(co_activation(2, between=1, part="spontaneous"), trials, draws=500, seed=1)


@pytest.fixture(scope="module")
def part(factors):
    return co_activation_part("co_activation", factors, DEFAULTS)


@pytest.fixture
def bare_study(prep, quality, participants, stimuli):
    return {"prep": prep, "quality": quality, "participants": participants, "stimuli": stimuli}


def changed(fit, **attrs):
    other = fit.copy()
    other.attrs = fit.attrs | attrs
    return other


def section(html, title):
    found = [one for one in re.findall(r"<section.*?</section>", html, re.DOTALL) if f">{title}</h2>" in one]
    assert len(found) == 1, title
    return found[0]


# The section


def test_a_report_of_nothing_else_begins_with_what_moves_together(factors, bare_study):
    html = study_report("Alone", effects={}, fits={"co_activation": factors}, **bare_study)
    page = Page(html)
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    lead = re.search(r'<p class="lead">(.*?)</p>', html)[1]
    assert "2 factors" in lead
    assert "W1" in lead
    text = section(html, "Which parts of the face move together beyond what the stimuli do")
    for kind in ("co-activation-network", "correlation-map", "dendrogram", "face-map"):
        assert f'class="{kind}"' in text, kind
    assert text.count('class="face-map"') == 2
    assert "Λf + ε with 2 factors" in html
    assert "neither a muscle nor a feeling" in html


def test_effects_come_first_and_later_parts_are_folded(study, factors, trials):
    stimuli = mien.fit(co_activation(1, between=1, part="stimulus_driven"), trials, draws=200, seed=1)
    fits = {
        "co_activation-stimulus_driven": changed(stimuli, diagnostics="passed"),
        "co_activation": factors,
        **study["fits"],
    }
    html = study_report("Both", **{**study, "fits": fits})
    Page(html)
    places = [html.index(f'id="{name}"') for name in ("effect-1", "together-1", "together-2", "quality")]
    assert places == sorted(places)
    assert "smile (+0.041)" in re.search(r'<p class="lead">(.*?)</p>', html)[1]
    driven = section(html, "Which parts of the face the same stimuli move together")
    assert "Model co_activation-stimulus_driven." in driven
    assert 'class="face-map"' not in driven
    assert "<summary>Factor by factor</summary>" in driven
    assert "neither a muscle nor a feeling" in html
    assert "neither a muscle nor a feeling" not in study_report("Effects", **study)


def test_parts_have_an_order_whatever_the_folder_says():
    names = ["co_activation-stimulus_driven", "mine", "co_activation-spontaneous", "co_activation"]
    assert part_order(names) == [names[3], names[2], names[0], names[1]]


# Sentences and tables


def test_factors_are_named_by_the_shapes_that_they_surely_carry(part, factors):
    table = loadings(factors, "within")
    assert [one.name for one in part.factors] == ["W1", "W2"]
    for one in part.factors:
        mine = table[table["factor"] == one.name]
        carried = mine[mine["p_carried"] >= 0.95]
        name = one.sentence.partition("(")[0].lower()
        for shape in mine["blend_shape"]:
            assert (words.movement(shape) in name) == (shape in set(carried["blend_shape"])), shape
    told = {one.name: one.sentence for one in part.factors}
    smile = next(text for text in told.values() if "mile" in text)
    assert "go together, against mouth corners down" in smile
    share = (factors["posterior"]["loading"] ** 2 / ((factors["posterior"]["loading"] ** 2).sum("factor")
             + factors["posterior"]["uniqueness"])).mean(("chain", "draw", "blend_shape"))  # fmt: skip
    assert f"({100 * float(share.sel(factor='W1')):.0f} % of" in told["W1"]


def test_the_share_is_the_mean_communality(part, factors):
    mean = float(factors["posterior"]["communality"].mean())
    assert f"carry {100 * mean:.0f} % of the movement of 9 shapes" in part.answer
    assert "jaw forward" in part.answer
    assert part.weak == ""


def test_pairs_are_counted_as_the_table_has_them(part, factors):
    pairs = co_activation_pairs(factors)
    strong = pairs[pairs["p_strong"] >= 0.95]
    assert f"Of 36 pairs of shapes, {(strong['mean'] > 0).sum()} go together" in part.pairs_told
    assert len(part.pairs) == len(strong)
    first = strong.iloc[0]
    assert f"{words.movement(first['first'])} with {words.movement(first['second'])}" in part.pairs_told
    assert f"{len(strong)} of 36 pairs joined" in part.figures.network


def test_groups_have_letters_and_the_lone_shape_none(part, factors):
    groups = shape_groups(factors)
    assert "2 groups (A and B); 1 stands alone" in part.groups_told[0]
    lone = part.groups[part.groups["group"] == "alone"]
    assert lone["blend shape"].tolist() == ["jawForward"]
    assert part.figures.marked
    assert ">A<" in part.figures.network
    assert groups_table(groups)["blend shape"].tolist() == groups.table["blend_shape"].tolist()


def test_between_persons_is_another_question_with_a_warning(part, factors):
    text = " ".join(part.other.sentences)
    assert part.other.title == "Between persons"
    assert "says nothing of what moves together in a trial" in text
    assert (
        "20 persons can tell little: a correlation of 0 between persons would come out from −0.44 to +0.44"
        in text
    )
    assert list(part.other.loadings.columns)[-1] == "B1"
    assert "B1" not in part.loadings.columns
    row = loadings(factors, "between").iloc[0]
    mine = part.other.loadings.set_index("blend shape").loc[row["blend_shape"], "B1"]
    assert mine.startswith(f"{row['mean']:+.2f}".replace("-", "−"))


def test_loadings_stand_by_region_with_their_communality(part, factors):
    communality = float(factors["posterior"]["communality"].sel(blend_shape="mouthSmile").mean())
    table = part.loadings.set_index("blend shape")
    assert table.loc["mouthSmile", "all factors"].startswith(f"{100 * communality:.0f} %")
    assert table.index[0] in BROW
    assert loadings_table(rows_of(loadings(factors, "within")), {}).columns.tolist() == [
        "movement", "blend shape", "W1", "W2",
    ]  # fmt: skip


# What cannot be told


def test_a_failed_verdict_withholds_the_figures(factors, bare_study):
    detail = json.loads(factors.attrs["diagnostics_detail"]) | {"failed": {"": ["3 divergences"]}}
    failed = changed(factors, diagnostics="failed", diagnostics_detail=json.dumps(detail))
    html = study_report("Failed", effects={}, fits={"co_activation": failed}, **bare_study)
    text = section(html, "Which parts of the face move together beyond what the stimuli do")
    assert "the computation did not pass its checks (3 divergences)" in text
    assert "<svg" not in text
    assert "<table" not in text
    assert "W1" not in text
    assert "The checks of the computation failed</strong> for co_activation" in html
    assert "all, being fitted together" in html
    assert "cannot tell" in re.search(r'<p class="lead">(.*?)</p>', html)[1]


def test_a_factor_too_many_has_no_name_and_no_face(trials):
    fit = mien.fit(co_activation(4, between=0, part="spontaneous"), trials, draws=300, seed=1)
    part = co_activation_part("co_activation", changed(fit, diagnostics="passed"), DEFAULTS)
    assert len(part.factors) == 2
    assert len(part.unnamed) == 2
    assert {name for name, _ in part.unnamed} | {one.name for one in part.factors} == {"W1", "W2", "W3", "W4"}
    assert all(text.endswith(".") for _, text in part.unnamed)
    assert [name for name in part.loadings.columns if name.startswith("W")] == ["W1", "W2", "W3", "W4"]
    assert "no factors between persons" in part.other.sentences[0]
    assert part.other.loadings is None
    assert "(4) was given beforehand" in part.numbers.answer


def test_noise_has_no_names_no_network_and_folded_figures(bare_study):
    rng = np.random.default_rng(2)
    truth = draw_truth(rng, shapes=SHAPES, factors=1, between=0)
    truth = truth._replace(loading=0.0 * truth.loading, uniqueness=np.ones(len(SHAPES)))
    trials = simulate_factors(truth, rng, participants=12, stimuli=40).trials
    fit = changed(mien.fit(co_activation(1, between=0), trials, draws=300, seed=2), diagnostics="passed")
    part = co_activation_part("co_activation", fit, DEFAULTS)
    assert part.factors == []
    assert "No factor can be named: we cannot tell which parts of the face move together." in part.lead
    assert "carries no shape for sure" in part.unnamed[0][1]
    assert part.pairs_told.startswith("Of 36 pairs of shapes, none surely goes together")
    assert "all are probably within ±0.2." in part.pairs_told
    assert part.groups_told[0] == "No two shapes belong together for sure: each stands alone."
    assert part.figures.network is None
    text = section(
        study_report("Noise", effects={}, fits={"co_activation": fit}, **bare_study),
        "Which parts of the face move together",
    )
    assert "co-activation-network" not in text
    assert "<summary>Every pair</summary>" in text
    assert "On the faces" not in text


def test_what_stimuli_drive_is_told_of_stimuli(trials):
    fit = mien.fit(co_activation(2, between=1, part="stimulus_driven"), trials, draws=500, seed=1)
    part = co_activation_part("co_activation-stimulus_driven", fit, DEFAULTS)
    assert part.title == "Which parts of the face the same stimuli move together"
    assert "From stimulus to stimulus" in part.answer
    assert "40 stimuli can tell little" in part.weak
    assert [one.name for one in part.factors] == ["B1"]
    assert "mile" in part.factors[0].sentence
    assert "of the movement between stimuli" in part.factors[0].sentence
    assert "factors between stimuli (1) was given beforehand" in part.numbers.answer
    assert "means of stimuli" in part.figures.trees
    assert part.other.title == "Within stimuli"
    assert "They are not what the stimuli drive" in part.other.sentences[0]
    assert {"W1", "W2"} < set(part.other.loadings.columns)
    none = mien.fit(co_activation(2, between=0, part="stimulus_driven"), trials, draws=200, seed=1)
    part = co_activation_part("none", changed(none, diagnostics="passed"), DEFAULTS)
    assert "nothing can be told of what moves together there" in part.answer
    assert part.figures is None
    assert part.factors == []


ATTACK = '"><script>alert(1)</script>'


def test_hostile_names_are_text(factors, bare_study):
    shapes = [f"{ATTACK}{place}" for place in range(len(SHAPES))]
    other = xr.DataTree.from_dict(
        {
            name: node.dataset.assign_coords(blend_shape=shapes)
            if "blend_shape" in node.dataset.coords
            else node.dataset
            for name, node in factors.children.items()
        }
    )
    other.attrs = factors.attrs | {"left_out": json.dumps({ATTACK: ATTACK})}
    html = study_report(ATTACK, effects={}, fits={ATTACK: other}, **bare_study)
    assert "script" not in Page(html).tags
    assert "&lt;script&gt;" in html
    text = section(html, "Which parts of the face move together beyond what the stimuli do")
    assert 'class="co-activation-network"' not in text  # names without a place on a face
    assert 'class="face-map"' not in text
    assert 'class="correlation-map"' in text


# Words


def row(shape, mean, carried, factor="W1"):
    return {
        "factor": factor, "blend_shape": shape, "mean": mean, "eti_lower": mean - 0.1, "eti_upper": mean + 0.1,
        "p_carried": carried,
    }  # fmt: skip


def test_names_of_factors():
    smile, squint = row("mouthSmile", 0.9, 1.0), row("cheekSquint", 0.7, 0.96)
    frown, jaw = row("mouthFrown", -0.5, 0.97), row("jawOpen", 0.3, 0.5)
    assert words.carries([jaw, squint, smile]) == "smile and cheeks raised go together"
    assert (
        words.carries([frown, squint, smile])
        == "smile and cheeks raised go together, against mouth corners down"
    )
    assert words.carries([frown, smile]) == "smile against mouth corners down"
    many = [row(name, 0.9 - 0.1 * place, 1.0) for place, name in enumerate((*SMILE, *BROW)) if place != 3]
    assert "and 3 more go together" in words.carries(many)
    assert "more" not in words.carries(many[:5])


def test_what_keeps_a_factor_from_a_name():
    smile, jaw = row("mouthSmile", 0.9, 1.0), row("jawOpen", 0.3, 0.5)
    squint = row("cheekSquint", 0.7, 0.96)
    assert words.standing([smile, squint], 0.02) == ""
    assert "in 61 % of the draws it is another factor" in words.standing([smile, squint], 0.61)
    assert "carries one shape only (smile)" in words.standing([smile, jaw], 0.0)
    assert words.standing([jaw], 0.0) == "carries no shape for sure (none of which it has 10 % or more)"
    assert words.standing([jaw], 0.8).endswith("; in 80 % of the draws it is another factor")
    reading = words.READINGS["all"]
    assert "divided otherwise" not in words.factor_sentence([smile, squint], 0.1, 0.02, reading)
    assert "In 12 % of the draws its shapes are divided otherwise" in words.factor_sentence(
        [smile, squint], 0.1, 0.12, reading
    )


def test_notes_by_direction_use_the_words_of_the_decisions():
    rows = [
        row("mouthSmile", 0.9, 1.0),
        row("jawOpen", 0.3, 0.85),
        row("mouthFrown", -0.4, 0.96),
        row("eyeWide", 0.2, 0.5),
    ]
    (together, up), (against, down) = words.factor_notes(rows, 6)
    assert (together, against) == ("Together", "Against these")
    assert up[0] == ("Smile (mouthSmile)", "clearly: +0.90 (95 % ETI +0.80 to +1.00)")
    assert up[1][1].startswith("there are signs: ")
    assert down[0][1].startswith("probably: ")
    assert len(up) == 2
    assert words.factor_notes(rows[2:3], 6)[0][0] == "Together"  # alone, its sign means nothing


def test_few_persons_can_tell_little():
    assert "from −0.35 to +0.35" in words.few_sentence(32, "persons")
    assert "next to nothing" in words.few_sentence(4, "stimuli")


def test_numbers_that_cannot_be_told_apart_are_named():
    told = [{"factors": k, "preference_trials": "no preference" if k > 3 else "worse"} for k in (2, 3, 4, 5)]
    assert words.numbers_sentence(told, 4).endswith(
        "Trials left out cannot tell 4 and 5 apart; 4, the smallest of them, is recommended by convention."
    )
    told[3]["preference_trials"] = "worse"
    assert "With 4, trials left out are foretold better than with any other" in words.numbers_sentence(
        told, 4
    )


def made_groups(partition, ball, *, drawn=0.4, together=0.9):
    shapes = ("mouthSmile", "cheekSquint", "browDown", "jawOpen")
    sizes = np.bincount(partition)
    order = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable") + 1
    table = pd.DataFrame({"blend_shape": shapes, "group": order[partition], "with": together})
    tree = correlation_tree(np.eye(4))
    return ShapeGroups(table, np.array(partition), drawn, np.eye(4), 0.3, ball, tree, None)


def made_ball(radius, fewest, most):
    return Ball(radius, 0.95, 0.97, np.array([most]), np.array([fewest]), np.array([most, most]))


def test_the_ball_in_words():
    ball = made_ball(0.42, [0, 0, 0, 1], [0, 0, 1, 2])
    groups = made_groups([0, 0, 1, 1], ball)
    assert words.group_sentence(groups).startswith("The shapes fall into 2 groups (A and B). ")
    assert words.ball_sentences(groups) == [
        "95 % of the posterior lies within 0.4 bits of these groups (2.0 bits being the largest distance there is): "
        "from 2 to 3 groups, a shape that stands alone counted as one; 40 % of the draws have just these."
    ]
    told, doubt = words.ball_sentences(
        made_groups([0, 0, 0, 0], made_ball(0.9, [0, 0, 0, 1], [0, 0, 1, 2]), drawn=0.0)
    )
    assert "have just these" not in told
    assert doubt == (
        "The groups are not certain: no draw has just these, which lie between many; they are 1, as in none of these "
        "draws; the posterior reaches far from them."
    )
    sure = made_groups([0, 0, 1, 2], made_ball(0.0, [0, 0, 1, 2], [0, 0, 1, 2]), drawn=0.97)
    assert words.ball_sentences(sure) == ["97 % of the posterior has just these groups."]
    assert "1 group (A); 2 stand alone" in words.group_sentence(sure)
    assert words.letters(sure)["browDown"] == ""
    edges = ball_table(ball, list(sure.table["blend_shape"]))
    assert edges["equally far"].tolist() == ["1", "1", "2"]
    assert edges["of two shapes or more"].tolist()[1] == "mouthSmile, cheekSquint, browDown"


def test_groups_that_draws_do_not_share_are_not_marked():
    ball = made_ball(1.2, [0, 0, 0, 0], [0, 1, 2, 3])
    groups = made_groups([0, 0, 0, 1], ball, together=0.3)
    assert not words.hold_together(groups)
    assert "The draws have no groups in common" in words.group_sentence(groups)
    alone = made_groups([0, 1, 2, 3], ball)
    assert "each stands alone" in words.group_sentence(alone)


# How many factors


@pytest.fixture(scope="module")
def compared(factors):
    """The fit with a comparison beside it, as `mien fit --factors 2-3` stores it."""
    table = pd.DataFrame(
        {
            "factors": [2, 3], "diff_trials": [-1.5, 0.0], "se_trials": [2.0, 0.0],
            "preference_trials": ["no preference", "no preference"], "diff_groups": [np.nan, np.nan],
            "se_groups": [np.nan, np.nan], "preference_groups": ["", ""], "p_larger": [0.4, 0.001],
            "diagnostics": ["passed", "failed"],
        }
    )  # fmt: skip
    other = factors.copy()
    other[NUMBERS] = xr.DataTree(xr.Dataset({name: ("row", table[name].to_numpy()) for name in table}))
    other.attrs[NUMBERS] = json.dumps({"recommended": 2, "answer": "All of it <b>in words</b>."})
    return other


def test_the_comparison_stands_with_its_convention(compared, bare_study):
    html = study_report("Compared", effects={}, fits={"co_activation": compared}, **bare_study)
    text = section(html, "Which parts of the face move together beyond what the stimuli do")
    assert (
        "Trials left out cannot tell 2 and 3 apart; 2, the smallest of them, is recommended by convention."
        in text
    )
    assert "All of it &lt;b&gt;in words&lt;/b&gt;." in text
    assert "2 (recommended)" in text
    assert "All of it <b>in words</b>." in mien.methods_paragraph(compared)


def test_the_table_of_numbers_has_only_what_was_asked(compared):
    part = co_activation_part("co_activation", compared, DEFAULTS)
    assert part.numbers.table.columns.tolist() == [
        "factors", "trials left out (nats)", "trials say", "P(next eigenvalue)", "checks",
    ]  # fmt: skip
    assert part.numbers.table.to_numpy().tolist() == [
        ["2 (recommended)", "−1.5 ± 2.0", "no preference", "0.40", "passed"],
        ["3", "best", "no preference", "< 0.01", "failed"],
    ]
    groups = pd.DataFrame(
        {"factors": [1], "diff_groups": [-3.25], "se_groups": [1.0], "preference_groups": ["worse"]}
    )
    assert numbers_table(groups, 2, "persons")["persons left out (nats)"].tolist() == ["−3.2 ± 1.0"]


def test_stimuli_s_numbers_are_those_within(compared):
    spec = json.loads(compared.attrs["model_spec"]) | {"part": "stimulus_driven"}
    part = co_activation_part("x", changed(compared, model_spec=json.dumps(spec)), DEFAULTS)
    assert part.numbers.title == "How many factors within stimuli?"
    assert "factors between stimuli (1) was given beforehand" in part.numbers.answer
    assert "in words" in part.numbers.compared


# The rest of the report


def test_methods_say_what_a_factor_model_is(factors):
    text = " ".join(methods.methods_sentences("co_activation", factors))
    for words_ in (
        "9 shapes at once, on 800 trial means of 20 persons", "None of 800 trials lacked", "loading_sd ~ LogNormal(",
        "Each draw’s loadings were turned by varimax", "stimulus: deviations from the mean of 40 levels",
        "4 chains of 500 draws", "were passed",
    ):  # fmt: skip
        assert words_ in text, words_
    assert "each fitted to" not in text
    lacking = json.loads(factors.attrs["counts"]) | {"incomplete_trials": 12}
    text = " ".join(
        methods.methods_sentences(
            "x",
            changed(
                factors,
                counts=json.dumps(lacking),
                left_out=json.dumps({"eyeBlink": "a", "eyeLookUp": "a", "b": "c"}),
            ),
        )
    )
    assert "12 of 800 trials lacked one of the shapes and were left out." in text
    assert "Not in the model: eyeBlink, eyeLookUp (a). Not in the model: b (c)." in text


def test_the_diagnostics_table_has_a_row_without_effects(factors, effects, study):
    table = tables.diagnostics_table({"valence": effects}, {**study["fits"], "co_activation": factors})
    assert table["fit"].tolist() == ["valence", "co_activation"]
    assert table["checks"].tolist() == ["passed", "passed"]
    assert table["draws"].tolist()[1] == "4 × 500"
    assert float(table["worst R-hat"][1]) < 1.02
    assert table["shapes that failed"].tolist()[1] == "–"


def test_what_eigenvalues_say_stands_with_the_checks_and_with_the_number(factors):
    assert "eigenvalue_check" in model_checks("co_activation", factors).missing
    noted = changed(factors, checks=json.dumps({"notes": ["Beyond 2 factors no eigenvalue is larger."]}))
    found = model_checks("co_activation", noted)
    assert (found.missing, found.sentences) == ("", ["Beyond 2 factors no eigenvalue is larger."])
    told = co_activation_part("co_activation", noted, DEFAULTS).numbers.answer
    assert told.endswith("was not compared. Beyond 2 factors no eigenvalue is larger.")


# Exports


def test_loadings_in_text_and_latex(factors):
    table = loadings(factors)
    text = effects_text(table)
    assert "W1 (within)" in text
    assert "B1 (between)" in text
    row = table[(table["factor"] == "W1")].sort_values("mean", key=abs, ascending=False).iloc[0]
    line = text.splitlines()[4]
    assert line.split()[0] == row["blend_shape"]
    assert f"[{row['eti_lower']:.3f}, {row['eti_upper']:.3f}]" in line.replace("−", "-")
    assert "> .99" in line
    assert "10 % of the shape" in text
    latex = effects_latex(table.assign(blend_shape="a_b"))
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert body[0] == r"\multicolumn{6}{l}{\textit{W1 (within)}} \\"
    assert body[1].startswith(r"\quad a\_b & ")
    assert all(line.count("&") == 5 for line in body if not line.startswith(r"\multicolumn"))


def test_the_study_s_loadings_are_written_where_effects_would_be(factors, tmp_path):
    study = Study.create(tmp_path / "study")
    mien.save(factors, study.derivatives / "fits" / "co_activation-12345678")
    path = write_study_effects(study, "co_activation")
    assert path.name == "loadings-co_activation.csv"
    assert len(pd.read_csv(path)) == len(loadings(factors))
    noted = changed(factors, checks=json.dumps({"notes": ["No eigenvalue is larger."]}))
    mien.save(noted, study.derivatives / "fits" / "noted-12345678")
    with pytest.raises(StudyError, match=r"what it has is a sentence\. No eigenvalue is larger"):
        write_study_checks(study, "noted")
    assert "W1 (within)" in write_study_effects(study, "co_activation", tmp_path / "l.txt").read_text(
        encoding="utf-8"
    )
