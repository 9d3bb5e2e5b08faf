"""The main job with everything in a bucket: raw images, shards, checkpoints, reports, MLflow's artifacts, predictions.

The S3 API server is moto's: it lives in this process, starts in a second and honours `If-None-Match`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands import ROOT, command

BUCKET = "bucket"
RAW, STORE = f"s3://{BUCKET}/raw", f"s3://{BUCKET}/team/store"
TINY_RUN = [
    "--data.root", RAW, "--data.rows_per_shard", "4",
    "--augment.short_sides", "64", "--augment.max_size", "128", "--augment.crop", "64", "96",
    "--model.backbone.fpn_channels", "16", "--model.foreground.box_channels", "32",
    "--model.foreground.mask_channels", "16", "--model.background.channels", "16",
    "--train.num_workers", "1", "--train.batch_size", "4", "--train.epochs", "8", "--train.checkpoint_every", "4",
]  # fmt: skip
"""`camvid_small` on 12 scenes in a bucket, laid out as CamVid is: 24 steps of one worker, a checkpoint every 12."""
SECRETS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *(
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
    ),
    *("RAY_AUTH_TOKEN", "RAY_REDIS_PASSWORD", "PGPASSWORD", "KUBE_TOKEN", "DATABRICKS_TOKEN", "HF_TOKEN"),
    *("AUNET_PW", "AUNET_AUTH", "AUNET_APIKEY", "AUNET_PASSWD", "AUNET_TOKEN"),
)
"""Variables that hold a secret: its value may be in no file, no output and no command line."""
LAST = 12
"""The run is killed once it has the checkpoint of this step."""
pytestmark = pytest.mark.timeout(1800)


class Sandbox(NamedTuple):
    """An empty working directory, home and temporary folder, with an environment that knows a bucket and a secret."""

    folder: Path
    environment: dict[str, str]
    secrets: list[bytes]
    command_lines: set[bytes]
    """Of every process that has run meanwhile and lived for a tenth of a second."""

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*words), cwd=self.folder / "work", env=self.environment, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def jobs(self, *words: str) -> tuple[dict[str, Any], str]:
        """Run a command to its end; returns its result and all that it printed."""
        process = self.start(*words)
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, f"exit code {process.returncode}\n{err[-3000:]}"
        return json.loads(out.splitlines()[-1]), out + err

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def holds_secret(self, content: bytes) -> bool:
        """Whether a secret is in `content`, as it is or in base64."""
        needles = [
            needle
            for secret in self.secrets
            for needle in (secret, *(base64.b64encode(b" " * shift + secret)[4:-4] for shift in range(3)))
        ]
        return any(needle in content for needle in needles)


@pytest.fixture(scope="module")
def sandbox(s3_endpoint: str) -> Iterator[Sandbox]:
    import boto3

    from aunet.data.shapes import write_scenes
    from pipelines.store import storage

    folder = Path(tempfile.mkdtemp(prefix="s3-"))  # short: Ray's sockets lie in it
    for name in ("work", "home", "tmp", "ray"):
        (folder / name).mkdir()
    keys = {name: f"canary-{secrets.token_hex(16)}" for name in SECRETS}
    aws = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    own = {
        "AUNET_STORE": STORE,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "RAY_TMPDIR": str(folder / "ray"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**aws, **keys}.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        write_scenes(folder / "scenes", num_train=12, num_val=4, height=64, width=96)
        storage.upload_folder(folder / "scenes", RAW)
        shutil.rmtree(folder / "scenes")
        inherited = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
        with command_lines() as seen:
            yield Sandbox(folder, inherited | own, [key.encode() for key in keys.values()], seen)
    shutil.rmtree(folder, ignore_errors=True)  # a killed Ray may still write


@contextlib.contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Watch the command lines of all processes of this machine."""
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


class Outcome(NamedTuple):
    """A run that was killed and the one that resumed it: result and output, the events by then, and the plan."""

    result: dict[str, Any]
    printed: str
    events_before: list[str]
    plan: dict[str, Any]


