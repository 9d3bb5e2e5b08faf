"""What `plan` says before anything is done, on hand-made stores."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from aunet.model_files import HASHES
from pipelines import presets
from pipelines.data.manifest import Manifest, ShardInfo, SplitInfo
from pipelines.data.sources import read_source
from pipelines.evaluate import find_report, report_key
from pipelines.plan import Plan, plan
from pipelines.register import register
from pipelines.settings.run_config import DataConfig, RunConfig, to_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, Report, TrainedRun
from pipelines.store.hashes import write_hashes
from pipelines.store.layout import PreparedFolder, Store
from pipelines.store.run_folder import RunFolder
from pipelines.training.identity import run_folder, run_id
from tests.canaries import URIS, leaks
from tests.clusters import free_port
from tests.commands import jobs


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def config(raw: Path) -> RunConfig:
    """Five images for training and two for validation, 12 epochs in batches of 2: 30 steps."""
    start = presets.camvid_small()
    data = DataConfig(root=str(raw), train=start.data.train, val=start.data.val)
    return replace(start, data=data, train=replace(start.train, batch_size=2, epochs=12))


def prepare(config: RunConfig) -> PreparedData:
    """Prepared data as its manifest tells of it; the shards themselves are not looked at."""
    source = read_source(config.data, config.data.root)
    shards = {
        split.name: ShardInfo(name="x.parquet", num_rows=len(split.images), num_bytes=1, sha256="0" * 64)
        for split in source.splits
    }
    splits = {
        split.name: SplitInfo(
            shards=(shards[split.name],),
            index=shards[split.name],
            rows_sha256=hashlib.sha256(split.name.encode()).hexdigest(),
            num_images=len(split.images),
            num_segments={},
            max_segments=1,
        )
        for split in source.splits
    }
    manifest = Manifest(categories=source.categories, splits=splits, source_fingerprint=source.fingerprint)
    uri = storage.join(storage.store_root(), "prepared", source.fingerprint)
    storage.write_bytes(PreparedFolder(uri).manifest_uri, manifest.to_bytes())
    return PreparedData(uri=uri, fingerprint=manifest.fingerprint, num_images={"train": 5, "val": 2})


def write(uri: str, content: Any) -> None:
    storage.write_bytes(uri, json.dumps(content).encode())


def finish(config: RunConfig, prepared: PreparedData) -> TrainedRun:
    folder = run_folder(config, prepared)
    for name in ("config.json", "model.safetensors"):
        storage.write_bytes(storage.join(folder.model_uri, name), b"{}")
    write_hashes(Path(folder.model_uri))
    run = TrainedRun(
        uri=folder.uri,
        fingerprint=run_id(config, prepared),
        model_uri=folder.model_uri,
        mlflow_run_id="x",
        steps=30,
    )
    folder.finish(run)
    return run


def report(config: RunConfig, prepared: PreparedData, run: TrainedRun) -> Report:
    """What `evaluate` leaves, as far as it is looked at; the run is not known to MLflow."""
    validation = Manifest.load(prepared.uri).split_fingerprint("val")
    folder = RunFolder(run.uri).report()
    made = Report(
        uri=folder.document_uri,
        fingerprint=report_key(config, run, validation),
        metrics={"PQ": 1.0},
        html_uri=folder.html_uri,
        overlays_uri=folder.overlays_uri,
    )
    document = {
        "metrics": made.metrics,
        "model_uri": run.model_uri,
        "mlflow_run_id": run.mlflow_run_id,
        "data_fingerprint": prepared.fingerprint,
        "val_fingerprint": validation,
    }
    folder.write(made, document)
    return made


def measure(config: RunConfig, name: str, steps: int, images_per_s: float, memory_gb: float) -> None:
    """An earlier run that logged `steps` steps."""
    folder = Store.here().run(name)
    folder.write_config(to_json(config))
    step = {"kind": "step", "step": steps, "images_per_s": images_per_s, "memory_gb": memory_gb}
    folder.history.append([{**step, "step": 1, "images_per_s": 1.0}, step, {"kind": "evaluation", "step": steps}])


def actions(result: Plan) -> dict[str, str]:
    return {stage["stage"]: stage["action"] for stage in result.stages}


def test_nothing_is_there_and_nothing_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    result = plan(presets.shapes_smoke(), price=3.0)
    assert set(actions(result).values()) == {"run"}
    assert result.stages[0]["why"] == "scenes are not generated yet"
    assert result.steps == {"total": 512 * 12 // 16, "left": 384}
    assert (result.hours, result.cost, result.refused) == (None, None, [])
    assert "no earlier run" in result.notes[0] and "memory: predicted, weights 0.05 + " in result.notes[1]
    assert result.peak_memory_gb == pytest.approx(1.5, abs=0.2)
    assert result.bytes["checkpoint"] == pytest.approx(203e6, rel=0.01) and result.bytes["read"] is None
    assert result.resources == {"where": "this machine", "CPU": 2, "GPU": 0}
    assert "scenes are not generated yet" in capsys.readouterr().err
    assert not Path(os.environ["AUNET_STORE"]).exists()


def test_each_stage_that_is_done_is_skipped(config: RunConfig, mlflow_store: Path) -> None:
    assert actions(plan(config)) == {"preprocess": "run", "train": "run", "evaluate": "run", "register": "run"}
    prepared = prepare(config)
    assert actions(plan(config)) == {"preprocess": "skip", "train": "run", "evaluate": "run", "register": "run"}
    write(storage.join(run_folder(config, prepared).checkpoints.new(12).uri, HASHES), {})
    resumed = plan(config)
    assert actions(resumed) == {"preprocess": "skip", "train": "resume", "evaluate": "run", "register": "run"}
    assert resumed.steps == {"total": 30, "left": 18} and "step 12" in resumed.stages[1]["why"]
    run = finish(config, prepared)
    assert actions(plan(config)) == {"preprocess": "skip", "train": "skip", "evaluate": "run", "register": "run"}
    made = report(config, prepared, run)
    files = {path for path in mlflow_store.rglob("*") if path.name != "mlflow.db.lock"}
    assert actions(plan(config)) == {"preprocess": "skip", "train": "skip", "evaluate": "skip", "register": "run"}
    assert {path for path in mlflow_store.rglob("*") if path.name != "mlflow.db.lock"} == files
    register(config, made)
    done = plan(config, price=3.0)
    assert set(actions(done).values()) == {"skip"}
    assert (done.steps["left"], done.hours, done.cost) == (0, 0.0, 0.0)
    other = plan(replace(config, fusion=replace(config.fusion, stuff_area=1)))
    assert actions(other) == {"preprocess": "skip", "train": "skip", "evaluate": "run", "register": "run"}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"report": {"uri": "here"}}'])
def test_a_damaged_report_is_made_again(config: RunConfig, content: str) -> None:
    prepared = prepare(config)
    run = finish(config, prepared)
    Path(report(config, prepared, run).uri).write_text(content)
    assert actions(plan(config))["evaluate"] == "run"
    with pytest.raises(InputError, match=r"report\.json: (not JSON|holds|lacks)"):
        find_report(run)


def test_a_registry_that_was_never_made_stays_so(config: RunConfig) -> None:
    prepared = prepare(config)
    report(config, prepared, finish(config, prepared))
    assert actions(plan(config))["register"] == "run"
    assert not list(Path(os.environ["AUNET_STORE"]).glob("mlflow.db*"))


def test_hours_and_memory_are_those_of_an_earlier_run(config: RunConfig) -> None:
    measure(config, "camvid_small-1", steps=20, images_per_s=4.0, memory_gb=1.5)
    measure(config, "camvid_small-2", steps=10, images_per_s=9.0, memory_gb=9.0)
    measure(config, "camvid_large-3", steps=99, images_per_s=9.0, memory_gb=9.0)
    wider = replace(config, model=replace(config.model, rpn=replace(config.model.rpn, num_samples=8)))
    measure(wider, "camvid_small-4", steps=99, images_per_s=9.0, memory_gb=9.0)
    result = plan(config, price=10.0)
    hours = 30 * 2 / 4.0 / 3600
    assert result.hours == pytest.approx(hours)
    assert result.cost == pytest.approx(10.0 * hours)
    assert result.peak_memory_gb == 1.5
    assert "camvid_small-1: 4.0 images per second" in result.notes[0]


def on_gpus(config: RunConfig, **train: Any) -> RunConfig:
    return replace(config, train=replace(config.train, use_gpu=True, **train))


def test_a_gpu_gives_time_and_scale_before_anything_has_run(config: RunConfig) -> None:
    prepare(config)
    result = plan(on_gpus(config), gpu="T4", price=2.0)
    assert result.hours is not None and 0 < result.hours < 1 and result.cost == pytest.approx(2 * result.hours)
    slow = plan(on_gpus(config), gpu="T4", network_gbit_per_s=1.0).scale
    assert [row["gpus"] for row in slow] == [8, 64, 256]
    assert slow[1]["efficiency"] < result.scale[1]["efficiency"] < result.scale[0]["efficiency"] < 1
    assert result.bytes["read"] == 12 * 1  # epochs × the one shard's bytes
    unknown = plan(on_gpus(config))
    assert unknown.hours is None and any("memory of the GPUs: unknown" in note for note in unknown.notes)


def test_a_network_that_does_not_fit_is_refused(config: RunConfig) -> None:
    wide = replace(config, augment=replace(config.augment, crop=(8192, 8192)))
    refused = plan(on_gpus(wide), gpu="T4").refused
    assert any("8192 × 8192 pixels needs weights 0.05 + " in r and "the GPU has 16 GB" in r for r in refused)


def test_failures_have_a_price(config: RunConfig) -> None:
    measure(config, "camvid_small-1", steps=20, images_per_s=4.0, memory_gb=1.5)
    result = plan(config, mtbf_hours=1.0, price=10.0)
    assert result.hours is not None and result.checkpoints is not None
    assert result.cost == pytest.approx(10 * result.hours / result.checkpoints["goodput"])
    assert plan(config).checkpoints is None


def test_incomplete_data_is_refused(config: RunConfig, raw: Path) -> None:
    image = next(raw.glob("train/*.jpg"))
    image.unlink()
    (raw / "annotations/panoptic_val.json").write_text("{")
    result = plan(config)
    assert len(result.refused) == 3
    assert f"{image.name}: missing in" in result.refused[0] and "panoptic_val.json" in result.refused[2]
    assert result.steps == {"total": None, "left": None}


def test_what_the_machines_cannot_carry_is_refused(config: RunConfig) -> None:
    train = replace(config.train, num_workers=4, batch_size=64)
    tune = replace(config.tune, max_concurrent=3)
    refused = plan(replace(config, train=train, tune=tune)).refused
    assert len(refused) == 3
    assert "train.num_workers = 4 with one CPU each" in refused[0] and "--train.num_workers 2" in refused[0]
    assert "tune.max_concurrent = 3 could wait for ever" in refused[1] and "floor(2 / 1) = 2" in refused[1]
    assert "train.batch_size = 64: 5 images × 12 epochs do not fill one" in refused[2]


def test_a_cluster_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever other tests have left running
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    result = plan(presets.shapes_smoke())
    assert len(result.refused) == 1 and address in result.refused[0] and "unset RAY_ADDRESS" in result.refused[0]
    assert result.resources == {"where": address}
    monkeypatch.setenv("RAY_ADDRESS", f"http://{address}")
    assert "CPUs and GPUs: not compared with what the cluster has" in str(plan(presets.shapes_smoke()).notes)


def test_a_plan_shows_what_makes_a_step(config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    train = replace(config.train, num_workers=4, batch_size=16, micro_batch_size=2)
    batch = {"images": 16, "workers": 4, "at_once": 2, "accumulate": 2}
    assert plan(replace(config, train=train)).batch == batch
    assert "16 images = 4 workers × 2 at once × 2 accumulated" in capsys.readouterr().err


def test_equal_plans_have_equal_hashes(config: RunConfig, raw: Path) -> None:
    first = plan(config).plan_hash
    assert plan(config, price=2.0).plan_hash == first
    assert plan(replace(config, train=replace(config.train, lr=0.5))).plan_hash != first
    image = next(raw.glob("train/*.jpg"))
    image.write_bytes(image.read_bytes() + b" ")
    assert plan(config).plan_hash != first


def test_the_command_exits_with_3_and_still_prints_the_plan(tmp_path: Path) -> None:
    result, stderr = jobs(tmp_path / "store", "plan", "shapes_smoke", "--train.use_gpu", "True", rc=3)
    assert "train.num_workers = 2 with one GPU each" in result["refused"][0] and "refused: train.num_workers" in stderr
    assert result["steps"]["total"] == 384 and not (tmp_path / "store").exists()


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0])
def test_options_that_are_none_are_refused(price: float) -> None:
    with pytest.raises(InputError, match=r"--price = .*use 0 or more"):
        plan(presets.shapes_smoke(), price=price)
    with pytest.raises(InputError, match=r"--mtbf-hours = .*: use a number above 0"):
        plan(presets.shapes_smoke(), mtbf_hours=price)
    with pytest.raises(InputError, match="--gpu 'H9': not known; use one of 'V100-SXM2-16GB'"):
        plan(presets.shapes_smoke(), gpu="H9")


@pytest.mark.parametrize("shape", URIS)
def test_a_plan_repeats_no_credentials(
    shape: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, URIS[shape])
    result = plan(presets.shapes_smoke())
    assert result.exit_code == 3 and "RAY_ADDRESS" in str(result.refused)
    assert leaks(str(result) + json.dumps(result.to_json()) + capsys.readouterr().err) == []


def test_an_address_of_mlflow_that_cannot_be_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://host/x")
    assert "MLFLOW_TRACKING_URI = 'ftp://***'" in plan(presets.shapes_smoke()).refused[0]
