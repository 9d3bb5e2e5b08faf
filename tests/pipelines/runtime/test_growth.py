"""What is asked of a cluster that grows, and what its autoscalers answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aunet.errors import InputError, Unavailable
from pipelines.runtime import growth
from pipelines.runtime.cluster import GIVEN
from pipelines.runtime.growth import (
    Answer,
    answer_of_first,
    brings_nodes,
    can_grow,
    halved,
    make_room,
    require,
    to_grow,
    training_bundles,
)
from pipelines.settings.run_config import FeedConfig, TrainConfig

CPU, GPU = {"CPU": 1.0}, {"GPU": 1.0}


@pytest.mark.parametrize(
    ("train", "feed", "wanted"),
    [
        (TrainConfig(num_workers=2, use_gpu=False), FeedConfig(), [CPU] * 2),
        (TrainConfig(num_workers=2), FeedConfig(), [GPU] * 2),
        (TrainConfig(num_workers=2), FeedConfig(kind="ray", workers=3), [GPU] * 2 + [CPU] * 6),
        (TrainConfig(num_workers=2, use_gpu=False), FeedConfig(kind="ray", workers=1), [CPU] * 4),
        (TrainConfig(num_workers=2, evaluate_every=1, validate="beside"), FeedConfig(), [GPU] * 3),
    ],
)
def test_what_a_training_asks_for(train: TrainConfig, feed: FeedConfig, wanted: list[growth.Bundle]) -> None:
    assert training_bundles(train, feed, 2) == wanted


@pytest.mark.parametrize(
    ("most", "least", "numbers"), [(16, 1, [16, 8, 4, 2, 1]), (24, 2, [24, 12, 6, 3, 2]), (2, 2, [2]), (1, 1, [1])]
)
def test_what_would_do_instead(most: int, least: int, numbers: list[int]) -> None:
    assert halved(most, least) == numbers


def status(**report: Any) -> bytes:
    fixed: dict[str, Any] = {"active_nodes": {}, "pending_launches": {}, "pending_nodes": [], "failed_nodes": []}
    return json.dumps({"autoscaler_report": {**fixed, **report}}).encode()


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (None, "silent"),
        (b"{}", "silent"),
        (status(), "silent"),
        (status(active_nodes={"node_0af3": 1}), "never"),
        (status(active_nodes={"head": 1}), "silent"),
        (status(active_nodes={"head": 1}, pending_launches={"gpu": 2}), "grows"),
        (status(active_nodes={"head": 1}, pending_nodes=[["10.0.0.7", "gpu", "setting-up"]]), "grows"),
        (status(active_nodes={"head": 1}, failed_nodes=[["10.0.0.7", "gpu"]]), "grows"),
    ],
)
def test_what_the_first_autoscaler_says(state: bytes | None, answer: str) -> None:
    assert answer_of_first(state).kind == answer


@pytest.mark.parametrize(
    ("state", "grows"),
    [
        (None, False),
        (status(), False),
        (status(active_nodes={"node_0af3": 1}), False),
        (status(active_nodes={"head": 1}), True),
        (status(active_nodes={"node_0af3": 1, "gpu": 2}), True),
    ],
)
def test_whether_the_first_autoscaler_brings_nodes(state: bytes | None, grows: bool) -> None:
    assert brings_nodes(state) == grows


def test_to_what_a_cluster_would_have_to_grow() -> None:
    assert to_grow([GPU] * 2 + [CPU], {"GPU": 2, "CPU": 8}) is None
    text = to_grow([GPU] * 2 + [CPU] * 3, {"GPU": 0, "CPU": 4})
    assert text is not None and "has 0 GPUs and 4 CPUs and would have to grow to 2 GPUs and 3 CPUs" in text


class Group:
    """A placement group that is met at the `turns`-th look."""

    def __init__(self, turns: int) -> None:
        self.turns, self.id = turns, b"g1"

    def wait(self, seconds: float) -> bool:
        self.turns -= 1
        return self.turns < 0


def test_a_cluster_that_grows_is_waited_for_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    waited = growth._wait(
        Group(3), [GPU] * 16 + [CPU], 1e12, lambda group: Answer("grows", "no capacity in us-east-1a")
    )
    assert waited
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("waiting for the cluster to grow: 16 GPUs and 1 CPU, 0 s so far, at most ")
    assert line.endswith("; the last node did not start: no capacity in us-east-1a")


def test_the_wait_has_a_bound() -> None:
    assert growth._wait(Group(10**9), [GPU], 0.0, lambda group: Answer("grows"))


def test_what_never_comes_is_not_waited_for() -> None:
    asked: list[str] = []

    def ask(group: str) -> Answer:
        asked.append(group)
        return Answer("never")

    assert not growth._wait(Group(10**9), [GPU], 1e12, ask)
    assert asked == [b"g1".hex()]


def test_a_cluster_that_does_not_grow_refuses_at_once(ray_cluster: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert not can_grow()
    make_room([[GPU] * 2, [GPU]])
    require(CPU, "preprocess")
    with pytest.raises(InputError, match="evaluate: needs a node with 1 GPU and 1 CPU, and the cluster has none"):
        require({"CPU": 1.0, "GPU": 1.0}, "evaluate")
    assert capsys.readouterr().err == ""


def test_in_a_pod_the_least_is_waited_for_and_a_shortage_is_no_wrong_input(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node that was lost between two stages comes back; a job of 70 hours is not told to use fewer workers."""
    monkeypatch.setenv(GIVEN, "AUNET_STORE")
    make_room([[GPU] * 2, [CPU]], seconds=60)  # is there
    assert capsys.readouterr().err == ""
    make_room([[GPU] * 2, [GPU]], seconds=1.5)
    assert capsys.readouterr().err.startswith("waiting for the cluster to grow: 1 GPU, ")
    with pytest.raises(Unavailable, match=r"evaluate: needs a node with 1 GPU, .*its nodes were lost"):
        require(GPU, "evaluate", seconds=1.5)
