"""`submit` of every verb: it is sent with what it was given, or refused with what to do instead."""

from __future__ import annotations

import io
import re
import shlex
from functools import partial
from typing import Any

import pytest
import yaml

from aunet.errors import InputError
from jobs.__main__ import main
from jobs.command_options import ADDRESSES, NOT_SENT
from jobs.help import field_texts
from jobs.parsing import SENDABLE, HelpShown, parse
from jobs.verbs import VERBS
from pipelines.submit import submit_command
from pipelines.targets.submission import State, Submission
from tests.pipelines.test_submit import Memory

GIVEN = {
    verb: text.replace("BUCKET", "s3://bucket").split()
    for verb, text in {
        "predict": "--model models:/m@champion --images BUCKET/in --out BUCKET/out",
        "export": "--model BUCKET/model --out BUCKET/out",
        "compare": "BUCKET/a BUCKET/b --slice size crowded",
        "score": "--gt-json BUCKET/g.json --gt-dir BUCKET/g --pred-json BUCKET/p.json --pred-dir BUCKET/p --workers 3",
        "lint-data": "--images BUCKET/i --panoptic-json BUCKET/p.json --panoptic-dir BUCKET/p",
        "verify": "BUCKET/store/runs/x",
        "gc": "--older-than-hours 48.0",
        "doctor": "",
    }.items()
}
PLACE = ["--target", "kuberay", "--cluster.image", "aunet:1.0"]


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")


def rendered(*words: str) -> dict[str, Any]:
    """The RayJob that `submit` would send."""
    out = io.StringIO()
    assert main(["submit", *words, *PLACE, "--dry-run"], out) == 0
    return yaml.safe_load(out.getvalue().rpartition("{")[0])


def group(rayjob: dict[str, Any]) -> tuple[str, int, dict[str, str]]:
    """Name and nodes of the workers, and what each asks for."""
    (workers,) = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return (
        workers["groupName"],
        workers["replicas"],
        workers["template"]["spec"]["containers"][0]["resources"]["limits"],
    )


@pytest.mark.parametrize("verb", ADDRESSES)
def test_what_names_files_is_checked_before_it_is_sent(verb: str) -> None:
    """By the help of the options: what is a folder, a file, a JSON or a model."""
    texts = field_texts(VERBS[verb].options)
    assert {name for name, text in texts.items() if re.search("Folder|JSON|Model:|Images of", text)} <= {
        *ADDRESSES[verb]
    }


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_sent_to_cpus_or_refused_with_a_reason(verb: str) -> None:
    assert [verb in SENDABLE, verb in ADDRESSES, verb in NOT_SENT].count(True) == 1
    if verb in NOT_SENT:
        with pytest.raises(InputError, match=f"submit {verb}: .*; (run|name)"):
            parse(["submit", verb, *PLACE], io.StringIO())
    elif verb in ADDRESSES:
        job = rendered(verb, *GIVEN[verb])
        words = shlex.split(job["spec"]["entrypoint"])[3:]
        workers = ["--workers", "1"] if verb == "predict" else []
        assert words == [verb, *GIVEN[verb], *workers]
        assert group(job) == ("cpu", 1, {"cpu": "8", "memory": "32Gi"})
        parse(words, io.StringIO())
    elif verb not in ("retrain",):  # which is a schedule
        train = ["--train.use_gpu", "False", "--data.root", "s3://bucket/coco"]
        assert group(rendered(verb, "coco_r50", *train))[0] == "cpu"


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["--workers", "1"], ("cpu", 1, None)),
        (["--workers", "20"], ("cpu", 3, None)),
        (["--workers", "20", "--gpus"], ("gpu", 3, "8")),
        (["--workers", "2", "--gpus"], ("gpu", 1, "2")),
        (["--gpus"], ("gpu", 1, "1")),
    ],
)
def test_the_cluster_is_as_large_as_the_labelling(words: list[str], size: tuple[str, int, str | None]) -> None:
    name, nodes, limits = group(rendered("predict", *GIVEN["predict"], *words))
    assert (name, nodes, limits.get("nvidia.com/gpu")) == size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gc", "--gpus"], "--gpus = True: gc uses none; leave it out"),
        (["predict", "--model", "m"], "predict: --images is missing"),
        (["predict", *GIVEN["predict"], "--train.lr", "1"], "unknown option --train.lr"),
        (["predict", *GIVEN["predict"], "--cluster.memory", "1"], "unknown option --cluster.memory"),
        (
            ["predict", *GIVEN["predict"], "--images", "here"],
            "--images = .*/here': pods do not see this machine; use s3",
        ),
        (["predict", *GIVEN["predict"], "--out", "s3://bucket/$HOME"], "would not reach another machine as it is"),
        (["verify", "s3://key:s3same@bucket/x"], "URI: holds credentials"),
        (["verify", "s3://bucket/x", "--cluster.gpus_per_node", "-1"], "cluster.gpus_per_node"),
    ],
)
def test_what_would_not_work_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", *words, *PLACE, "--dry-run"], io.StringIO()) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert any(re.search(message, line) for line in lines), lines
    assert "s3same" not in str(lines)


def test_the_same_words_are_one_job_and_what_has_ended_is_sent_again() -> None:
    memory = Memory()
    words = ["submit", "predict", *GIVEN["predict"], "--target", "ray"]

    def call() -> int:
        return main(words, io.StringIO(), function=partial(submit_command, targets=memory.targets()))

    assert call() == call() == 0
    (first,) = memory.sent  # the second call found it running
    for before in (State("FAILED"), State("SUCCEEDED"), State("STOPPED")):
        memory.sent, memory.before = [], before
        assert call() == 0
        (again,) = memory.sent
        assert (again.id, again.words) == (first.id, first.words)
    assert first.id.startswith("predict-") and first.preset == ""


def test_files_of_this_machine_are_named_whatever_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    sent: list[Submission] = []
    memory = Memory(sent=sent)
    words = ["submit", "predict", "--model", "models:/m@champion", "--images", "my images (1)", "--out", "out"]
    assert main(words, io.StringIO(), function=partial(submit_command, targets=memory.targets())) == 0
    assert sent[0].words[2:7] == (
        "models:/m@champion",
        "--images",
        f"{tmp_path}/my images (1)",
        "--out",
        f"{tmp_path}/out",
    )


def test_help_shows_both_what_the_verb_and_what_the_job_understand() -> None:
    out = io.StringIO()
    with pytest.raises(HelpShown):
        parse(["submit", "predict", "--help"], out)
    assert all(option in out.getvalue() for option in ("--images", "--gpus", "--cluster.image", "--wait"))
