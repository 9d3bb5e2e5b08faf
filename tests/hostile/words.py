"""Hostile words: ids of jobs and records behind them, names, and URIs as options and variables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tests.canaries import URIS
from tests.hostile.arena import Arena, Case, Result
from tests.hostile.values import NAMES, damaged_documents

RECORD = {"pid": 4194303, "command": ["python", "-m", "jobs", "plan", "shapes_smoke"], "log_start": 0}
JOB = {"process.json": json.dumps(RECORD).encode(), "exit_code": b"0", "log": b"fine\n", "lock": b""}
"""The files of a job that has succeeded."""
NOT_A_CODE = {
    "empty": b"",
    "not a number": b"x",
    "a list": b"[]",
    "NaN": b"nan",
    "bytes": b"\xff\xfe\x00",
    "huge": b"9" * 400,
}
NAMED_SETTINGS = ("name", "register.model_name", "register.alias", "cluster.namespace", "cluster.secret")
WRONG_URIS = (
    *("", "s3://", "s3:///key", "file://", "file://host/x", "gs://bucket/x", "http://host/x"),
    *(uri for uri in URIS.values() if ":/" in uri),
)
"""Without a scheme, credentials are the name of a folder like any other."""


def word_cases(arena: Arena) -> Iterator[Case]:
    """All cases of this file."""
    yield from _jobs(arena)
    yield from _names()
    yield from _uris(arena)


def _jobs(arena: Arena) -> Iterator[Case]:
    ids = {**NAMES, "a file outside": str(arena.outside / "log"), "a folder outside": "../../../../../outside"}
    for name, bad in ids.items():
        for option in ("--logs", "--stop", ""):
            words = ["job", "--id", bad, *filter(None, [option])]
            yield Case(kind="job", name=f"{option or 'state'} of {name}", words=_fixed(words))
    records = [("process.json", damage, text.encode()) for damage, text in damaged_documents(RECORD)]
    codes = [("exit_code", damage, data) for damage, data in NOT_A_CODE.items()]
    logs = [("log", "bytes", b"\xff\xfe\x00")]
    for file, damage, data in (*records, *codes, *logs):
        for option in ("--logs", "--stop"):
            yield _damaged_job(file, damage, data, option)


def _damaged_job(file: str, damage: str, data: bytes, option: str) -> Case:
    def words(arena: Arena) -> list[str]:
        folder = arena.work / "store/jobs/plan-x-0123456789ab"
        folder.mkdir(parents=True)
        for name, content in {**JOB, file: data}.items():
            (folder / name).write_bytes(content)
        return ["job", "--id", folder.name, option]

    def is_its_state(result: Result) -> bool:
        return file != "exit_code" and result["status"] == "SUCCEEDED"

    return Case(kind="job", name=f"{option} with {file}: {damage}", words=words, right=is_its_state)


def _names() -> Iterator[Case]:
    for name, bad in NAMES.items():
        for setting in NAMED_SETTINGS:
            yield Case(
                kind="names", name=f"{setting} is {name}", words=_fixed(["plan", "shapes_smoke", f"--{setting}={bad}"])
            )
        yield Case(kind="names", name=f"retrain of {name}", words=_fixed(["retrain", "shapes_smoke", f"--name={bad}"]))
    for alias in ("latest", "v1", "V12"):
        words = _fixed(["plan", "shapes_smoke", f"--register.alias={alias}"])
        yield Case(kind="names", name=f"alias {alias}", words=words)


def _uris(arena: Arena) -> Iterator[Case]:
    model, images = str(arena.materials / "model"), str(arena.materials / "raw/train")
    for uri in WRONG_URIS:
        commands = {
            "predict --out": ["predict", "--model", model, "--images", images, "--out", uri],
            "predict --images": ["predict", "--model", model, "--images", uri, "--out", "o"],
            "predict --model": ["predict", "--model", uri, "--images", images, "--out", "o"],
            "export --out": ["export", "--model", model, "--out", uri],
            "verify": ["verify", uri],
            "evaluate --run": ["evaluate", "shapes_smoke", "--run", uri],
        }
        for name, words in commands.items():
            yield Case(kind="URIs", name=f"{name} {uri!r}", words=_fixed(words))
        for words in (["gc"], ["plan", "shapes_smoke"]) if uri else ():
            name = f"AUNET_STORE={uri!r} {words[0]}"
            yield Case(kind="URIs", name=name, words=_fixed(words), environment={"AUNET_STORE": uri})
    for name, target in {"a file": "file/x", "a long name": "x" * 300}.items():
        words = ["predict", "--model", model, "--images", images, "--out", target]
        yield Case(kind="URIs", name=f"--out below {name}", words=_fixed(words))
        store = {"AUNET_STORE": f"{{work}}/{target}"}
        yield Case(
            kind="URIs", name=f"store below {name}", words=_fixed(["preprocess", "shapes_smoke"]), environment=store
        )


def _fixed(words: list[str]) -> Callable[[Arena], list[str]]:
    """A command line, beside a file called `file`."""

    def prepared(arena: Arena) -> list[str]:
        (arena.work / "file").write_text("a file")
        return words

    return prepared
