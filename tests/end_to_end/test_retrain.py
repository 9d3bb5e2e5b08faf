"""Three nights of `retrain` as a scheduler calls it: two ticks at once, one killed half-way, two with nothing new."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aunet.data.shapes import write_scenes
from pipelines.tracking import runs as tracking
from tests.commands import ROOT, command, environment, jobs

TINY_RUN = [
    "--data.rows_per_shard", "4",
    "--augment.short_sides", "64", "--augment.max_size", "128", "--augment.crop", "64", "96",
    "--model.backbone.fpn_channels", "16", "--model.foreground.box_channels", "32",
    "--model.foreground.mask_channels", "16", "--model.background.channels", "16",
    "--train.num_workers", "1", "--train.batch_size", "4", "--train.epochs", "6", "--train.checkpoint_every", "1",
]  # fmt: skip
"""`camvid_small`, small enough for seconds. Generated scenes lie as CamVid does."""


class Nights:
    """A folder of scenes that grows, and ticks on it."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.store = folder / "raw", folder / "store"
        self.words = ["retrain", "camvid_small", "--data.root", str(self.raw), *TINY_RUN]

    def grow(self, num_train: int) -> None:
        write_scenes(self.raw, num_train=num_train, num_val=4, height=64, width=96)

    def tick(self) -> tuple[dict[str, Any], str]:
        return jobs(self.store, *self.words)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*self.words, *words), cwd=ROOT, env=environment(self.store), start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def glob(self, pattern: str) -> set[Path]:
        return set(self.store.glob(pattern))

    def wait_for_a_checkpoint(self, process: subprocess.Popen[str]) -> None:
        """Until there is one that is not there now."""
        before, end = self.glob("runs/*/checkpoints/*/sha256.json"), time.monotonic() + 400
        while not self.glob("runs/*/checkpoints/*/sha256.json") - before:
            assert process.poll() is None, "the tick ended too early"
            assert time.monotonic() < end, "no checkpoint came"
            time.sleep(0.05)


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed with all it started when the block ends."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_three_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights(tmp_path)
    nights.grow(12)
    together = [nights.start(), nights.start()]
    ended = [(*process.communicate(timeout=500), process.returncode) for process in together]
    assert [code for *_, code in ended] == [0, 0], "\n".join(printed[-3000:] for _, printed, _ in ended)
    results = [json.loads(out.splitlines()[-1]) for out, *_ in ended]
    waited, first = sorted(results, key=lambda result: result["action"])
    assert (waited["action"], waited["run"]) == ("nothing", None)
    assert waited["reason"].startswith("another tick holds the lease: ")
    assert (first["action"], first["decision"], first["model"]["alias"]) == ("trained", "promoted", "champion")
    assert 0 <= first["PQ"] <= 100 and len(nights.glob("runs/*")) == 1

    again, printed = nights.tick()
    assert (again["action"], again["key"]) == ("nothing", first["key"])
    assert "step" not in printed

    nights.grow(18)
    with killed_at_the_end(nights.start()) as process:
        nights.wait_for_a_checkpoint(process)
    second, printed = nights.tick()  # at once: its process is seen to have ended
    assert second["action"] == "trained" and second["decision"] in ("promoted", "held")
    assert "retrain · camvid_small · 6 new images, 0 gone; resumed: " in printed and f"PQ {second['PQ']:.2f}" in printed
    assert second["prepared"]["num_images"] == {"train": 18, "val": 4}

    nothing, _ = nights.tick()
    assert (nothing["action"], nothing["run"]) == ("nothing", second["run"])
    assert len(nights.glob("runs/*")) == 2 and len(nights.glob("retrain/*/ticks/*.json")) == 2

    monkeypatch.setenv("AUNET_STORE", str(nights.store))
    versions = {str(v.version): v for v in tracking.client().search_model_versions("name='aunet-camvid'")}
    assert {number: version.source for number, version in versions.items()} == {
        "1": first["run"]["model_uri"], "2": second["run"]["model_uri"],
    }  # fmt: skip
    assert versions["2"].tags["decision"] == second["decision"]
    assert (
        f"{first['PQ']:.2f}" in versions["2"].tags["reason"] and f"{second['PQ']:.2f}" in versions["2"].tags["reason"]
    )


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_tick_that_was_suspended_and_overtaken_stops(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    nights.grow(12)
    words = ("--retrain.lease_seconds", "12", "--train.epochs", "400")
    with killed_at_the_end(nights.start(*words)) as process:
        nights.wait_for_a_checkpoint(process)
        process.send_signal(signal.SIGSTOP)
        lease = nights.store / "retrain/camvid_small/lease"
        mine = json.loads((lease / "000001.json").read_text())
        (lease / "000002.json").write_text(json.dumps(mine | {"holder": "another/1", "token": "another"}))
        process.send_signal(signal.SIGCONT)
        _, printed = process.communicate(timeout=400)
        assert process.returncode == 3
    assert "refused: " in printed and "lost: taken by another/1 since" in printed and "Traceback" not in printed
    assert not nights.glob("runs/*/run.json") and not nights.glob("retrain/*/ticks/*")
