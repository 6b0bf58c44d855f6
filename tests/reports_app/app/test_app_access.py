"""Who may see what: every page and every data function against every role, on the server."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from mien.reports_app.app import access, reading, screens, server
from mien.reports_app.app.access import OF_POWER, OF_STUDY, PAGES, ROLES, NotAllowedError, Visitor, read_roles
from mien.reports_app.app.context import TITLES, Context
from mien.reports_app.app.settings import Settings, configure
from mien.study.errors import StudyError
from mien.study.folder import Study

MAY = {
    "clinician": {"overview", "effects", "person", "about"},
    "planner": {"power", "about"},
    "statistician": set(PAGES),
}
NAMES = {"anna@example.org": "clinician", "paul@example.org": "planner", "sam@example.org": "statistician"}
NAME_OF = {role: name for name, role in NAMES.items()}
NOBODY = (None, Visitor("", ""), Visitor("eve@example.org", ""), Visitor("eve@example.org", "admin"))
OPEN = {
    "StoredFit",
    "decisions",
    "is_together",
    "study",
}  # limits and words; a fit's family; where the study lies
BUILT = [name for name in PAGES if (Path(screens.__file__).parent / f"{name}.py").exists()]


@pytest.fixture
def tiny(tmp_path):
    """A study without recordings."""
    study = Study.create(tmp_path / "study", name="Tiny")
    (study.path / "stimuli" / "stimuli.tsv").write_text("stimulus_id\tvalence\tmedium\tduration\n")
    (study.path / "participants.tsv").write_text("participant_id\tage\n")
    return study.path


def looking(study, name, page="", **query):
    """The app as someone sees it who asked for a page."""
    configure(Settings(study, NAMES, sign_in=True, identify=lambda: name))
    app = AppTest.from_file(str(server.SCRIPT), default_timeout=20)
    app.query_params.update(query)
    app._page_hash = calc_hash(page) if page else ""  # as the browser asks for a page by its address
    return app.run()


def titles(app):
    return [one.value for one in app.title]


def test_roles_have_the_pages_that_the_docs_say():
    assert {role: set(pages) for role, pages in ROLES.items()} == MAY


@pytest.mark.parametrize("role", MAY)
@pytest.mark.parametrize("page", BUILT)
def test_a_page_asked_for_by_its_address_is_shown_to_roles_that_have_it(tiny, role, page):
    """Others get their own first page."""
    app = looking(tiny, NAME_OF[role], page, view="statistical")
    assert not app.exception
    assert not app.error
    shown = page if page in MAY[role] else next(name for name in PAGES if name in MAY[role])
    assert titles(app) == ["Tiny" if shown == "overview" else TITLES[shown]]


@pytest.mark.parametrize(
    ("role", "page"), [(role, page) for role in MAY for page in BUILT if page not in MAY[role]]
)
def test_a_page_called_by_mistake_reads_nothing(role, page, tiny):
    configure(Settings(tiny, NAMES, sign_in=True))
    module = import_module(f"mien.reports_app.app.screens.{page}")
    for visitor in (Visitor("eve", role), *NOBODY[1:]):
        with pytest.raises(NotAllowedError):
            module.show(Context(visitor, page, "statistical"))


@pytest.mark.parametrize(
    "name", ["eve@example.org", "anna@example.org.evil", "clinician", "anna@example.org\n", "*"]
)
def test_who_is_not_listed_sees_no_page(tiny, name):
    app = looking(
        tiny, name, "overview", role="statistician", user="sam@example.org", visitor="sam@example.org"
    )
    listed = name.strip() in NAMES
    assert ("Tiny" in titles(app)) == listed
    assert bool(app.error) == (not listed)


def test_who_has_not_signed_in_sees_a_door_and_nothing_else(tiny):
    app = looking(tiny, "", "overview", role="statistician")
    assert titles(app) == ["mien"]
    assert [one.label for one in app.button] == ["Sign in"]
    assert "Tiny" not in str([one.value for one in app.markdown])


def test_names_are_the_same_in_other_letters_but_not_other_names(tiny):
    told = Settings(tiny, access.read_roles(written(tiny, '"Anna@Example.org" = "clinician"')), sign_in=True)
    for name, role in {
        "anna@example.org": "clinician",
        "ANNA@EXAMPLE.ORG ": "clinician",
        "anna": "",
        "": None,
    }.items():
        visitor = access.visitor_of(
            Settings(told.study, told.roles, sign_in=True, identify=lambda name=name: name)
        )
        assert (visitor.role if visitor else None) == role


def test_without_sign_in_this_machine_sees_everything(tiny):
    assert access.visitor_of(Settings(tiny)) == Visitor("this machine", "statistician")


def written(folder, lines):
    (folder / "roles.toml").write_text(f"[roles]\n{lines}\n")
    return folder / "roles.toml"


@pytest.mark.parametrize(
    "lines",
    [
        '"a" = "admin"',
        '"a" = ""',
        '"a" = ["clinician"]',
        '"a" = 1',
        "",
        "a",
        "[x]\ny = 1",
        '"A" = "planner"\n"a " = "clinician"',
        '"" = "clinician"',
    ],
)
def test_a_list_that_is_not_plainly_names_and_roles_is_refused(tmp_path, lines):
    with pytest.raises(StudyError):
        read_roles(written(tmp_path, lines))


# Data functions


class _Untouched:
    """Stands for an argument; using it means that something was read before the role was asked for."""

    def __getattr__(self, name):
        raise AssertionError(f"used {name} before the role was asked for")

    __getitem__ = __iter__ = __fspath__ = __str__ = __getattr__


FUNCTIONS = [
    name for name in reading.__all__ if name not in OPEN and not inspect.isclass(getattr(reading, name))
]
PAGES_OF = {name: OF_POWER if name.startswith("power_") else OF_STUDY for name in FUNCTIONS}


def asked(name, visitor, page):
    function = getattr(reading, name)
    given = {"visitor": visitor, "page": page}
    parameters = inspect.signature(function).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty or one.name == "page"]
    return function(**{one: given.get(one, _Untouched()) for one in needed})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_data_function_takes_the_visitor_first(name):
    assert next(iter(inspect.signature(getattr(reading, name)).parameters)) == "visitor"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_data_without_a_role_that_has_a_page_with_them(name, tmp_path):
    configure(Settings(tmp_path / "nothing here"))
    for role, pages in MAY.items():
        for page in (*PAGES, "", "admin"):
            own_page = "page" in inspect.signature(getattr(reading, name)).parameters
            if page in pages & PAGES_OF[name] or (not own_page and "overview" in pages):
                continue
            with pytest.raises(NotAllowedError):
                asked(name, Visitor("eve", role), page)
    for visitor in NOBODY:
        with pytest.raises(NotAllowedError):
            asked(name, visitor, next(iter(PAGES_OF[name])))


def test_a_planner_has_no_data_of_people_under_any_page(tmp_path):
    configure(Settings(tmp_path / "nothing here"))
    for name in FUNCTIONS:
        if not name.startswith("power_"):
            for page in PAGES:
                with pytest.raises(NotAllowedError):
                    asked(name, Visitor("paul", "planner"), page)


def test_pages_read_through_reading_only():
    """No page opens files, loads fits, or takes more of the study than its name and its stimuli."""
    for path in Path(screens.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        imported = [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported += [
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        ]
        doors = ("mien.models", "mien.workflow", "mien.study.folder", "mien.data_prep", "pathlib", "os", "io")
        assert not [name for name in imported if name.startswith(doors) and name != "io"], path.name
        used = {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_study(node.value)
        }
        assert used <= {"name", "stimuli", "settings"}, path.name


def _is_study(node):
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "study"
    return called or (isinstance(node, ast.Name) and node.id == "study")


def test_a_study_whose_table_names_people_is_not_opened(tiny):
    (tiny / "participants.tsv").write_text("participant_id\tfirst_name\nsub-01\tAnna\n")
    app = looking(tiny, NAME_OF["statistician"], "overview")
    assert "first_name" in app.error[0].value
    assert "Anna" not in str([one.value for one in app.error])


def test_small_groups_of_people_are_not_told(tiny):
    sexes = ["F"] * 9 + ["M"] * 6 + ["O"]
    frame = pd.DataFrame(
        {"participant_id": [f"sub-{i:02d}" for i in range(16)], "sex": sexes, "group": sexes}
    )
    frame.to_csv(tiny / "participants.tsv", sep="\t", index=False)
    configure(Settings(tiny))
    found = reading.participants(Visitor("anna", "clinician"), "overview")
    assert found["sex"].value_counts().to_dict() == {"F": 9, "in groups under 5": 7}
    assert "O" not in set(found["group"])
