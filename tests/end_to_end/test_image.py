"""The image is really built, and does the main job: by buildah, from stand-ins for its bases. Built for CPUs only.

`make image-test` runs it: root, buildah, debootstrap, a network, 30 GB of disk and half an hour are needed. It leaves
size, time and a row of the table "contact" in benchmarks/results/image.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.machine import cpu_name
from tests import images
from tests.commands import NUM_STEPS, TINY_RUN, weights_hash

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

WANTED = "AUNET_IMAGE_TEST"
"""Variable that `make image-test` sets: nobody waits half an hour unasked."""
RESULT = "AUNET_IMAGE_RESULT"
"""Variable with a file for size, time, layers and what works."""
CONTACT = ("submit", "resume", "cancel", "wrong_input", "exit_codes", "model_hash")
NAME = "localhost/aunet"
JOBS = ("python", "-m", "jobs")
TRAIN = ("train", "shapes_smoke", *TINY_RUN)

OPERATOR = """
import json, torch
from aunet_ops import kernel_status, reference, roi_upsample
rois = torch.tensor([[0, 3.5, 2, 30, 21], [1, 0, 0, 47, 31]])
given = torch.rand(2, 3, 14, 14), rois, (2, 32, 48), 1.0
gap = (roi_upsample(*given) - reference.roi_upsample(*given)).abs().max()
print(json.dumps([kernel_status()[0].compiled, float(gap)]))
"""
VERSION = "from pipelines.runtime.code_version import code_version; print(code_version())"
KILLED = """
import os, pathlib, signal, subprocess, sys, time
command = [sys.executable, "-m", "jobs", *sys.argv[1:]]
store = pathlib.Path(os.environ["AUNET_STORE"])
first = subprocess.Popen(command, start_new_session=True)
while not list(store.glob("runs/*/checkpoints/*/sha256.json")):
    assert first.poll() is None, "it ended before it could be killed"
    time.sleep(0.05)
