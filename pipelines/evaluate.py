"""`evaluate`: a run → report.json, report.html, overlays and pictures of its attention."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.artifacts import PreparedData, Report, TrainedRun
from pipelines.config import RunConfig, fingerprint, to_json
from pipelines.train import load_run, run_uri

if TYPE_CHECKING:
    from aunet.data.sample import Sample
    from aunet.predictor import Predictor, Result
    from pipelines.measurement import Measurement

REPORT = "report.json"
NUM_OVERLAYS = 12
"""Pictures in the report: evenly spread over the validation split."""
NUM_ATTENTION = 4
"""So many of them are also shown with the network's attention."""


def evaluate(config: RunConfig, run: str | None = None, data: PreparedData | None = None) -> Report:
    """Measure a run's model on a validation split and write the report beside the run.

    Args:
        config: gives the data, the fusion and the workers; the network is the run's own.
        run: URI of the run; None: the run that `config` names.
        data: measure on the validation split of this data instead of the one that `config` names. That report lies
            below `reports/` and its figures in MLflow are marked, so that nothing takes them for the run's own.

    Raises:
        InputError: there is no such finished run, its model is damaged, or it knows other categories than the data.
    """
    from pipelines.data.manifest import Manifest
    from pipelines.preprocess import preprocess

    prepared = data or preprocess(config)
    trained = load_run(run or run_uri(config, prepared))
    manifest = Manifest.load(prepared.uri)
    validation = manifest.split_fingerprint("val")
    folder, mark = report_folder(trained.uri, validation if data else None), f"val_{validation}/" if data else ""
    key = report_key(config, trained.fingerprint, validation)
    place = storage.join(folder, REPORT)
    if storage.exists(place) and (report := load_report(folder)).fingerprint == key:
        return report
    measured, pictures = _measure(config, trained, prepared.uri, manifest.splits["val"].num_images)
    metrics, per_class = measured.metrics(), measured.per_class()
    for name, picture in pictures.items():
        storage.write_bytes(storage.join(folder, name), picture)
    report = Report(
        uri=place,
        fingerprint=key,
        metrics=metrics,
        html_uri=storage.join(folder, "report.html"),
        overlays_uri=storage.join(folder, "overlays"),
    )
    html = _page(config, trained, prepared.fingerprint, measured, pictures)
    storage.write_bytes(report.html_uri, html.encode())
    document = {
        **metrics,
        "metrics": metrics,
        "per_class": per_class,
        "attention": measured.attention.compute(),
        "model_uri": trained.model_uri,
        "mlflow_run_id": trained.mlflow_run_id,
        "data_fingerprint": prepared.fingerprint,
        "val_fingerprint": validation,
        "report": json.loads(report.to_json()),
    }
    _track(trained, metrics, per_class, pictures | {"report.html": html.encode()}, mark)
    storage.write_bytes(place, json.dumps(document, indent=1).encode())
    return report


def report_key(config: RunConfig, run: str, validation: str) -> str:
    """Names the report that a configuration makes of a run and a validation split, given by their fingerprints."""
    return fingerprint(run, validation, config.fusion, config.augment)


def report_folder(run: str, validation: str | None = None) -> str:
    """Where a run's report lies: beside it, or below `reports/` for a validation split that is not its own."""
    return storage.join(run, "reports", validation) if validation else run


def load_report(folder: str) -> Report:
    """The report in a run's folder, or in one of its `reports/`."""
    return Report(**json.loads(storage.read_bytes(storage.join(folder, REPORT)))["report"])


def _measure(
    config: RunConfig, trained: TrainedRun, prepared_uri: str, num_images: int
) -> tuple[Measurement, dict[str, bytes]]:
    """Every worker measures its part of the split; the parts add, and so do their pictures."""
    import ray

    from pipelines.cluster import connect
    from pipelines.data.manifest import Manifest
    from pipelines.measurement import Measurement

    connect()
    workers = min(config.train.num_workers, num_images)
    task = ray.remote(num_cpus=1, num_gpus=int(config.train.use_gpu))(_measure_part)
    shown = _spread(range(num_images), NUM_OVERLAYS)
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
    pictures = {name: picture for _, drawn in parts for name, picture in drawn.items()}
    return whole, {name: pictures[name] for name in sorted(pictures)}


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of the numbers, evenly spread, the first and the last among them."""
    if not numbers:
        return []
    return sorted({numbers[round(n * (len(numbers) - 1) / (count - 1))] for n in range(count)})


def _measure_part(
    settings: dict[str, Any], model_uri: str, prepared_uri: str, indices: list[int], shown: list[int]
) -> tuple[Measurement, dict[str, bytes]]:
    """The rows at `indices`, with pictures of those that are in `shown`: name below the report's folder → PNG."""
    from aunet.drawing_attention import draw_attention
    from pipelines.config import from_json
    from pipelines.data.shards import ShardReader
    from pipelines.data.sources import meaning
    from pipelines.measurement import measure

    config: RunConfig = from_json(RunConfig, settings)
    predictor = load_predictor(model_uri, config)
    reader = ShardReader(prepared_uri, "val")
    if meaning(predictor.categories) != meaning(reader.manifest.categories):
        raise InputError(
            f"{model_uri}: the model's categories are not those of {prepared_uri}; measure it on data with its own"
        )
    compared = {reader.image_ids[i] for i in shown}
    attended = {reader.image_ids[i] for i in _spread(shown, NUM_ATTENTION)}
    pictures: dict[str, bytes] = {}

    def inspect(sample: Sample, result: Result) -> None:
        name = f"{sample.image_id:012d}.png"
        if sample.image_id in compared:
            pictures[f"overlays/{name}"] = draw_comparison(predictor, sample, result)
        if sample.image_id in attended and result.attention:
            pictures[f"attention/{name}"] = encode_png(draw_attention(sample.image, result.attention))

    return measure(predictor, reader, indices, inspect), pictures


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
    with storage.local_folder(model_uri) as folder:
        check_hashes(folder)
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
    measured: Measurement,
    pictures: dict[str, bytes],
) -> str:
    from pipelines.pages.report import render_report

    metrics, overlays, attention = measured.metrics(), [], []
    for place, picture in pictures.items():
        folder, name = place.split("/")
        (overlays if folder == "overlays" else attention).append((name, picture))
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
        per_class=measured.per_class(),
        events=[json.loads(line) for line in events],
        overlays=overlays,
        attention=measured.attention.compute(),
        attention_pictures=attention,
        config=to_json(config),
    )


def _track(
    trained: TrainedRun,
    metrics: dict[str, float],
    per_class: list[dict[str, Any]],
    files: dict[str, bytes],
    mark: str,
) -> None:
    from pipelines import tracking

    marked = {f"{mark}{name}": value for name, value in metrics.items()}
    tracking.log_evaluation(trained.mlflow_run_id, marked, step=trained.steps)
    tracking.log_table(trained.mlflow_run_id, f"{mark}per_class.json", per_class)
    tracking.log_artifacts(trained.mlflow_run_id, {f"{mark}{name}": content for name, content in files.items()})
