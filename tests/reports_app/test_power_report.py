"""A power report for planners: the answer and its check first, nothing claimed beyond what was simulated."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
import typst

from mien.power import smallest
from mien.power.answers import answers
from mien.power.cells import cells_of, cells_table
from mien.power.justification import justification
from mien.power.plan import Budget, Design, Draw, Goal, Shapes, Truth
from mien.power.smallest import checks_of
from mien.reports_app import power_blocks
from mien.reports_app.documents import content_security_policy
from mien.reports_app.power_blocks import Picture, Table
from mien.reports_app.power_document import (
    pdf_files,
    power_document_html,
    power_document_pdf,
    write_power_report,
)
from mien.reports_app.power_goal import RunState
from mien.reports_app.power_part import power_part
from mien.study.errors import StudyError
from tests.power.plans import SDS, plan
from tests.power.synthetic import World, power_of_direction, rows_of, rows_of_cell
from tests.reports_app.pages import Page

EVIL = '<script>alert(1)</script> #eval("1+1") *bold* $x$ [a] @ref'
SMILE = Goal("smile", "direction", "valence", wanted="positive")
BUDGET = Budget(300, 100, null_replicates=300, check_replicates=300)
NUMBERS = (16, 32, 64, 128)


def planned(*goals, participants=NUMBERS, pictures=(6,), **parts):
    parts = {"truth": Truth({"valence": (0.04,)}, SDS), "budget": BUDGET} | parts
    return plan(*(goals or (SMILE,)), design=Design(participants, pictures), **parts)


def world_of(line, *, effect=0.04, stimulus_sd=0.006):
    """Stimuli matter less where there are more; in the null world there is no effect."""
    return World(stimulus_sd=stimulus_sd * (6 / line["pictures"]) ** 0.5,
                 effect=(0.0 if line["world"] == "null" else effect, 0.0))  # fmt: skip


def report(made, *, replicates=300, world=world_of, worlds=None, state=None, check=True, spoil=None):
    """The part of a plan with made-up rows."""
    cells = cells_table(cells_of(made))
    kept = cells if worlds is None else cells[cells["world"].isin(worlds)]
    rows = rows_of(made, kept, world, replicates, 1)
    more = checks_of(made, rows) if check else []
    if more:
        rows = pd.concat([rows, rows_of(made, cells_table(more), world, replicates, 5)], ignore_index=True)
    rows = spoil(rows) if spoil else rows
    found = answers(made, rows)
    return power_part(made, found, justification(made, found), state)


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Of the bootstrap: intervals are looked at in tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smallest, "SAMPLES", 150)
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are made and not drawn, which takes most of the time."""
    monkeypatch.setattr(
        power_blocks, "to_svg", lambda chart, label: f"<svg><title>{len(label)}</title></svg>"
    )


def section(part, title):
    return next(one for one in part.sections if one.title.startswith(title))


def told(part):
    """Every paragraph and point of a part."""
    texts = []
    for one in part.sections:
        for block in one.blocks:
            texts += [getattr(block, "text", ""), *getattr(block, "texts", ())]
    return " ".join([*part.leads, part.note, *texts])


