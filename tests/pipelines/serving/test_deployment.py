"""A replica without Ray: what it says of its health once its GPU is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pipelines.serving.current_model import LoadedModel
from pipelines.serving.deployment import Labeller
from pipelines.serving.endpoint import MAX_FAILURES
from pipelines.serving.settings import ServerSettings
from tests.pipelines.serving.http import as_app, asked
from tests.serving import noise, write_model


class Lost:
    """A predictor whose GPU is gone."""

    def __init__(self, whole: Any) -> None:
        self.augment = whole.augment

    def __call__(self, images: list[Any]) -> list[Any]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_replica_whose_network_only_fails_says_so_to_ray(tmp_path: Path) -> None:
    async def run() -> None:
        replica = Labeller(ServerSettings(model=str(write_model(tmp_path / "model", 0))).to_plain())

        async def status() -> int:
            return (await asked(as_app(replica), "POST", "/panoptic", [noise(64, 96)])).status

        whole = replica.current.loaded
        assert await status() == 200
        lost: Any = Lost(whole.predictor)
        replica.current.loaded = LoadedModel(lost, whole.facts)
        for _ in range(MAX_FAILURES):
            await replica.check_health()
            assert await status() == 500
        with pytest.raises(RuntimeError, match="could not be labelled"):
            await replica.check_health()
        replica.current.loaded = whole
        assert await status() == 200
        await replica.check_health()

    asyncio.run(run())
