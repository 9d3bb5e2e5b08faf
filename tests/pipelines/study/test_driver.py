"""What Ray Tune is kept from."""

import pytest
from ray.tune.execution.class_cache import _ActorClassCache

from pipelines.study.driver import keep_keys_out_of_trials


def test_trials_do_not_carry_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "canary")
    keep_keys_out_of_trials()

    class Trainable:
        pass

    made = _ActorClassCache().get(Trainable)
    assert "canary" not in str(made._default_options["runtime_env"])