os.killpg(first.pid, signal.SIGKILL)
first.wait()
assert not list(store.glob("runs/*/run.json")), "it ended before it was killed"
sys.exit(subprocess.call(command))
"""
STOPPED = """
import json, subprocess, sys
def jobs(*words):
    done = subprocess.run([sys.executable, "-m", "jobs", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
id = jobs("submit", *sys.argv[1:])["submission_id"]
before = jobs("job", "--id", id)["status"]
jobs("job", "--id", id, "--stop")
print(json.dumps([before, jobs("job", "--id", id)["status"]]))
"""


class Built(NamedTuple):
    """A container of the image, and what the same code is outside."""

    buildah: images.Buildah
    container: str
    code: str
    """Its version."""
    weights: str
    """Hash of the model that it trains."""

    def inside(self, *words: str, **env: str) -> str:
        return self.buildah.inside(self.container, *words, env=env)

    def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        return self.buildah.run(self.container, *words, env=env)

    def model_hash(self, store: str) -> str:
        """SHA-256 of the weights of the one model in a store inside."""
        return json.loads(self.inside("sh", "-c", f"cat {store}/runs/*/model/sha256.json"))["model.safetensors"]


def note(**values: Any) -> None:
    """Add to the result, if one is wanted; dictionaries are added to."""
    if named := os.environ.get(RESULT):
        path = Path(named)
        result = json.loads(path.read_text()) if path.exists() else {}
        for name, value in values.items():
            result[name] = {**result.get(name, {}), **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(result, indent=1) + "\n")


def works(name: str) -> None:
    """Note a column of the table "contact"."""
    note(contact={name: True})


def outside(checkout: Path, store: Path) -> tuple[str, str]:
    """The version of a checkout's code on this machine, and the hash of the model that it trains."""
    env = {"PYTHONPATH": str(checkout / "ops"), "AUNET_STORE": str(store)}
    images.output(sys.executable, *JOBS[1:], *TRAIN, folder=checkout, env=env)
    return images.output(sys.executable, "-c", VERSION, folder=checkout, env=env).strip(), weights_hash(store)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The image, built once; removed in the end."""
    if reason := images.needed() if os.environ.get(WANTED) else "run it by make image-test":
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    checkout = images.checkout(folder / "checkout")
    code, weights = outside(checkout, folder / "store")
    buildah = images.Buildah(folder)
    Path(os.environ.get(RESULT, folder / "none")).unlink(missing_ok=True)
    try:
        images.stand_in(folder / "rootfs")
        buildah.base(folder / "rootfs", *images.bases())
        shutil.rmtree(folder / "rootfs")
        note(hardware=cpu_name(), date=f"{datetime.now(UTC):%Y-%m-%d}", load_before=round(os.getloadavg()[0], 1))
        started = time.monotonic()
        buildah.build(images.dockerfile_for_stand_ins(folder / "Dockerfile"), checkout, NAME)
        note(build_seconds=round(time.monotonic() - started), **images.sizes(buildah, NAME))
        note(contact=dict.fromkeys(CONTACT, False))
        yield Built(buildah, buildah("from", "--pull-never", NAME), code, weights)
    finally:
        buildah.remove()


def test_the_operator_is_compiled_and_right(image: Built) -> None:
    compiled, gap = json.loads(image.inside("python", "-c", OPERATOR).splitlines()[-1])
    assert compiled and gap < 1e-5


def test_its_doctor_is_content(image: Built) -> None:
    result = json.loads(image.inside(*JOBS, "doctor").splitlines()[-1])
    assert result["checks"] and result["problems"] == [], result


def test_it_holds_the_code_of_its_checkout_and_refuses_other_submissions(image: Built) -> None:
    assert image.inside("python", "-c", VERSION).strip() == image.code
    note(code=image.code)
    entry = ("python", "-m", "pipelines.targets.entry", "plan", "shapes_smoke")
    assert image.run(*entry, AUNET_CODE=image.code)[0] == 0
    status, _, err = image.run(*entry, AUNET_CODE="0" * 12)
    assert status == 2 and f"the image holds code {image.code}, but the job was submitted from code 000000" in err


def test_a_submitted_job_trains_the_same_model(image: Built) -> None:
    words = (*JOBS, "submit", *TRAIN, "--target", "local", "--wait")
    result = json.loads(image.inside(*words, AUNET_STORE="/ray/submitted").splitlines()[-1])
    assert (result["status"], result["exit_code"]) == ("SUCCEEDED", 0)
    works("submit")
    assert image.model_hash("/ray/submitted") == image.weights
    works("model_hash")
    note(model_sha256=image.weights)


def test_a_killed_training_resumes_to_the_same_model(image: Built) -> None:
    out = image.inside("python", "-c", KILLED, *TRAIN, AUNET_STORE="/ray/resumed")
    assert json.loads(out.splitlines()[-1])["steps"] == NUM_STEPS
    assert image.model_hash("/ray/resumed") == image.weights
    works("resume")


def test_a_job_can_be_stopped(image: Built) -> None:
    words = (*TRAIN, "--train.epochs", "400", "--target", "local")
    states = image.inside("python", "-c", STOPPED, *words, AUNET_STORE="/ray/stopped").splitlines()[-1]
    assert json.loads(states) == ["RUNNING", "STOPPED"]
    works("cancel")


def test_wrong_input_is_one_line_and_exit_code_2(image: Built) -> None:
    status, out, err = image.run(*JOBS, *TRAIN, "--train.lr", "-1", AUNET_STORE="/ray/wrong")
    assert (status, out) == (2, "") and "error: train.lr = -1" in err and "Traceback" not in err
    works("wrong_input")


def test_a_job_keeps_its_exit_code(image: Built) -> None:
    """There is no COCO; only the job sees that."""
    words = (*JOBS, "submit", "preprocess", "coco_r50", "--target", "local", "--wait")
    status, out, _ = image.run(*words, AUNET_STORE="/ray/empty")
    result = json.loads(out.splitlines()[-1])
    assert (status, result["status"], result["exit_code"]) == (2, "FAILED", 2)
    works("exit_codes")


def test_backbones_of_timm_and_the_weights_of_a_package_are_there(image: Built) -> None:
    result = image.inside(*JOBS, "plan", "shapes_lite0", AUNET_STORE="/ray/lite0")
    assert json.loads(result.splitlines()[-1])["refused"] == []
