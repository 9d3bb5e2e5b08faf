"""A scheduled tick: what is sent where there is news, and where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobs.submitting import submit
from pipelines import presets
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.targets.submission import Submitted
from tests.commands import TINY_SETTINGS


class Sent:
    """Takes note of what is sent; `codes` are the exit codes by verb."""

    def __init__(self, **codes: int) -> None:
        self.verbs: list[str] = []
        self.codes = codes

    def __call__(self, config: RunConfig, *, verb: str, **options: Any) -> Submitted:
        self.verbs.append(verb)
        code = self.codes.get(verb, 0) if options.get("wait") else None
        return Submitted(submission_id=f"{verb}-x-0", target=options["target"], sent=True, job_exit_code=code)


def tick(send: Sent, *, ended: bool, verb: str = "retrain", **options: Any) -> Submitted:
    base = presets.shapes_smoke()
    record = SimpleNamespace(reason="nothing new since the tick of yesterday") if ended else None
    fixed: dict[str, Any] = {"verb": verb, "preset": "shapes_smoke", "base": base, "target": "kuberay", "now": True}
    return submit(base, **{**fixed, **options}, wait=True, ended=lambda config: record, send=send)


def test_new_data_is_prepared_before_there_is_a_gpu() -> None:
    send = Sent()
    assert tick(send, ended=False).exit_code == 0
    assert send.verbs == ["preprocess", "retrain"]


def test_without_news_nothing_but_the_data_is_looked_at() -> None:
    send = Sent()
    result = tick(send, ended=True)
    assert send.verbs == ["preprocess"], "the scenes were not generated yet"
    assert (result.status, result.sent, result.exit_code) == ("SUCCEEDED", False, 0)
    assert result.message == "nothing new since the tick of yesterday"


def test_data_that_is_wrong_ends_the_tick() -> None:
    send = Sent(preprocess=2)
    assert tick(send, ended=False).exit_code == 2
    assert send.verbs == ["preprocess"]


@pytest.mark.parametrize(
    "options", [{"target": "ray", "now": False}, {"dry_run": True}, {"now": False}, {"verb": "train"}]
)
def test_everything_else_is_sent_as_it_is(options: dict[str, Any]) -> None:
    send = Sent()
    tick(send, ended=True, **options)
    assert send.verbs == [options.get("verb", "retrain")]
    assert TINY_SETTINGS and not storage.exists(f"{storage.store_root()}/prepared")
