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

import kfp
import urllib3
from kfp import compiler, dsl, kubernetes, local
from kfp_server_api import ApiException

from aunet.errors import InputError, Unavailable
from pipelines.settings.overrides import differences
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.addresses import check_server, masked
from pipelines.targets.steps import ROOT
from pipelines.targets.submission import Submitted, submission

ENDPOINT = "KF_PIPELINES_ENDPOINT"
"""Environment variable: address of the Kubeflow Pipelines API, or `local`: run the pipeline here, without a cluster."""
STANDING = ("SUCCEEDED", "RUNNING", "PENDING")
"""States of an earlier run of the same settings that make another needless; a failed one is sent again and resumes."""
SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI")
"""Keys of the cluster's Secret that a step gets as environment variables, where the Secret has them."""


def submit_pipeline(config: RunConfig, preset: str, verb: str, base: RunConfig, dry_run: bool = False) -> Submitted:
    """Send the pipeline of `preset` to Kubeflow, or run it here; the same settings twice are one run.

    Args:
        verb: `run`, or `tune`: the whole pipeline with the search for loss weights in it.
        base: the preset's own configuration, unchanged.
        dry_run: only return the pipeline's YAML, as `text`.

    Raises:
        InputError: another verb, no endpoint, or a store that not every step reaches.
        Unavailable: the endpoint does not answer, or refuses.
    """
    if verb not in ("run", "tune"):
        raise InputError(
            f"submit {verb} --target kubeflow: the pipeline is the whole main job; write submit run {preset}, or "
            f"submit tune {preset} to search the loss weights first"
        )
    job = submission(config, verb=verb, preset=preset, base=base)
    arguments = pipeline_arguments(config, preset, base, tune=verb == "tune")
    if dry_run:
        pipeline = compile_pipeline(config)
        return Submitted(submission_id=job.id, target="kubeflow", arguments=arguments, manifest=pipeline)
    endpoint = os.environ.get(ENDPOINT)
    if not endpoint:
        raise InputError(f"{ENDPOINT} is not set: give the address of Kubeflow Pipelines, or `local` to run it here")
    if endpoint == "local":
        run_here(config, arguments)
        return Submitted(submission_id=job.id, target="kubeflow", status="SUCCEEDED", sent=True)
    check_server(ENDPOINT, endpoint)  # before a library repeats it
    if not storage.is_remote(arguments["store"]):
        raise InputError(
            f"AUNET_STORE = {arguments['store']}: name a store that every step reaches, such as s3://bucket/prefix"
        )
    try:
        return _send(config, arguments, job.id, endpoint)
    except (ApiException, urllib3.exceptions.HTTPError) as error:
        reason = masked(" ".join(str(error).split()))[:300]
        raise Unavailable(f"{ENDPOINT} = {endpoint}: {reason}; start Kubeflow Pipelines or correct it") from None


def pipeline_arguments(config: RunConfig, preset: str, base: RunConfig, tune: bool) -> dict[str, Any]:
    """The pipeline's parameters for this configuration, a changed `base`."""
    overrides = json.dumps(differences(config, base), sort_keys=True)
    return {"preset": preset, "overrides": overrides, "store": storage.store_root(), "tune": tune}


def compile_pipeline(config: RunConfig) -> str:
    """The pipeline as YAML, the same text for the same `config.cluster`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(build_pipeline(config), str(path))
        return path.read_text(encoding="utf-8")


def run_here(config: RunConfig, arguments: dict[str, Any], root: Path = ROOT) -> None:
    """Run the pipeline's steps one by one as processes of this machine, through kfp's own local runner.

    Args:
        root: folder of the checkout that the steps import.

    Raises:
        RuntimeError: a step failed; it is named.
    """
    with tempfile.TemporaryDirectory() as folder:
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder, raise_on_error=True)
        warnings.filterwarnings("ignore", module=r"kfp\.local")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        build_pipeline(config)(**arguments, target="local")


def _send(config: RunConfig, arguments: dict[str, Any], name: str, endpoint: str) -> Submitted:
    warnings.filterwarnings("ignore", module=r"kfp\.client")
    client = kfp.Client(host=endpoint)
    matching = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": name}]})
    for run in client.list_runs(filter=matching).runs or []:
        if run.state in STANDING:
            return _submitted(name, run.state, run.run_id, sent=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        path.write_text(compile_pipeline(config), encoding="utf-8")
        run = client.create_run_from_pipeline_package(
            str(path),
            arguments=arguments,
            run_name=name,
            experiment_name="aunet",
            enable_caching=False,
            service_account=config.cluster.service_account,
        )
    return _submitted(name, "PENDING", run.run_id, sent=True)


def _submitted(name: str, status: str, run_id: str | None, sent: bool) -> Submitted:
    return Submitted(submission_id=name, target="kubeflow", status=status, run_id=run_id, sent=sent)


def build_pipeline(config: RunConfig) -> Any:
    """The pipeline, with the image and the Secret of `config.cluster`; everything else is a parameter.

    The source of each component becomes part of the compiled pipeline: it imports what it needs.
    """
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
        """A step, never restored from the cache since its work is in the store; credentials by reference."""
        kubernetes.use_secret_as_env(task, config.cluster.secret, {name: name for name in SECRET_KEYS}, optional=True)
        return task.set_caching_options(False).set_display_name(name)

    @dsl.pipeline(name="aunet", description="AUNet: raw data to registered model")
    def aunet(
        preset: str,
        overrides: str = "{}",
        store: str = "",
        target: str = "kuberay",
        tune: bool = False,
        min_pq: float = 0.0,
    ) -> None:
        common = {"preset": preset, "target": target, "store": store}
        recorded = step("outcome", outcome(preset=preset, store=store))
        with dsl.ExitHandler(recorded, name="main job"):
            prepared = step("preprocess", stage(verb="preprocess", overrides=overrides, **common))
            with dsl.If(tune == True, name="tune"):  # noqa: E712 - becomes a condition of the pipeline
                tuned = step("tune", search(overrides=overrides, **common)).after(prepared)
            with dsl.Else(name="no tune"):
                kept = step("keep the settings", keep(overrides=overrides)).after(prepared)
            chosen = dsl.OneOf(tuned.output, kept.output)
            trained = step("train", stage(verb="train", overrides=chosen, **common))
            measured = step("evaluate", measure(overrides=chosen, **common)).after(trained)
            with dsl.If(measured.outputs["Output"] >= min_pq, name="good enough"):
                step("register", stage(verb="register", overrides=chosen, **common | {"target": "local"}))

    return aunet
