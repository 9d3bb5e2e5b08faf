"""Several models that ask for the alias at one moment: the best is champion, in the ledger and in MLflow."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.measuring.gating.evidence import read_evidence
from pipelines.measuring.gating.promotion import propose
from pipelines.settings.run_config import RegisterConfig
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.registry import alias_holder, resolve_model
from tests.preparing import config_of, preprocess_here
from tests.promotions import evaluated_run, no_rehearsal

SETTINGS = RegisterConfig(model_name="aunet")


def ask(run: RunFolder) -> bool:
    evidence = read_evidence(run.report().document_uri)
    return propose(SETTINGS, evidence, rehearse=no_rehearsal).is_champion


def test_of_several_that_ask_at_one_moment_the_best_is_champion(mlflow_store: Path) -> None:
    for turn in range(4):
        qualities = [30.0 + 12 * turn, 36.0 + 12 * turn, 33.0 + 12 * turn]
        runs = [evaluated_run(mlflow_store, f"t{turn}-{n}", pq) for n, pq in enumerate(qualities)]
        barrier = threading.Barrier(len(runs))

        def contend(run: RunFolder, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return ask(run)

        with ThreadPoolExecutor(len(runs)) as pool:
            list(pool.map(contend, runs))
        entries = Store.here().ledger("aunet").entries()
        figures = [entry.figures["PQ"] for entry in entries]
        assert figures == sorted(figures) and figures[-1] == max(qualities)
        holder = alias_holder("aunet", "champion")
        assert holder is not None and holder.model_uri == entries[-1].model_uri
        assert resolve_model("models:/aunet@champion") == runs[1].model_uri


def test_a_frozen_set_that_was_changed_is_refused_before_anything_is_written(mlflow_store: Path, raw: Path) -> None:
    prepared = preprocess_here(config_of(raw))
    run = evaluated_run(mlflow_store, "first", 40.0)
    validation = Manifest.load(prepared.uri).split_fingerprint("val")
    uri = run.report().document_uri
    document = Path(uri).read_text().replace('"prepared_uri": ""', f'"prepared_uri": "{prepared.uri}"')
    Path(uri).write_text(document)
    with pytest.raises(InputError, match=r"its validation images are \w+, not the frozen set val1"):
        ask(run)
    assert alias_holder("aunet", "champion") is None and Store.here().ledger("aunet").head() is None
    Path(uri).write_text(document.replace("val1", validation))
    assert ask(run)
    head = Store.here().ledger("aunet").head()
    assert head is not None and head.gate["rehearsal"]["images"] == 2
    assert head.gate["notes"] == ["its training data are not known, or not in this store: they were not compared"]
