"""The whole main job as a Kubeflow pipeline (kfp v2). The only module that knows kfp, an optional extra.

preprocess → (tune) → train → evaluate → (register), with an exit handler that leaves the outcome in the store. A step
holds no logic of its own: `pipelines.targets.steps` runs the same commands that people type.
"""

import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.config import RunConfig
from pipelines.overrides import differences
from pipelines.targets.steps import ROOT
from pipelines.targets.submission import submission

ENDPOINT = "KF_PIPELINES_ENDPOINT"
"""Environment variable: address of the Kubeflow Pipelines API, or `local`: run the pipeline here, without a cluster."""
STANDS = ("SUCCEEDED", "RUNNING", "PENDING")
"""States of an earlier run of the same settings that make another needless; a failed one is sent again and resumes."""


def submit_pipeline(config: RunConfig, preset: str, verb: str, dry_run: bool = False) -> dict[str, Any]:
    """Send the pipeline of `preset` to Kubeflow, or run it here; the same settings twice are one run.

    Args:
        verb: `run`, or `tune`: the whole pipeline with the search for loss weights in it.

    Returns:
        `submission_id`, `status`, and with `dry_run` the pipeline's YAML as `text`.

    Raises:
        InputError: another verb, no endpoint, or kfp is not installed.
    """
    if verb not in ("run", "tune"):
        raise InputError(
            f"submit {verb} --target kubeflow: the pipeline is the whole main job; write submit run {preset}, or "
            f"submit tune {preset} to search the loss weights first"
        )
    job = submission(config, verb=verb, preset=preset, run=None)
    arguments = pipeline_arguments(config, preset, tune=verb == "tune")
    result = {"submission_id": job.id, "target": "kubeflow"}
    if dry_run:
        return {"text": compile_pipeline(config), **result, "arguments": arguments}
    endpoint = os.environ.get(ENDPOINT)
    if not endpoint:
        raise InputError(f"{ENDPOINT} is not set: give the address of Kubeflow Pipelines, or `local` to run it here")
    if endpoint == "local":
        run_here(config, arguments)
        return {**result, "status": "SUCCEEDED", "sent": True}
    if "://" not in arguments["store"]:
        raise InputError(
            f"AUNET_STORE = {arguments['store']}: name a store that every step reaches, such as s3://bucket/prefix"
        )
    return {**result, **_send(config, arguments, job.id, endpoint)}


def pipeline_arguments(config: RunConfig, preset: str, tune: bool) -> dict[str, Any]:
    """The pipeline's parameters for this configuration."""
    from pipelines import presets

    changes = differences(config, getattr(presets, preset)())
    overrides = json.dumps(changes, sort_keys=True)
    return {"preset": preset, "overrides": overrides, "store": storage.store_root(), "tune": tune}


def compile_pipeline(config: RunConfig) -> str:
    """The pipeline as YAML, the same text for the same `config.cluster`."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder, "pipeline.yaml"))
        compiler.Compiler().compile(build_pipeline(config), place)
        return Path(place).read_text(encoding="utf-8")


def run_here(config: RunConfig, arguments: dict[str, Any]) -> None:
    """Run the pipeline's steps one by one as processes of this machine, through kfp's own local runner.

    Raises:
        RuntimeError: a step failed; it is named.
    """
    from kfp import local

    with tempfile.TemporaryDirectory() as folder:
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder, raise_on_error=True)
        warnings.filterwarnings("ignore", module=r"kfp\.local")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        build_pipeline(config)(**arguments, target="local")


def _send(config: RunConfig, arguments: dict[str, Any], name: str, endpoint: str) -> dict[str, Any]:
    import kfp

    warnings.filterwarnings("ignore", module=r"kfp\.client")
    client = kfp.Client(host=endpoint)
    matching = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": name}]})
    for run in client.list_runs(filter=matching).runs or []:
        if run.state in STANDS:
            return {"status": run.state, "run_id": run.run_id, "sent": False}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "pipeline.yaml")
        place.write_text(compile_pipeline(config), encoding="utf-8")
        sent = client.create_run_from_pipeline_package(
            str(place), arguments=arguments, run_name=name, experiment_name="aunet", enable_caching=False,
            service_account=config.cluster.service_account,
        )  # fmt: skip
    return {"status": "PENDING", "run_id": sent.run_id, "sent": True}


def build_pipeline(config: RunConfig) -> Any:
    """The pipeline, with the image and the Secret of `config.cluster`; everything else is a parameter."""
    try:
        from kfp import dsl, kubernetes
    except ImportError:
        raise InputError('kfp is not installed; run pip install -c constraints.txt "kfp[kubernetes]"') from None

    component: Any = dsl.component(base_image=config.cluster.image, install_kfp_package=False)

    @component
    def stage(verb: str, preset: str, overrides: str, target: str, store: str) -> str:
        from pipelines.targets.steps import run_step

        return run_step(verb, preset, overrides, target, store)["uri"]

    @component
    def search(preset: str, overrides: str, target: str, store: str) -> str:
        from pipelines.targets.steps import merged_overrides, run_step

        return merged_overrides(overrides, run_step("tune", preset, overrides, target, store)["overrides"])

    @component
    def keep(overrides: str) -> str:
        return overrides

    @component
    def measure(preset: str, overrides: str, target: str, store: str, metrics: dsl.Output[dsl.Metrics]) -> float:
        from pipelines.targets.steps import run_step

        result = run_step("evaluate", preset, overrides, target, store)
        for name, value in result["metrics"].items():
            metrics.log_metric(name, value)
        metrics.metadata["report"] = result["html_uri"]
        return result["PQ"]

    @component
    def outcome(preset: str, store: str, status: dsl.PipelineTaskFinalStatus) -> None:
        from pipelines.targets.steps import record_outcome

        record_outcome(status.state, status.error_message or "", preset, store)

    def step(name: str, task: Any) -> Any:
        """A step, never taken from the cache since its work lies in the store; credentials by reference."""
        kubernetes.use_secret_as_env(task, config.cluster.secret, {name: name for name in SECRET_KEYS}, optional=True)
        return task.set_caching_options(False).set_display_name(name)

    @dsl.pipeline(name="aunet", description="AUNet: raw data to registered model")
    def aunet(
        preset: str, overrides: str = "{}", store: str = "", target: str = "kuberay",
        tune: bool = False, min_pq: float = 0.0,
    ) -> None:  # fmt: skip
        there = {"preset": preset, "target": target, "store": store}
        told = step("outcome", outcome(preset=preset, store=store))
        with dsl.ExitHandler(told, name="main job"):
            prepared = step("preprocess", stage(verb="preprocess", overrides=overrides, **there))
            with dsl.If(tune == True, name="tune"):  # noqa: E712 - becomes a condition of the pipeline
                found = step("tune", search(overrides=overrides, **there)).after(prepared)
            with dsl.Else(name="no tune"):
                kept = step("keep the settings", keep(overrides=overrides)).after(prepared)
            chosen = dsl.OneOf(found.output, kept.output)
            trained = step("train", stage(verb="train", overrides=chosen, **there))
            measured = step("evaluate", measure(overrides=chosen, **there)).after(trained)
            with dsl.If(measured.outputs["Output"] >= min_pq, name="good enough"):
                step("register", stage(verb="register", overrides=chosen, **there | {"target": "local"}))

    return aunet


SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI")
"""Keys of the cluster's Secret that a step gets as environment variables, where they are there."""
