"""Names of registered models; what the registry holds is tested with `register` and `retrain`."""

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.tracking import runs as tracking
from pipelines.tracking.address import is_registered
from pipelines.tracking.database import PAGE, client
from pipelines.tracking.registry import alias_holder, resolve_model, version_of, versions_of
from tests.canaries import URIS, leaks


def test_other_uris_are_not_the_registrys() -> None:
    assert is_registered("models:/aunet@champion") and is_registered("models:/aunet/3")
    assert not is_registered("s3://bucket/model") and not is_registered("model")


def test_an_unknown_model_is_named(mlflow_store: Path) -> None:
    with pytest.raises(InputError, match=r"models:/none@champion: no registered model 'none' .*run `register` first"):
        resolve_model("models:/none@champion")


@pytest.mark.parametrize(
    "uri",
    [
        "models:/",
        "models:/x",
        "models:/x@",
        "models:/@x",
        "models:/x/",
        "models:/x/y/1",
        "models:/a:b@c",
        "models://x@y",
    ],
)
def test_a_name_of_another_form_is_refused(uri: str, mlflow_store: Path) -> None:
    with pytest.raises(InputError, match="give models:/NAME@ALIAS or models:/NAME/VERSION"):
        resolve_model(uri)


@pytest.mark.parametrize("shape", URIS)
def test_credentials_in_a_name_or_address_are_not_repeated(
    shape: str, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError) as refused:
        resolve_model(f"models:/{URIS[shape]}@champion")
    assert leaks(str(refused.value)) == []


@pytest.mark.parametrize("name", ["it's", 'a "model"', "100%", "a b", "x' OR name LIKE '%"])
def test_a_name_with_quotes_is_that_name(name: str, mlflow_store: Path) -> None:
    client().create_registered_model("other")
    client().create_registered_model(name)
    run = tracking.start_run("x", {})
    client().create_model_version("other", "/other", run)
    client().create_model_version(name, "/model", run)
    assert [version.model_uri for version in versions_of(name)] == ["/model"]
    assert alias_holder(name, "champion") is None
    with pytest.raises(InputError, match="no such version; there are versions 1"):
        resolve_model(f"models:/{name}@champion")


def test_all_models_and_versions_are_seen(mlflow_store: Path) -> None:
    """The registry answers in pages."""
    run = tracking.start_run("x", {})
    for number in range(PAGE + 5):
        client().create_registered_model(f"a{number:04}")
    client().create_registered_model("z")
    for number in range(PAGE + 5):
        client().create_model_version("z", f"/model{number}", run)
    client().set_registered_model_alias("z", "champion", "1")
    assert len(versions_of("z")) == PAGE + 5
    version = version_of("/model0", "z")
    assert version is not None and version.number == 1
    holder = alias_holder("z", "champion")
    assert holder is not None and holder.model_uri == "/model0"
    with pytest.raises(InputError, match="models:/z@champion: version 1 is at /model0"):
        resolve_model("models:/z@champion")
    with pytest.raises(InputError, match=r"no registered model 'no' at .*; there are a0000, .*a0019, …$"):
        resolve_model("models:/no@champion")
