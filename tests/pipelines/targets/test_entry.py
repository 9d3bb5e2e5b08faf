"""The entrypoint of a RayJob: what is permanent is stopped and left in the store, everything else ends as it ends."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.runtime.code_version import code_version
from pipelines.store.layout import Store
from pipelines.targets import entry
from pipelines.targets.job_end import last_end, last_state, read_end, read_logs

ROOT = Path(__file__).parents[3]
THIS = {"AUNET_JOB": "train-x-0", "AUNET_CODE": code_version(), "AUNET_GIVEN": "AUNET_STORE"}


class Stops:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def run(code: int, text: str = "", environment: dict[str, str] | None = None) -> tuple[int, int, list[str]]:
    """Exit code, how often the job was stopped, and what ran, of a command that ends with `code`."""
    stops, ran = Stops(), []

    def command(words: Sequence[str]) -> int:
        ran.extend(words)
        print(text, file=sys.stderr)
        return code

    got = entry.run(["train", "x"], THIS if environment is None else environment, command, stops)
    return got, stops.count, ran


@pytest.mark.parametrize(("code", "message"), [(2, "error: train.lr = -1: use more"), (3, "refused: worse by 2.1")])
def test_what_trying_again_does_not_mend_is_stopped(
    code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(code, f"step 1\n{message}") == (code, 1, ["train", "x"])
    assert message in capsys.readouterr().err
    end = read_end("train-x-0", since="2026-01-01T00:00:00Z")
    assert end is not None and (end.exit_code, end.message) == (code, message)


@pytest.mark.parametrize("code", [0, 1, 75, 137])
def test_everything_else_ends_as_it_ends(code: int) -> None:
    assert run(code, "the last line") == (code, 0, ["train", "x"])
    assert read_end("train-x-0", since="") is None
    end, state = last_end("train-x-0"), last_state("train-x-0")
    assert end is not None and (end.exit_code, end.lines[-1]) == (code, "the last line")
    assert state is not None and (state.status, state.exit_code) == ("FAILED" if code else "SUCCEEDED", code)


def test_outside_of_a_pod_a_job_is_not_stopped() -> None:
    """A job of a Ray cluster has an exit code of its own, and nobody starts it again."""
    assert run(2, "error: x", {"AUNET_JOB": "train-x-0"}) == (2, 0, ["train", "x"])
    state = last_state("train-x-0")
    assert state is not None and state.message.endswith(": error: x")


def test_other_code_is_refused_before_anything_runs() -> None:
    assert run(0, environment={**THIS, "AUNET_CODE": "0123456789ab"}) == (2, 1, [])
    end = read_end("train-x-0", since="")
    assert end is not None and end.exit_code == 2
    assert end.message.startswith(
        f"error: the image holds code {code_version()}, but the job was submitted from code 0"
    )


def test_the_end_of_an_earlier_job_of_this_id_does_not_count() -> None:
    run(2, "error: x")
    assert read_end("train-x-0", since="2999-01-01T00:00:00Z") is None


def test_a_job_that_is_sent_again_begins_without_an_end() -> None:
    """If it is killed, the success of the one before must not be told as its own."""
    entry.run(["train", "x"], THIS, lambda _: 0, Stops(), lambda: {"driver.log": b"of the first"})
    assert last_end("train-x-0") is not None and "of the first" in read_logs("train-x-0")

    def command(words: Sequence[str]) -> int:
        assert last_end("train-x-0") is None and "of the first" in read_logs("train-x-0")
        return 0

    assert entry.run(["train", "x"], THIS, command, Stops(), dict) == 0


def test_a_damaged_end_is_none() -> None:
    path = Path(Store.here().job_end_uri("train-x-0"))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert read_end("train-x-0", since="") is None


def test_a_store_that_does_not_answer_leaves_the_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "file"))
    assert run(2, "error: x")[:2] == (2, 0)


def test_outside_of_a_pod_it_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.targets.entry", "train", "nobody"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "nobody" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_logs_of_driver_and_workers_are_kept(code: int) -> None:
    logs = {"10.0.0.1-abcdef/worker-1.err": b"line\n" * 100, "10.0.0.1-abcdef/job-driver.log": b"end"}
    assert entry.run(["train", "x"], THIS, lambda _: code, Stops(), lambda: logs) == code
    folder = Path(Store.here().job_logs_uri("train-x-0"))
    kept = {str(path.relative_to(folder)): gzip.decompress(path.read_bytes()) for path in folder.rglob("*.gz")}
    assert kept == {f"{name}.gz": content for name, content in logs.items()}
    assert read_logs("train-x-0").startswith(
        "== 10.0.0.1-abcdef/job-driver.log\nend\n== 10.0.0.1-abcdef/worker-1.err\nl"
    )
    entry.run(["train", "x"], THIS, lambda _: code, Stops(), lambda: {"10.0.0.2-123456/x.err": b"second try"})
    assert [path.name for path in folder.rglob("*.gz")] == ["x.err.gz"]


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"x" * 99, mtime=0)[:-9]], ids=["other", "cut"])
def test_a_damaged_log_is_named(content: bytes) -> None:
    assert read_logs("train-x-0") == ""
    path = Path(Store.here().job_logs_uri("train-x-0"), "node/x.err.gz")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.err\.gz: a damaged log .*; delete the file"):
        read_logs("train-x-0")


def test_logs_that_cannot_be_kept_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def lost() -> dict[str, bytes]:
        raise ConnectionError("the cluster has gone")

    assert entry.run(["train", "x"], THIS, lambda _: 0, Stops(), lost) == 0
    assert "logs of train-x-0 could not be stored: the cluster has gone" in capsys.readouterr().err
