"""A replica without Ray: what it says of its health once its GPU is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipelines.serving.deployment import Labeller
from pipelines.serving.endpoint import MAX_FAILURES
from pipelines.serving.labelling import LabelledImage
from pipelines.serving.settings import ServerSettings
from tests.pipelines.serving.http import as_app, asked
from tests.serving import noise, write_model


async def lost(_: bytes) -> LabelledImage:
    """Labels as a process does whose GPU is gone."""
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_replica_whose_network_only_fails_says_so_to_ray(tmp_path: Path) -> None:
    async def run() -> None:
        replica = Labeller(ServerSettings(model=str(write_model(tmp_path / "model", 0))).to_plain())
        replica.endpoint.label = lost
        for _ in range(MAX_FAILURES):
            await replica.check_health()
            assert (await asked(as_app(replica), "POST", "/panoptic", [noise(64, 96)])).status == 500
        with pytest.raises(RuntimeError, match="could not be labelled"):
            await replica.check_health()

    asyncio.run(run())
