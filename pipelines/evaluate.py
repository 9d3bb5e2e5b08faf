"""`evaluate`: a run → report.json, report.html and overlays."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import storage
from pipelines.artifacts import Report, TrainedRun
from pipelines.config import RunConfig, fingerprint, to_json
from pipelines.train import load_run, run_uri

if TYPE_CHECKING:
    from aunet.data.sample import Sample
    from aunet.predictor import Predictor, Result
    from pipelines.measurement import Measurement

REPORT = "report.json"
NUM_OVERLAYS = 12
"""Pictures in the report: evenly spread over the validation split."""


def evaluate(config: RunConfig, run: str | None = None) -> Report:
    """Measure a run's model on the validation split and write the report beside the run.

    Args:
        config: gives the data, the fusion and the workers; the network is the run's own.
        run: URI of the run; None: the run that `config` names.

    Raises:
        InputError: there is no such finished run, or its model is damaged.
    """
    from pipelines.preprocess import preprocess
    from pipelines.shards import ShardReader

    prepared = preprocess(config)
    trained = load_run(run or run_uri(config, prepared))
    key = fingerprint(trained.fingerprint, prepared.fingerprint, config.fusion, config.augment)
    place = storage.join(trained.uri, REPORT)
    if storage.exists(place) and (report := load_report(trained.uri)).fingerprint == key:
        return report
    reader = ShardReader(prepared.uri, "val")
    measured, overlays = _measure(config, trained, prepared.uri, len(reader))
    metrics, per_class = measured.metrics(), measured.per_class()
    overlays_uri = storage.join(trained.uri, "overlays")
    for name, picture in overlays:
        storage.write_bytes(storage.join(overlays_uri, name), picture)
    report = Report(
        uri=place,
        fingerprint=key,
        metrics=metrics,
        html_uri=storage.join(trained.uri, "report.html"),
        overlays_uri=overlays_uri,
    )
    html = _page(config, trained, prepared.fingerprint, metrics, per_class, overlays)
    storage.write_bytes(report.html_uri, html.encode())
    document = {
        **metrics,
        "metrics": metrics,
        "per_class": per_class,
        "model_uri": trained.model_uri,
        "mlflow_run_id": trained.mlflow_run_id,
        "data_fingerprint": prepared.fingerprint,
        "report": json.loads(report.to_json()),
    }
    storage.write_bytes(place, json.dumps(document, indent=1).encode())
    _track(trained, metrics, per_class, overlays, html)
    return report


def load_report(run: str) -> Report:
    """The report that lies beside a run."""
    return Report(**json.loads(storage.read_bytes(storage.join(run, REPORT)))["report"])


def _measure(
    config: RunConfig, trained: TrainedRun, prepared_uri: str, num_images: int
) -> tuple[Measurement, list[tuple[str, bytes]]]:
    """Every worker measures its part of the split; the parts add."""
    import ray

    from pipelines.cluster import connect
    from pipelines.manifest import Manifest
    from pipelines.measurement import Measurement

    connect()
    workers = min(config.train.num_workers, num_images)
    task = ray.remote(num_cpus=1, num_gpus=int(config.train.use_gpu))(_measure_part)
    shown = {round(n * (num_images - 1) / max(NUM_OVERLAYS - 1, 1)) for n in range(NUM_OVERLAYS)}
    settings = to_json(config)
    parts = ray.get(
        [
            task.remote(settings, trained.model_uri, prepared_uri, list(range(rank, num_images, workers)), shown)
            for rank in range(workers)
        ]
    )
    whole = Measurement(Manifest.load(prepared_uri).categories)
    for measured, _ in parts:
        whole.merge(measured)
    return whole, sorted(overlay for _, overlays in parts for overlay in overlays)


def _measure_part(
    settings: dict[str, Any], model_uri: str, prepared_uri: str, indices: list[int], shown: set[int]
) -> tuple[Measurement, list[tuple[str, bytes]]]:
    from pipelines.config import from_json
    from pipelines.measurement import measure
    from pipelines.shards import ShardReader

    config: RunConfig = from_json(RunConfig, settings)
    predictor = load_predictor(model_uri, config)
    reader = ShardReader(prepared_uri, "val")
    image_ids = {reader.image_ids[i] for i in shown}
    overlays: list[tuple[str, bytes]] = []

    def inspect(sample: Sample, result: Result) -> None:
        if sample.image_id in image_ids:
            overlays.append((f"{sample.image_id:012d}.png", draw_comparison(predictor, sample, result)))

    return measure(predictor, reader, indices, inspect), overlays


def load_predictor(model_uri: str, config: RunConfig | None = None) -> Predictor:
    """The predictor of a model folder, checked against its hashes, on the GPU where there is one.

    Args:
        config: where given, its fusion and input size take the place of those the model was trained with.
    """
    import torch

    from aunet.predictor import Predictor
    from pipelines.checkpoint import check_hashes
    from pipelines.optimization import autocast_dtype

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        storage.download_folder(model_uri, Path(folder))
        check_hashes(Path(folder))
        precision = autocast_dtype(config.train.precision if config else "auto", device)
        predictor = Predictor.from_folder(folder, device=device, precision=precision)
    if config is not None:
        predictor.augment, predictor.fusion = config.augment, config.fusion
    return predictor


def draw_comparison(predictor: Predictor, sample: Sample, result: Result) -> bytes:
    """Image, ground truth and prediction side by side, as a PNG."""
    from aunet.drawing import draw_panoptic, side_by_side

    categories = predictor.categories
    truth = draw_panoptic(sample.image, sample.true_ids(), sample.true_segments(), categories)
    found = draw_panoptic(sample.image, result.panoptic.ids.cpu().numpy(), result.panoptic.segments, categories)
    return encode_png(side_by_side([sample.image, truth, found], ["image", "ground truth", "prediction"]))


def encode_png(picture: Any) -> bytes:
    """uint8[H, W, 3] → PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _page(
    config: RunConfig,
    trained: TrainedRun,
    data_fingerprint: str,
    metrics: dict[str, float],
    per_class: list[dict[str, Any]],
    overlays: list[tuple[str, bytes]],
) -> str:
    from pipelines.report import render_report

    events = storage.read_bytes(storage.join(trained.uri, "events.jsonl")).decode().splitlines()
    return render_report(
        title=f"{config.name} · PQ {metrics['PQ']:.1f}",
        facts={
            "run": trained.fingerprint,
            "data": data_fingerprint,
            "steps": str(trained.steps),
            "MLflow run": trained.mlflow_run_id,
            "model": trained.model_uri,
        },
        metrics=metrics,
        per_class=per_class,
        events=[json.loads(line) for line in events],
        overlays=overlays,
        config=to_json(config),
    )


def _track(
    trained: TrainedRun,
    metrics: dict[str, float],
    per_class: list[dict[str, Any]],
    overlays: list[tuple[str, bytes]],
    html: str,
) -> None:
    from pipelines import tracking

    tracking.log_evaluation(trained.mlflow_run_id, metrics, step=trained.steps)
    tracking.log_table(trained.mlflow_run_id, "per_class.json", per_class)
    files = {f"overlays/{name}": picture for name, picture in overlays} | {"report.html": html.encode()}
    tracking.log_artifacts(trained.mlflow_run_id, files)
