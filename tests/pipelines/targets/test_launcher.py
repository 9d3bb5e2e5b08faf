"""cluster.yaml is checked without AWS, and the checks notice what they are for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.targets.launcher import launcher_problems
from tests.damages import documents, drop, misspell, put


@pytest.fixture
def launcher() -> dict[str, Any]:
    return documents("cluster.yaml")[0]


def test_cluster_yaml_is_valid(launcher: dict[str, Any]) -> None:
    before = copy.deepcopy(launcher)
    assert launcher_problems(launcher) == []
    assert launcher == before


HEAD, GPUS = "available_node_types.head", "available_node_types.gpu"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (misspell("", "idle_timeout_minutes", "idle_timeout_minute"), "idle_timeout_minute"),
        (misspell(GPUS, "max_workers", "max_worker"), "max_worker"),
        (drop("", "provider"), "provider"),
        (put("", head_node_type="haed"), "head_node_type"),
        (drop(GPUS, "max_workers"), "min_workers and max_workers are both needed"),
        (drop(GPUS, "min_workers"), "min_workers and max_workers are both needed"),
        (put(GPUS, min_workers=5), "smaller than the sum of `min_workers`"),
        (put(f"{GPUS}.resources", GPU=0), "without GPU"),
        (drop(f"{GPUS}.node_config", "InstanceMarketOptions"), "MarketType: spot"),
        (put(f"{HEAD}.node_config", InstanceMarketOptions={"MarketType": "spot"}), "must be on demand"),
        (put(f"{HEAD}.resources", CPU=8), "must run no work"),
        (drop(f"{GPUS}.node_config", "IamInstanceProfile"), "IamInstanceProfile is missing"),
        (put("docker", run_options=["--env RAY_AUTH_MODE=token"]), "--shm-size is missing"),
        (put("docker", run_options=["--shm-size=64g"]), "RAY_AUTH_MODE=token is missing"),
        (put("", setup_commands=["export AWS_SECRET_ACCESS_KEY=x"]), "a credential"),
        (put("", setup_commands=["export RAY_AUTH_TOKEN=0123"]), "a credential"),
    ],
)
def test_a_damaged_cluster_yaml_is_noticed(launcher: dict[str, Any], damage: Callable[..., Any], message: str) -> None:
    damage(launcher)
    assert message in " ".join(launcher_problems(launcher))
