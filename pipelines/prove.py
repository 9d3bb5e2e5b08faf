"""`prove`: a shortened run left alone, the same run with faults, and a certificate of what that made of it."""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import ray

from aunet.errors import InputError
from pipelines.data.sample_plan import spread
from pipelines.data.sources import read_source
from pipelines.pages.certificate import render_certificate
from pipelines.settings.run_config import DataConfig, RunConfig, to_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData
from pipelines.store.layout import Store
from pipelines.training.identity import num_steps
from pipelines.training.proving.campaign import Kind
from pipelines.training.proving.certificate import Certificate
from pipelines.training.proving.proof import Proof

BATCHES = 3.5
"""Of an epoch of the shortened run: batches reach over its ends."""
VAL_IMAGES = 2
CHECKPOINT_MINUTES = 0.05
MIN_STEPS = 20
"""Below that the faults would come before the first checkpoint."""


def shortened(config: RunConfig, steps: int) -> RunConfig:
    """The same run over three and a half batches of its images, for about so many steps, with a checkpoint every epoch
    and every three seconds, and without evaluations.

    Raises:
        InputError: `steps` is too few, or the data cannot be read.
    """
    if steps < MIN_STEPS:
        raise InputError(f"--steps {steps}: too few to interrupt; use {MIN_STEPS} or more")
    data = _fewer_images(config.data, round(BATCHES * config.train.batch_size))
    num_images = data.shapes.num_train if data.shapes else len(data.train.image_ids)
    train = replace(
        config.train,
        epochs=max(1, round(steps * config.train.batch_size / num_images)),
        checkpoint_every=1,
        checkpoint_minutes=CHECKPOINT_MINUTES,
        keep_last=max(2, config.train.keep_last),
        keep_every=0,
        evaluate_every=0,
        patience=0,
        release="last",
        max_failures=max(10, config.train.max_failures),
    )
    return replace(config, data=data, train=train)


def prove(
    config: RunConfig,
    prepared: PreparedData,
    *,
    kills: int = 5,
    seed: int = 0,
    without_protection: bool = False,
    counts: Mapping[Kind, int] | None = None,
) -> Certificate:
    """Run a configuration twice, once with faults, and compare. The certificate and both runs stay in the store.

    Args:
        config: as `shortened` returns it.
        prepared: its data.
        kills: faults, of all kinds in turn.
        seed: of the faults and their steps.
        without_protection: kill only drivers, and leave of each newest checkpoint what other trainers keep.
        counts: faults of each kind, instead of `kills`.

    Raises:
        InputError: `kills` is below 1.
        Unavailable: the undisturbed run did not come to its end, or the other one has left nothing.
    """
    if kills < 1:
        raise InputError(f"--kills {kills}: nothing would be proved; use 1 or more")
    ray.shutdown()  # every driver has a session of its own
    store = Store.here()
    store.claim()
    folder = store.proof(f"{config.name}-{uuid.uuid4().hex[:8]}")
    steps = num_steps(config, prepared.num_images["train"])
    with tempfile.TemporaryDirectory() as scratch:
        proof = Proof(config=config, prepared=prepared, folder=folder, scratch=Path(scratch), seed=seed)
        print(f"prove {config.name}: {steps} steps undisturbed, then with faults, in {folder.uri}", file=sys.stderr)
        undisturbed = proof.undisturbed("undisturbed")
        certificate = proof.certify(undisturbed, kills, counts or {}, without_protection=without_protection)
    certificate = replace(certificate, uri=folder.document_uri, html_uri=folder.html_uri)
    page = render_certificate(certificate.to_json(), to_json(config))
    storage.write_bytes(folder.html_uri, page.encode())
    storage.write_bytes(folder.document_uri, json.dumps(certificate.to_json(), indent=1).encode())
    print(_summary(certificate), file=sys.stderr)
    return certificate


def _fewer_images(data: DataConfig, num_train: int) -> DataConfig:
    """The same data with only so many training images, spread over the split, or all where there are fewer."""
    if data.shapes is not None:
        fewer = min(num_train, data.shapes.num_train), min(VAL_IMAGES, data.shapes.num_val)
        return replace(data, shapes=replace(data.shapes, num_train=fewer[0], num_val=fewer[1]))
    source = read_source(data, storage.absolute(data.root))
    numbers = {"train": num_train, "val": VAL_IMAGES}
    splits = {
        split.name: replace(
            split.config, image_ids=tuple(spread([i.record.image_id for i in split.images], numbers[split.name]))
        )
        for split in source.splits
    }
    return replace(data, **splits)


def _summary(certificate: Certificate) -> str:
    """One line for people."""
    verdict = "holds" if certificate.holds else "does not hold"
    return (
        f"certificate {verdict}: {certificate.survived} of {certificate.requested} faults survived, final state "
        f"{'identical' if certificate.identical else f'differs by up to {certificate.deviation:.3g}'}, "
        f"{certificate.lost} images lost, {certificate.doubled} doubled, {certificate.steps_recomputed} steps "
        f"recomputed, goodput {certificate.goodput:.0%} · {certificate.html_uri}"
    )
