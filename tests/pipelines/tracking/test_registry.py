"""Names of registered models; what the registry holds is tested with `register` and `retrain`."""

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.tracking.address import is_registered
from pipelines.tracking.registry import resolve_model


def test_other_uris_are_not_the_registrys() -> None:
    assert is_registered("models:/aunet@champion") and is_registered("models:/aunet/3")
    assert not is_registered("s3://bucket/model") and not is_registered("model")


def test_an_unknown_model_is_named(mlflow_store: Path) -> None:
    with pytest.raises(InputError, match=r"models:/none@champion: no registered model 'none' .*run `register` first"):
        resolve_model("models:/none@champion")
