"""What --auth may say, and whom the claims of a provider make."""

import pytest

from mien.reports_app.app.signing import HOURS, KEYS, name_of, secrets_of
from mien.study.errors import StudyError

GOOD = {
    "redirect_uri": "https://faces.example.org/oauth2callback", "cookie_secret": "0123456789abcdef" * 2,
    "client_id": "mien", "client_secret": "s", "server_metadata_url": "https://id.example.org/.well-known/x",
}  # fmt: skip
NOW = 1_800_000_000
ANNA = {
    "is_logged_in": True,
    "iat": NOW - 60,
    "sub": "17",
    "email": "anna@example.org",
    "email_verified": True,
}


def written(folder, mode=0o600, **changes):
    lines = [f"{name} = {value!r}" for name, value in (GOOD | changes).items() if value is not None]
    path = folder / "auth.toml"
    path.write_text("\n".join(["[auth]", *lines]))
    path.chmod(mode)
    return path


def test_a_good_file_is_handed_on(tmp_path):
    assert secrets_of(written(tmp_path)) == {"auth": GOOD}
    local = {
        "redirect_uri": "http://localhost:8501/oauth2callback",
        "server_metadata_url": "http://127.0.0.1:9/x",
    }
    assert secrets_of(written(tmp_path, **local))["auth"]["redirect_uri"] == local["redirect_uri"]


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in KEYS), *({name: ""} for name in KEYS), *({name: 5} for name in KEYS),
        {"redirect_uri": "http://faces.example.org/oauth2callback"}, {"redirect_uri": "https://faces.example.org/"},
        {"redirect_uri": "http://localhost.evil.org/oauth2callback"}, {"redirect_uri": "https:///oauth2callback"},
        {"redirect_uri": "https://a:b@faces.example.org/oauth2callback"}, {"redirect_uri": "//x/oauth2callback"},
        {"server_metadata_url": "http://id.example.org/x"}, {"server_metadata_url": "file:///x"},
        {"cookie_secret": "short"}, {"expose_tokens": "id"}, {"client_kwargs": "x"}, {"redirect_uri": "https://[x/"},
    ],
)  # fmt: skip
def test_what_is_missing_weak_or_open_is_refused_without_telling_secrets(tmp_path, changes):
    with pytest.raises(StudyError) as found:
        secrets_of(written(tmp_path, **changes))
    assert GOOD["cookie_secret"] not in str(found.value)


def test_a_file_that_others_read_is_refused(tmp_path):
    for mode in (0o640, 0o604, 0o660):
        with pytest.raises(StudyError, match="chmod 600"):
            secrets_of(written(tmp_path, mode))


def test_no_file_no_toml_and_other_tables_are_refused(tmp_path):
    with pytest.raises(StudyError, match="found none"):
        secrets_of(tmp_path / "none.toml")
    path = written(tmp_path)
    for text in ("x", "[other]\na = 1", "auth = 1", "[auth]\n[more]\n"):
        path.write_text(text)
        with pytest.raises(StudyError):
            secrets_of(path)


def test_a_verified_address_is_the_name_and_any_other_is_not():
    assert name_of(ANNA, NOW) == "anna@example.org"
    for verified in (False, None, "true", 1, "True"):
        assert name_of(ANNA | {"email_verified": verified}, NOW) == "sub:17"
    without = {name: value for name, value in ANNA.items() if name != "email_verified"}
    assert name_of(without, NOW) == "sub:17"
    assert name_of(without | {"sub": "sam@example.org"}, NOW) == "sub:sam@example.org"
    assert name_of(ANNA | {"email": ["sam@example.org"]}, NOW) == "sub:17"


@pytest.mark.parametrize(
    "changes",
    [
        {"is_logged_in": False}, {"is_logged_in": "yes"}, {"iat": None}, {"iat": "now"}, {"iat": True},
        {"iat": NOW - HOURS * 3600 - 1}, {"iat": NOW + 3600}, {"iat": float("nan")},
        {"email_verified": False, "sub": None}, {"email_verified": False, "sub": ""},
    ],
)  # fmt: skip
def test_claims_that_are_old_or_none_are_nobody(changes):
    assert name_of(ANNA | changes, NOW) == ""
    assert name_of({}, NOW) == ""
