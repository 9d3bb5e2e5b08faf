"""Hostile settings: every number of a configuration, overrides, and addresses in the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from jobs.values import setting_types
from pipelines.presets import shapes_smoke
from pipelines.settings.overrides import flatten
from tests.canaries import URIS
from tests.hostile.arena import Arena, Case, Result
from tests.hostile.values import damaged_documents

NEVER = {"NaN": "nan", "infinity": "inf", "minus infinity": "-inf", "overflow": "1e400", "text": "x", "nothing": ""}
EXTREME = {"minus one": "-1", "far below": "-1e30", "far above": "1e30", "64 bits": str(2**63)}


def setting_cases(arena: Arena) -> Iterator[Case]:
    """All cases of this file."""
    types = setting_types(shapes_smoke())
    values = flatten(shapes_smoke())
    for name, kind in types.items():
        numeric = {int, float} & {kind, *get_args(kind), *(inner for a in get_args(kind) for inner in get_args(a))}
        if not numeric:
            continue
        length = len(values[name]) if isinstance(values[name], tuple) else 1
        for what, word in NEVER.items():
            yield _plan(f"{name} is {what}", [f"--{name}", *[word] * max(length, 1)])
        for what, word in EXTREME.items():
            one, several = [f"--{name}={word}"], [f"--{name}", *[word] * max(length, 1)]
            yield _plan(f"{name} is {what}", one if length == 1 else several)
    for price in ("nan", "inf", "-1", "-inf", "x"):
        yield _plan(f"price {price}", ["--price", price])
    for name, text in damaged_documents({"train.lr": 0.1, "train.milestones": [1, 2], "data.shapes": {"height": 64}}):
        yield _overrides(name, text)
    for name, text in OVERRIDES.items():
        yield _overrides(name, text)
    for uri in TRACKING:
        for words in (["plan", "shapes_smoke"], ["register", "shapes_smoke", "--run", "r"]):
            name, environment = f"{words[0]}: {uri}", {"MLFLOW_TRACKING_URI": uri}
            right = _is_plan if uri in LOCAL or words[0] == "plan" else None
            yield Case(kind="tracking URI", name=name, words=_fixed(words), environment=environment, right=right)
    for variable, target in (("RAY_ADDRESS", "ray"), ("AWS_ENDPOINT_URL", "local"), ("AUNET_COCO", "local")):
        for uri in URIS.values():
            words = _fixed(["submit", "train", "shapes_smoke", "--target", target, "--dry-run"])
            yield Case(kind="addresses", name=f"{variable}={uri}", words=words, environment={variable: uri})


OVERRIDES = {
    "a field of what is null": '{"data.shapes": null, "data.shapes.height": 1}',
    "null": "null",
    "an empty name": '{"": 1}',
    "dots": '{"...": 1}',
    "a section as a number": '{"train": 5}',
    "a section as text": '{"train": "x"}',
    "an unknown section": '{"train": {"x": 1}}',
    "half a section": '{"data.shapes": {"height": null}}',
}
TRACKING = (
    *("", "s3://", "sqlite://", "sqlite:///", "sqlite:///{work}", "sqlite:///{work}/deep/er/mlflow.db", "file://"),
    *("http://", "http://:x", "http://127.0.0.1:99999999", "http://127.0.0.1:1%zz", "databricks://", "uc:", "x", "://"),
    *("postgresql://", "\x1b[31m", *(uri.replace("host", "127.0.0.1") for uri in URIS.values())),
)
LOCAL = ("sqlite:///{work}/deep/er/mlflow.db", "")
"""Addresses that are right: a new file, and none."""


def _plan(name: str, words: list[str]) -> Case:
    return Case(kind="settings", name=name, words=_fixed(["plan", "shapes_smoke", *words]))


def _overrides(name: str, text: str) -> Case:
    def words(arena: Arena) -> list[str]:
        (arena.work / "overrides.json").write_text(text)
        return ["plan", "shapes_smoke", "--overrides", str(arena.work / "overrides.json")]

    return Case(kind="overrides", name=name, words=words, right=_is_plan)


def _fixed(words: list[str]) -> Callable[[Arena], list[str]]:
    return lambda arena: words


def _is_plan(result: Result) -> bool:
    """Whether a plan was made."""
    return "stages" in result
