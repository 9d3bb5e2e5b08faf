"""One copy of a model for each process; that copies arrive whole is tested with MLflow's server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.tracking import model_copies
from pipelines.tracking.model_copies import fetched


def test_a_process_has_one_copy_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[Path] = []
    hashes = ["aa" * 32]

    def download(run_id: str, path: str, folder: str) -> str:
        downloads.append(Path(folder, path))
        downloads[-1].mkdir()  # fails where an earlier copy is left
        return str(downloads[-1])

    monkeypatch.setattr(model_copies, "client", lambda: SimpleNamespace(download_artifacts=download))
    monkeypatch.setattr(model_copies, "digest", lambda uri: hashes[-1])
    copies = [fetched("run", hashes[0]) for _ in range(3)]
    assert copies == [str(downloads[0])] * 3 and len(downloads) == 1
    hashes.append("bb" * 32)  # damaged meanwhile
    assert fetched("run", hashes[0]) == copies[0] and downloads == [Path(copies[0])] * 2
