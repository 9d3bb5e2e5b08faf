"""A server of a model in a process of its own, as people start it, and models for it to serve."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from pipelines.store.hashes import digest
from pipelines.tracking.registry import MODEL_SHA256, ModelVersion, create_version
from pipelines.training.checkpoint import save_model
from tests.cityscapes import png
from tests.commands import ROOT, command, environment
from tests.tiny import CATEGORIES, TINY

START_SECONDS = 240.0


def write_model(folder: Path, seed: int) -> Path:
    """A model folder with a tiny network that was never trained."""
    torch.manual_seed(seed)
    augment = AugmentConfig(short_sides=(96,), max_size=128)
    predictor = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, augment, FusionConfig(stuff_area=1))
    save_model(folder, predictor.model.state_dict(), predictor.settings())
    return folder


def register(folder: Path, name: str, run_id: str) -> ModelVersion:
    """A version of a registered model."""
    return create_version(str(folder), name, run_id, {MODEL_SHA256: digest(str(folder))})


def noise(height: int, width: int, seed: int = 0) -> bytes:
    """An encoded image."""
    return png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Server:
    """A running server.

    Args:
        process: of the command line.
        log: what it prints to stderr.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path, address: str) -> None:
        self.process, self.log, self.address = process, log, address

    def wait(self) -> None:
        """Until it says that it answers."""
        deadline = time.monotonic() + START_SECONDS
        while "http://" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def end(self) -> dict[str, Any]:
        """Tell it to end, and wait; its result."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, self.log.read_text()
        return json.loads(out.splitlines()[-1])


@contextmanager
def serving(store: Path, folder: Path, *words: str) -> Iterator[Server]:
    """`serve` with these words, at a free port.

    Args:
        folder: for its log.
    """
    port, log = free_port(), folder / "serve.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command("serve", "--port", str(port)), *words],
            cwd=ROOT,
            env=environment(store),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    server = Server(process, log, f"http://127.0.0.1:{port}")
    try:
        server.wait()
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