def table(part, title):
    return next(
        block.frame for one in part.sections for block in one.blocks
        if isinstance(block, Table) and block.title.startswith(title)
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished():
    return report(planned())


@pytest.fixture(scope="module")
def html(finished):
    return power_document_html(finished)


# A finished run


def test_the_answer_is_one_sentence_with_its_interval_and_its_check(finished):
    lead = finished.leads[0]
    found = re.match(
        r"(\d+) participants \((\d+)–(\d+)\) reach power \.80 with 6 pictures of each valence\. ", lead
    )
    n, lower, upper = (int(one) for one in found.groups())
    assert lower <= n <= upper
    world = World(stimulus_sd=0.006)
    assert power_of_direction(n, world) == pytest.approx(0.8, abs=0.05)
    assert "Checked at that design by 300 studies with seeds of their own: power ." in lead
    assert re.search(r"which agrees with the \.8\d expected there", lead)


def test_sections_come_in_the_order_in_which_a_planner_reads(finished):
    assert [one.title for one in finished.sections] == [
        "In short", "A justification to copy", "Power: smile", "Without an effect", "Studies that look as they grow",
        "Neighbouring numbers of participants", "Failed fits", "Every simulated cell", "What was assumed",
        "How it was computed", "What this does not say",
    ]  # fmt: skip
    assert finished.note == ""


def test_the_text_to_copy_is_the_justification(finished):
    copied = [block.text for block in section(finished, "A justification").blocks]
    assert copied[0].startswith("Sample size was planned by simulation.")
    assert any("smallest design" in text for text in copied)


def test_every_cell_is_in_the_table_with_sensible_digits(finished):
    cells = table(finished, "All cells")
    assert cells["world"].value_counts().to_dict() == {
        "as assumed": 4, "no effect": 4, "N → ∞": 1, "check at the answer": 1,
    }  # fmt: skip
    assert all(re.fullmatch(r"(> |< )?(0|1|\.\d\d)( ± \.\d{3})?", text) for text in cells["power"])
    assert set(cells["participants"]) > {"16", "32", "64", "128", "∞"}


def test_priors_truth_and_hashes_are_told(finished):
    assert re.search(r"Priors are frozen; sha256 [0-9a-f]{64}\.", told(finished))
    assert set(table(finished, "Truth")["parameter"]) >= {"valence", "sd:1|stimulus", "sigma"}
    assert table(finished, "Frozen priors").shape[0] >= 5
    assert re.search(r"Fingerprints \(sha256\): of the plan [0-9a-f]{64}", told(finished))


def test_the_null_world_and_growing_studies_are_told(finished):
    assert re.search(
        r"without an effect, \.\d\d to \.\d\d of studies state something false over 4 designs", told(finished)
    )
    assert "the threshold alone would let .05 pass" in told(finished)
    grown = re.search(
        r"looked at 4 times from N = 16 to 128 .* a study ends with (\d+) participants on average",
        told(finished),
    )
    assert 16 < int(grown[1]) < 128
    assert re.search(r"has \.\d\d( to \.\d\d)? times the noise of independent simulations", told(finished))


def test_pictures_have_names_captions_and_units(finished):
    assert [one.name for one in finished.pictures] == ["power-smile", "outcomes-smile", "sequential"]
    for one in finished.pictures:
        assert one.plain.startswith("<svg")
        assert f'aria-label="{one.label}"' in one.plain or "&" in one.label
        assert one.caption
    assert finished.pictures[0].label.count(" participants") == 4
    assert ">participants<" in finished.pictures[0].plain


# Page and PDF


def test_the_page_nests_loads_nothing_and_has_no_script(html):
    page = Page(html)
    assert "script" not in page.tags
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert f'content="{content_security_policy(style)}"'.replace("'", "&#39;") in html
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", html)


def test_page_and_pdf_have_the_same_texts(finished, html):
    content = json.loads(pdf_files(finished)["content.json"])
    plain = re.sub(r"\s+", "", Page(html).text)
    wanted = [one for one in texts_of(content) if not one.endswith(".svg")]
    assert not [one for one in wanted if re.sub(r"\s+", "", one) not in plain]
    assert any("Sample size was planned" in one for one in wanted)


KINDS = {"points", "facts", "picture", "table", "small", "note", "warning", "copy", "head", ""}


def texts_of(value):
    """Every text in JSON data but kinds of blocks and what a screen reader says, which is an attribute of the page."""
    if isinstance(value, str):
        return [] if value in KINDS else [value.replace("\u200b", "")]
    if isinstance(value, dict):
        value = [one for key, one in value.items() if key != "label"]
    return [text for part in value for text in texts_of(part)] if isinstance(value, list) else []


def test_the_pdf_has_the_texts_and_is_the_same_again(finished):
    pdf = power_document_pdf(finished)
    assert pdf.startswith(b"%PDF-")
    assert power_document_pdf(finished) == pdf
    headings = json.loads(typst.query(pdf_files(finished), "heading", field="body"))
    assert [one["text"] for one in headings][1:3] == ["In short", "A justification to copy"]


def test_texts_of_people_are_data():
    goal = Goal(EVIL.replace(":", ""), "direction", "valence")
    part = report(replace(planned(goal, participants=(8, 32)), name=EVIL), replicates=40)
    html = power_document_html(part)
    assert "<script>" not in html
    assert EVIL in Page(html).text
    files = pdf_files(part)
    assert "alert" not in files["main.typ"].decode()
    assert power_document_pdf(part).startswith(b"%PDF-")
    with pytest.raises(RuntimeError):  # the saboteur: the same text as markup
        typst.compile({"main.typ": f"= {EVIL} #panic()".encode()}, format="pdf")


# Other runs


@pytest.mark.usefixtures("undrawn")
def test_an_unfinished_run_says_so_everywhere():
    state = RunState(finished=False, done=1200, most=3000, left=200.0)
    part = report(planned(), worlds=["null", "alternative"], check=False, state=state)
    assert part.note.startswith(
        "Interim: this run is not finished (1,200 of at most 3,000 simulated studies, at most 3 min"
    )
    assert "Not for a form yet" in told(part)
    assert "This was not checked yet" in part.leads[0]
    assert part.note in Page(power_document_html(part)).text


@pytest.mark.usefixtures("undrawn")
def test_a_run_with_only_a_null_world_shows_no_curve():
    part = report(planned(), worlds=["null"], check=False, state=RunState(finished=False, done=1, most=2))
    assert part.leads == ["Nothing has been simulated yet."]
    assert "No study with an effect was simulated yet" in told(part)
    assert part.pictures == [] or part.pictures[0].name == "sequential"


@pytest.mark.usefixtures("undrawn")
def test_a_ceiling_below_the_target_is_an_answer():
    part = report(planned(), world=lambda line: world_of(line, stimulus_sd=0.05))
    found = re.search(
        r"No number of participants reaches power \.80 .*: the ceiling \(N → ∞\) is \.(\d\d) \(",
        part.leads[0],
    )
    assert int(found[1]) < 60
    assert "More stimuli would raise it, more participants do not" in part.leads[0]
    assert "Checked" not in part.leads[0]


@pytest.mark.usefixtures("undrawn")
def test_beyond_the_grid_nothing_is_claimed():
    part = report(planned(participants=(4, 6, 8)), world=lambda line: world_of(line, stimulus_sd=0.0))
    assert part.leads[0].startswith(
        "No number of participants up to 8 with 6 pictures of each valence reaches power .80"
    )
    assert "Larger numbers were not simulated" in part.leads[0]


@pytest.mark.usefixtures("undrawn")
def test_a_single_cell_is_reported():
    part = report(planned(participants=(128,)))
    assert part.leads[0].startswith(
        "128 participants, the smallest number that was simulated, reach power .80 already"
    )
    assert Page(power_document_html(part)).text


@pytest.mark.usefixtures("undrawn")
def test_several_goals_have_sections_of_their_own():
    goals = (
        SMILE,
        Goal("narrow", "width", "valence", width=0.05),
        Goal("not small", "rope", "valence", rope=(-0.01, 0.01)),
    )
    part = report(planned(*goals), replicates=200)
    titles = [one.title for one in part.sections]
    assert [title for title in titles if title.startswith("Power: ")] == [
        "Power: smile",
        "Power: narrow",
        "Power: not small",
    ]
    assert len(part.leads) == 3
    assert "for “narrow”" in part.leads[1]
    text = told(part)
    assert "the 95 % interval of valence is at most .05 wide" in text
    assert "lies wholly outside or inside −.01 to .01, whichever is true" in text
    assert "“narrow”: without an effect" not in text


def test_two_axes_give_a_map_and_a_table_of_designs():
    part = report(planned(participants=(8, 24, 64), pictures=(3, 6)), replicates=100)
    names = [one.name for one in part.pictures]
    assert names[:3] == ["power-smile", "map-smile-pictures", "outcomes-smile"]
    assert ">3 pictures, ceiling" in part.pictures[0].plain
    assert table(part, "The smallest number of participants of each design")["pictures"].tolist() == [
        "3",
        "6",
    ]


@pytest.mark.usefixtures("undrawn")
def test_a_drawn_truth_is_called_assurance():
    made = planned(participants=(8, 32), truth=Truth({"valence": (Draw(0.04, 0.02),)}, SDS))
    part = report(
        made,
        world=lambda line: World(effect=(0.0, 0.0) if line["world"] == "null" else (0.04, 0.02)),
        replicates=60,
    )
    assert "assurance" in part.leads[0].lower()
    assert section(part, "Assurance: smile")
    assert "drawn from Normal(.04, .02)" in table(part, "Truth")["true value"].tolist()


def test_several_truths_have_an_answer_each():
    made = planned(participants=(8, 32), truth=Truth({"valence": (0.02, 0.04)}, SDS))
    part = report(made, world=lambda line: world_of(line, effect=line["valence"]), replicates=60)
    assert [lead[:18] for lead in part.leads] == ["If valence = .02: ", "If valence = .04: "]
    assert ">valence = .02" in part.pictures[0].plain


@pytest.mark.usefixtures("undrawn")
def test_a_price_makes_it_the_cheapest_design():
    made = planned(participants=(8, 24, 64), pictures=(3, 6), cost={"participant": 60.0, "picture": 10.0})
    part = report(made, replicates=100)
    assert re.search(r", the cheapest such design, at [\d,]+", part.leads[0])
    assert "Price of a participant" in set(table(part, "Design")["design"])


@pytest.mark.usefixtures("undrawn")
def test_several_shapes_are_told():
    made = planned(participants=(8, 32), shapes=Shapes(5, 2, 0.01, 0.3))
    part = report(made, replicates=60)
    assert "met in at least 2 of 2 blend shapes that have it" in told(part)
    assert table(part, "Design").set_index("design")["value"]["Blend shapes with the effect"] == "2"
    assert "shapes that meet it" in table(part, "All cells")


@pytest.mark.usefixtures("undrawn")
def test_failures_are_counted_by_cause_and_in_the_shares():
    def spoil(rows):
        rows = rows.copy()
        columns = [name for name in rows if ":" in name]
        for number, cause in ((3, "verdict failed"), (4, "verdict failed"), (7, "worker died")):
            rows.loc[number, "failure"] = cause
            rows.loc[number, columns] = pd.NA
        return rows

    part = report(planned(participants=(8, 32)), spoil=spoil, replicates=60)
    assert re.search(
        r"3 of \d+ fits failed \(\.\d{3}\)\. They are counted as studies that do not meet the goal",
        told(part),
    )
    assert table(part, "Causes").values.tolist() == [["verdict failed", "2"], ["worker died", "1"]]
    assert len(table(part, "By cell")) == 2


@pytest.mark.usefixtures("undrawn")
def test_error_rates_above_what_a_threshold_lets_pass_are_a_warning():
    always = World(effect=(0.04, 0.0))
    made = planned(participants=(8, 32))
    part = report(made, world=lambda _: always, spoil=lambda rows: rows.assign(**{"smile:truth": 0.0}))
    warnings = [
        block.text
        for block in section(part, "Without an effect").blocks
        if getattr(block, "kind", "") == "warning"
    ]
    assert len(warnings) == 1
    assert "power means little" in warnings[0]


@pytest.mark.usefixtures("undrawn")
def test_what_losses_and_exclusions_cost_is_told_where_raw_frames_were_simulated():
    made = planned(participants=(8, 32))
    cells = cells_table(cells_of(made))
    found = answers(made, rows_of(made, cells, world_of, 60, 1))
    losses = pd.DataFrame({
        "cell": cells["cell"], "goal": "smile", "n": 60, "left_out": 0, "kept_share": 0.82, "persons_left": 7.5,
        "power": 0.6, "power_clean": 0.7, "difference": -0.1, "lower": -0.15, "upper": -0.05, "shift": -0.0021,
        "shift_mcse": 0.0004,
    })  # fmt: skip
    part = power_part(made, found, losses=losses)
    assert ".82 of the trials are left" in told(part)
    assert "power is .60 instead of .70 without losses and exclusions: −.10 (−.15 to −.05)" in told(part)
    assert table(part, "With and without losses")["shift of the estimate"].tolist()[0] == "−.0021 ± .0004"
    assert "What losses" not in " ".join(one.title for one in power_part(made, found).sections)


RECOVERY = {
    "design": {"participants": [16, 32], "pictures": 26}, "recovery": {"factors": 2, "shapes": 8},
    "goals": [{"name": "same", "kind": "factor_recovery", "effect": "least within", "threshold": 0.95}],
    "budget": {"replicates": 40},
}  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_a_plan_of_factors_has_no_null_world_and_no_coefficients():
    from mien.power.plan_file import plan_of

    made = plan_of(RECOVERY)
    rows = []
    for line in cells_table(cells_of(made)).to_dict("records"):
        for number in range(40):
            value = 0.9 + 0.1 * ((number * 7) % 40 + line["participants"] / 2) / 60
            columns = {"met": value >= 0.95, "decision": int(value >= 0.95), "value": value, "mean": value, "sd": 0.01,
                       "lower": value - 0.02, "upper": value, "truth": 1.0, "decided": 1, "false": 0}  # fmt: skip
            head = {
                "cell": line["cell"],
                "replicate": number,
                "failure": "",
                "n_rows": 9,
                "engine": "factors",
            }
            rows.append(head | {f"same:{name}": one for name, one in columns.items()})
    found = answers(made, pd.DataFrame(rows))
    part = power_part(made, found, justification(made, found))
    assert "congruence with the true loadings, least within, reaches .95" in told(part)
    assert "from one world of factors" in told(part)
    assert "Without an effect" not in [one.title for one in part.sections]
    assert power_document_pdf(part).startswith(b"%PDF-")


# Folders


PLAN = """
name = "smile"
[design]
participants = [8, 32]
pictures = 6
[truth.coefficients]
valence = 0.04
[truth.sds]
"1|participant" = 0.04
"1|stimulus" = 0.02
"valence|participant" = 0.04
[analysis]
formula = "activation ~ valence + (valence | participant) + (1 | stimulus)"
[[goals]]
name = "smile"
kind = "direction"
effect = "valence"
[budget]
replicates = 100
null_replicates = 100
check_replicates = 100
"""


def made_up_rows(setup, cell, numbers):
    """As `run_replicates`, from a closed form."""
    del setup
    table = cells_table([cell])
    whole = rows_of(MADE["plan"], table, world_of, 100, 3).iloc[list(numbers)]
    rows = whole.astype(object).where(whole.notna(), None).to_dict("records")
    return [
        row | {f"smile:{name}": int(row[f"smile:{name}"]) for name in ("decision", "decided", "false")}
        for row in rows
    ]


MADE = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with made-up rows, stopped by nothing."""
    from mien.power import read_plan
    from mien.power.replicates import row_columns
    from mien.power.running import Work, run

    base = tmp_path_factory.mktemp("power")
    source = base / "plan.toml"
    source.write_text(PLAN, encoding="utf-8")
    MADE["plan"] = made = read_plan(source)
    work = Work(row_columns(made), cells_of(made), lambda: None, made_up_rows,
                lambda rows: checks_of(made, rows))  # fmt: skip
    run(made, base / "run", workers=1, source=source, work=work)
    return base / "run"


def test_a_folder_gets_a_report_all_numbers_and_its_figures(folder):
    written = write_power_report(folder)
    assert written.path == folder / "report" / "power.html"
    assert written.answers[0] in Page(written.path.read_text(encoding="utf-8")).text
    assert {path.name for path in written.tables} == {
        f"{name}.parquet"
        for name in ("estimates", "failures", "smallest", "designs", "curves", "noise", "sequential")
    }
    estimates = pd.read_parquet(folder / "report" / "estimates.parquet")
    assert set(estimates["world"]) >= {"null", "alternative", "ceiling"}
    names = {path.name for path in (folder / "report" / "figures").iterdir()}
    assert {"power-smile.svg", "power-smile.png"} <= names
    assert (folder / "report" / "figures" / "power-smile.png").read_bytes().startswith(b"\x89PNG")
    assert "var(--" not in (folder / "report" / "figures" / "power-smile.svg").read_text(encoding="utf-8")


def test_the_same_folder_gives_the_same_files(folder, tmp_path):
    first, again = (
        write_power_report(folder, out=tmp_path / name).path.read_bytes() for name in ("a.html", "b.html")
    )
    assert first == again
    pdf = write_power_report(folder, kind="pdf")
    assert pdf.path.read_bytes().startswith(b"%PDF-")


def test_another_format_and_an_empty_folder_are_refused(folder, tmp_path):
    with pytest.raises(StudyError, match="expected one of html, pdf, found 'doc'"):
        write_power_report(folder, kind="doc")
    with pytest.raises(StudyError, match="expected the folder of a power run"):
        write_power_report(tmp_path)


def test_all_pictures_of_a_page_are_in_it(finished, html):
    assert html.count("<figure") == len([one for one in finished.pictures if isinstance(one, Picture)])


def test_rows_of_one_cell_are_those_of_the_oracle():
    """What the made-up rows rest on."""
    made = planned()
    rows = rows_of_cell(
        made, "c" * 16, pd.Series([0.2, -0.2]).to_numpy(), 0.01, pd.Series([0.04, 0.04]).to_numpy()
    )
    assert rows["smile:met"].tolist() == [True, False]