@pytest.fixture(scope="module")
def outcome(sandbox: Sandbox) -> Outcome:
    """The main job, killed in the middle of its training and started again."""
    killed = sandbox.start("run", "camvid_small", *TINY_RUN)
    end = time.monotonic() + 900
    try:
        while newest_checkpoint() < LAST:
            assert killed.poll() is None, f"the run ended before it could be killed\n{killed.communicate()[1][-3000:]}"
            assert time.monotonic() < end, "no checkpoint came"
            time.sleep(0.5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
    lost = "".join(killed.communicate())
    events = read("events/000002.jsonl").splitlines()
    plan, planned = sandbox.jobs("plan", "camvid_small", *TINY_RUN)
    result, printed = sandbox.jobs("run", "camvid_small", *TINY_RUN)
    return Outcome(result, lost + planned + printed, events, plan)


def objects() -> dict[str, tuple[int, int]]:
    """Path → size and time of everything in the bucket."""
    from pipelines.store import storage

    return {f.path: (f.size, f.modified) for f in storage.list_files(f"s3://{BUCKET}")}


def read(name: str) -> str:
    """A file of the one run; empty where there is none yet."""
    from pipelines.store import storage

    places = [path for path in objects() if "/runs/" in path and path.endswith(f"/{name}")]
    return storage.read_bytes(storage.join(f"s3://{BUCKET}", places[0])).decode() if places else ""


def newest_checkpoint() -> int:
    """Step of the newest complete checkpoint; 0: there is none."""
    names = [path.split("/")[-2] for path in objects() if "/checkpoints/" in path and path.endswith("/sha256.json")]
    return max((int(name.partition("-")[0]) for name in names), default=0)


def test_everything_is_in_the_bucket(sandbox: Sandbox, outcome: Outcome) -> None:
    from pipelines.verify import verify

    result, paths = outcome.result, set(objects())
    run = result["run"]["uri"].removeprefix(f"s3://{BUCKET}/")
    artifacts = f"team/store/mlartifacts/{result['run']['mlflow_run_id']}/artifacts"
    for name in ("report.html", "overlays/000000000004.png"):
        assert {f"{run}/{name}", f"{artifacts}/{name}"} <= paths
    assert {f"{run}/{name}" for name in ("run.json", "report.json", "events.jsonl", "model/model.safetensors")} <= paths
    prepared = result["prepared"]["uri"].removeprefix(f"s3://{BUCKET}/")
    assert f"{prepared}/manifest.json" in paths
    pool = prepared.rsplit("/", 1)[0]
    kinds = {path.removeprefix(f"{pool}/").split("/")[0] for path in paths if path.startswith(f"{pool}/")}
    assert kinds == {"shards", "receipts", prepared.rsplit("/", 1)[1]}
    assert verify(result["prepared"]["uri"]).problems == []
    work = sandbox.folder / "work"
    assert {path.name for path in sandbox.files() if path.is_relative_to(work)} == {"mlflow.db", "mlflow.db.lock"}


def test_a_killed_run_went_on_from_its_checkpoint(outcome: Outcome) -> None:
    stages = {stage["stage"]: stage["action"] for stage in outcome.plan["stages"]}
    assert stages == {"preprocess": "skip", "train": "resume", "evaluate": "run", "register": "run"}
    left = outcome.plan["steps"]["left"]
    assert outcome.plan["steps"]["total"] == 24 and left == 24 - LAST
    assert outcome.plan["hours"] > 0 and outcome.plan["peak_memory_gb"] > 0.1
    events = [json.loads(line) for line in read("events.jsonl").splitlines()]
    assert [event["step"] for event in events if event["kind"] == "step"] == [10, 20, 24]
    assert json.loads(outcome.events_before[0]) in events, "the first steps were trained again"


def test_a_second_run_writes_nothing(sandbox: Sandbox, outcome: Outcome) -> None:
    before = objects()
    plan, _ = sandbox.jobs("plan", "camvid_small", *TINY_RUN)
    again, printed = sandbox.jobs("run", "camvid_small", *TINY_RUN)
    assert {stage["action"] for stage in plan["stages"]} == {"skip"}
    assert (plan["steps"], plan["hours"]) == ({"total": 24, "left": 0}, 0)
    assert again == outcome.result and "· step" not in printed
    assert objects() == before


def test_the_registered_model_predicts_and_no_file_has_a_key(sandbox: Sandbox, outcome: Outcome) -> None:
    model = f"models:/{outcome.result['model']['name']}@champion"
    out = f"s3://{BUCKET}/predictions"
    predicted, printed = sandbox.jobs("predict", "--model", model, "--images", f"{RAW}/val", "--out", out, "--overlays")
    assert predicted["images"] == 4
    assert {f"predictions/{kind}/000003.png" for kind in ("panoptic", "overlays")} <= set(objects())

    assert sandbox.holds_secret(pickle.dumps({"key": sandbox.secrets[1].decode()})), "the search finds what is there"
    assert sandbox.holds_secret(base64.b64encode(b"a" + sandbox.secrets[1]))
    check_no_secret(
        sandbox, outcome.printed + printed, "/session_", "mlflow.db", "state.pt", "predictions/panoptic.json"
    )


@pytest.mark.slow
def test_a_search_a_retraining_and_a_submitted_job_leave_no_key_either(sandbox: Sandbox, outcome: Outcome) -> None:
    trials = ["--tune.num_trials", "2", "--tune.epochs", "1", "--tune.confirm_seeds", "1"]
    _, searched = sandbox.jobs("tune", "camvid_small", *TINY_RUN, *trials)
    _, retrained = sandbox.jobs("retrain", "camvid_small", *TINY_RUN)
    _, submitted = sandbox.jobs("submit", "plan", "camvid_small", *TINY_RUN, "--wait")
    check_no_secret(sandbox, searched + retrained + submitted, "/tuned/", "/retrain/", "/jobs/", "/study.html")


def check_no_secret(sandbox: Sandbox, printed: str, *seen: str) -> None:
    """No secret is in an object, a file, a command line or in what was printed; files with `seen` in their names are
    among those that are searched."""
    from pipelines.store import storage

    contents = {path: storage.read_bytes(f"s3://{BUCKET}/{path}") for path in objects()}
    contents |= {str(path): path.read_bytes() for path in sandbox.files()}
    names = " ".join(contents)
    assert all(name in names for name in seen)
    leaks = [path for path, content in contents.items() if sandbox.holds_secret(content)]
    lines = [line for line in sandbox.command_lines if sandbox.holds_secret(line)]
    print(f"a key is in {len(leaks)} of {len(contents)} files, {len(lines)} of {len(sandbox.command_lines)} processes")
    assert leaks == []
    assert not sandbox.holds_secret(printed.encode())
    assert any(b"raylet" in line for line in sandbox.command_lines), "the watcher saw the cluster"
    assert lines == []
