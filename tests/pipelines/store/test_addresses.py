"""What people see of an address, and what is hidden in texts of others."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings, strategies as st

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.addresses import (
    HIDDEN,
    check_server,
    holds_credentials,
    location_of,
    masked,
    shown,
    user_info,
    without_user,
)
from tests.canaries import CANARY, URIS, VARIABLES, leaks

ORDINARY = [
    "postgresql://host:5432/db",
    "postgresql://host/db?***",
    "https://host:5000/mlflow",
    "http://[::1]:5000",
    "sqlite:////data/a:b@c/mlflow.db",
    "sqlite:///mlflow.db",
    "file:///data/x@y",
    "s3://bucket/models@v2/x",
    "s3://bucket/data/key=5/x",
    "models:/aunet@champion",
    "models:/aunet/3",
    "databricks",
    "/data/a:b@c/x",
    "store",
    "127.0.0.1:6379",
    "auto",
]


@pytest.mark.parametrize("shape", URIS)
def test_no_credential_is_shown(shape: str) -> None:
    uri = URIS[shape]
    assert leaks(shown(uri)) == [] and HIDDEN in shown(uri)
    assert holds_credentials(uri)


@pytest.mark.parametrize("uri", ORDINARY)
def test_an_ordinary_address_is_shown_as_it_is(uri: str) -> None:
    assert shown(uri) == uri == masked(uri, {}) and not holds_credentials(uri)


def test_scheme_host_port_and_path_are_shown() -> None:
    assert shown("postgresql+psycopg2://me:secret@host:5432/db?sslmode=require") == (
        "postgresql+psycopg2://***@host:5432/db?***"
    )
    assert shown("s3://KEY:SE/CRET@bucket/prefix") == "s3://***@bucket/prefix"
    assert shown("s3://bucket/a\x1b[2Jb") == "s3://bucket/a\\x1b[2Jb"


def test_the_user_of_a_database_is_no_credential() -> None:
    assert not holds_credentials("postgresql://mlflow@db:5432/mlflow")
    assert not holds_credentials("postgresql://db/mlflow?sslmode=require")
    assert shown("postgresql://mlflow@db:5432/mlflow") == "postgresql://***@db:5432/mlflow"


@pytest.mark.parametrize("shape", URIS)
@pytest.mark.parametrize("text", ["{}", "cannot connect to '{}': refused", 'x = "{}", y', "({}); try again", "a {}, b"])
def test_texts_of_libraries_are_masked(shape: str, text: str) -> None:
    """Whether the address comes from the environment or from elsewhere."""
    uri = URIS[shape]
    assert leaks(masked(text.format(uri), {"MLFLOW_TRACKING_URI": uri})) == []
    if " " not in uri:
        assert leaks(masked(text.format(uri), {})) == []
        assert holds_credentials(text.format(uri))


@pytest.mark.parametrize("shape", [shape for shape in URIS if shape != "words of libpq"])
def test_parts_of_an_address_that_a_library_repeats_are_masked(shape: str) -> None:
    """A parser that ends the password elsewhere takes the rest of it for a host, a port or a path."""
    uri = URIS[shape]
    secret = "|".join(leaks(uri))
    for piece in re.split(r"[@:/?#&=]", uri):
        if re.search(secret, piece):
            assert leaks(masked(f"could not translate host name {piece!r}", {"X": uri})) == []
    for form in (unquote(uri), quote(uri), json.dumps(uri), repr(uri.encode())):
        assert leaks(masked(f"error: {form}", {"X": uri})) == []


@pytest.mark.parametrize("name", VARIABLES)
def test_the_value_of_a_secret_variable_is_masked(name: str) -> None:
    value = VARIABLES[name]
    for form in (value, quote(value, safe=""), json.dumps(value)):
        assert leaks(masked(f"got {form} from the environment", VARIABLES)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'password': 'x1', 'user': 'me'}", "{'password': '***', 'user': 'me'}"),
        ('{"token": "x1"}', "{\"token\": '***'}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("connection failed: host=db password='a b' port=1", "connection failed: host=db password=*** port=1"),
        ("set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN", "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
        ("give models:/name@alias or models:/name/version", "give models:/name@alias or models:/name/version"),
        ("at https://:secret@host/ and http://a:secret@b/", "at https://***@host/ and http://***@b/"),
        ("KeyError: 'a'; 12:30:05 /data/a:b@c/x", "KeyError: 'a'; 12:30:05 /data/a:b@c/x"),
    ],
)
def test_only_what_is_secret_is_masked(text: str, expected: str) -> None:
    assert masked(text, {}) == expected
    assert masked(expected, {}) == expected


def test_short_and_harmless_values_of_the_environment_are_left_in_texts() -> None:
    environment = {"USE_TOKEN": "true", "HOME": "/folder/me", "KEY": "1", "STORE": "s3://bucket/x"}
    assert masked("it is true: 1 of s3://bucket/x in /folder/me", environment) == (
        "it is true: 1 of s3://bucket/x in /folder/me"
    )


passwords = st.text(st.sampled_from("aZ09@:/?#&=%+ é'\\"), min_size=1, max_size=8)


@settings(max_examples=300)
@given(st.sampled_from(["postgresql", "http", "https", "s3", "mysql+pymysql", "ray", "ftp"]), passwords, passwords)
def test_no_password_is_shown_whatever_is_in_it(scheme: str, before: str, after: str) -> None:
    uri = f"{scheme}://me:{before}{CANARY}{after}@host/db"
    assert CANARY not in shown(uri)
    assert CANARY not in masked(f"failed: {uri}", {"X": uri})


@settings(max_examples=300)
@given(st.text(max_size=40))
def test_any_text_can_be_masked_and_shown(text: str) -> None:
    assert isinstance(shown(text), str) and isinstance(holds_credentials(text), bool)
    once = masked(text, {"X": text, "X_TOKEN": text})
    assert isinstance(once, str)


def test_the_parts_of_an_address() -> None:
    assert location_of("postgresql://me:a/b@host:5432/db?x=1") == ("host", 5432, "/db")
    assert location_of("http://[::1]/x") == ("::1", None, "/x")
    assert user_info("https://me:a@b@host/") == "me:a@b" and without_user("https://me:a@b@host/x") == "https://host/x"
    assert user_info("s3://bucket/a@b") is None
    for broken in ("http://host:abc", "http://host:0", "http://host:70000", "http://a b", "http://h/%zz"):
        with pytest.raises(ValueError, match=r"its host or port|%"):
            location_of(broken)


@pytest.mark.parametrize("shape", URIS)
def test_the_address_of_a_server_holds_no_credentials(shape: str) -> None:
    with pytest.raises(InputError, match=r"AWS_ENDPOINT_URL.*HOST:PORT") as refused:
        check_server("AWS_ENDPOINT_URL", URIS[shape])
    assert leaks(str(refused.value)) == []


def test_the_address_of_a_server_is_one() -> None:
    assert check_server("X", "http://127.0.0.1:9000") == "http://127.0.0.1:9000"
    for wrong in ("host:9000", "http://", "ftp://host", "http://host:x", "s3://bucket", "http://host?x=1", "http:/h"):
        with pytest.raises(InputError, match="X = "):
            check_server("X", wrong)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_of_s3_with_credentials_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every use of a bucket, before a library sees it."""
    for uri in URIS.values():
        monkeypatch.setenv(name, uri)
        with pytest.raises(InputError, match=rf"^{name}.*HOST:PORT") as refused:
            storage.exists("s3://bucket/x")
        assert leaks(str(refused.value)) == []
