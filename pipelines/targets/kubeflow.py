"""Pipelines sent to Kubeflow, or run here by kfp's own local runner. `kfp` is an optional extra."""

import json
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import kfp
import urllib3
from kfp import local
from kfp_server_api import ApiException

from aunet.errors import InputError, Unavailable
from pipelines.settings.overrides import differences
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.addresses import check_server, masked
from pipelines.targets.image import image_problem
from pipelines.targets.kubeflow_pipeline import build_pipeline, build_tick, compile_pipeline
from pipelines.targets.patching import with_patch_text
from pipelines.targets.steps import PARAMETERS, ROOT, parameter_values
from pipelines.targets.submission import JOB, State, Submitted, submission
from pipelines.targets.timeouts import limit
from pipelines.targets.waiting import Polls

ENDPOINT = "KF_PIPELINES_ENDPOINT"
"""Environment variable: address of the Kubeflow Pipelines API, or `local`: run the pipeline here, without a cluster."""
TOKEN = "KF_PIPELINES_TOKEN"
"""Environment variable: token of a Kubeflow with several users."""
EXPERIMENT = "aunet"
STANDING = ("SUCCEEDED", "RUNNING", "PENDING")
"""States of an earlier run of the same settings that make another needless; a failed one is sent again and resumes."""
STATES = {"CANCELED": "STOPPED", "CANCELING": "STOPPED", "SKIPPED": "STOPPED", "PAUSED": "PENDING"}
"""Kubeflow's words for states, in Ray's, where they differ."""
POLL_SECONDS = 10.0


def submit_pipeline(
    config: RunConfig, preset: str, verb: str, base: RunConfig, dry_run: bool = False, wait: bool = False
) -> Submitted:
    """Send the pipeline of `preset` to Kubeflow, or run it here; the same settings twice are one run.

    Args:
        verb: `run`; `tune`: with the search for loss weights in it; `retrain`: a recurring run, one tick each.
        base: the preset's own configuration, unchanged.
        dry_run: only return the pipeline's YAML, as `text`.
        wait: until the run has ended.

    Raises:
        InputError: another verb, no endpoint, no image with kfp, or a store that not every step reaches.
        Unavailable: the endpoint does not answer, or refuses.
    """
    if verb not in ("run", "tune", "retrain"):
        raise InputError(
            f"submit {verb} --target kubeflow: the pipeline is the whole main job; write submit run {preset}, or "
            f"submit tune {preset} to search the loss weights first, or submit retrain {preset} for a recurring run"
        )
    config = with_patch_text(config)
    job = submission(config, verb=verb, preset=preset, base=base)
    arguments = pipeline_arguments(config, preset, base, verb)
    environment = {name: value for name, value in job.pod_environment().items() if name != JOB}
    compiled = partial(compile_pipeline, config, preset, environment, verb == "retrain", arguments["overrides"])
    if dry_run:
        return Submitted(submission_id=job.id, target="kubeflow", arguments=arguments, manifest=compiled())
    endpoint = os.environ.get(ENDPOINT)
    if not endpoint:
        raise InputError(f"{ENDPOINT} is not set: give the address of Kubeflow Pipelines, or `local` to run it here")
    if endpoint == "local":
        run_here(config, preset, arguments, verb)
        return Submitted(submission_id=job.id, target="kubeflow", status="SUCCEEDED", sent=True)
    check_server(ENDPOINT, endpoint)  # before a library repeats it
    if problems := list(pipeline_problems(config, arguments["store"])):
        raise InputError(problems)
    jobs = KubeflowJobs(config.cluster.namespace)
    sent = jobs.send_pipeline(job.id, verb, compiled(), arguments, config)
    if not wait or verb == "retrain":
        return sent
    state = jobs.follow(job.id)
    code = 0 if state.status == "SUCCEEDED" else 1
    return replace(sent, status=state.status, message=state.message or None, job_exit_code=code)


def pipeline_problems(config: RunConfig, store: str) -> Iterator[str]:
    """What keeps steps from working in their pods."""
    if not storage.is_remote(store):
        yield f"AUNET_STORE = {store}: name a store that every step reaches, such as s3://bucket/prefix"
    if config.data.shapes is None and not storage.is_remote(config.data.root):
        yield f"data.root = {config.data.root!r}: pods do not see this machine; use s3://bucket/prefix"
    if trouble := image_problem(config.cluster.image):
        yield f"cluster.image = {trouble}"
    if trouble := image_problem(config.cluster.step_image):
        yield f"cluster.step_image = {trouble}; its steps need kfp: docker build --target pipeline"


def pipeline_arguments(config: RunConfig, preset: str, base: RunConfig, verb: str) -> dict[str, Any]:
    """The pipeline's parameters for this configuration, a changed `base`."""
    changes = differences(config, base)
    fixed = {"preset": preset, "store": storage.store_root()}
    if verb == "retrain":
        return {**fixed, "overrides": json.dumps(changes, sort_keys=True)}
    others = {name: value for name, value in changes.items() if name not in PARAMETERS.values()}
    typed = parameter_values(config)
    return {**fixed, "overrides": json.dumps(others, sort_keys=True), "tune": verb == "tune", **typed}


def run_here(
    config: RunConfig, preset: str, arguments: Mapping[str, Any], verb: str = "run", root: Path = ROOT
) -> None:
    """Run the pipeline's steps one by one as processes of this machine, through kfp's own local runner.

    Args:
        verb: as for `submit_pipeline`; `retrain`: one tick, now.
        root: folder of the checkout that the steps import.

    Raises:
        RuntimeError: a step failed; it is named.
    """
    with tempfile.TemporaryDirectory() as folder:
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder, raise_on_error=True)
        warnings.filterwarnings("ignore", module=r"kfp\.local")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        build = build_tick if verb == "retrain" else build_pipeline
        build(config, preset, {})(**arguments, target="local")


class Client(kfp.Client):
    """One that waits for no silent server. It asks for the server's health first, and has no setting for this."""

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        limit(self._healthz_api.api_client)  # which is that of all requests
        return super().get_kfp_healthz(sleep_duration)


class KubeflowJobs:
    """Runs of Kubeflow Pipelines at KF_PIPELINES_ENDPOINT, by their names.

    Its methods raise `Unavailable` where the server does not answer, or refuses.

    Args:
        namespace: of the user, where Kubeflow has several.
    """

    def __init__(self, namespace: str, poll_seconds: float = POLL_SECONDS) -> None:
        self.endpoint, self.poll_seconds = os.environ.get(ENDPOINT, ""), poll_seconds
        if self.endpoint in ("", "local"):
            raise InputError(f"{ENDPOINT} is not set: give the address of Kubeflow Pipelines")
        check_server(ENDPOINT, self.endpoint)  # before a library repeats it
        warnings.filterwarnings("ignore", module=r"kfp\.client")
        with self._answering():
            token = os.environ.get(TOKEN) or None
            self.client: Any = Client(host=self.endpoint, existing_token=token)
            self.namespace = namespace if self.client.get_kfp_healthz().multi_user else None

    def send_pipeline(self, name: str, verb: str, text: str, arguments: dict[str, Any], config: RunConfig) -> Submitted:
        """Upload a version of the pipeline and start it once, or make it a recurring run."""
        with self._answering():
            if verb != "retrain" and (run := self._run(name)) is not None and run.state in STANDING:
                return self._submitted(name, run.state, run.run_id, sent=False)
            pipeline_id, version_id = self._upload("aunet-retrain" if verb == "retrain" else "aunet", text)
            experiment = self.client.create_experiment(EXPERIMENT, namespace=self.namespace).experiment_id
            common: dict[str, Any] = {
                "params": arguments,
                "pipeline_id": pipeline_id,
                "version_id": version_id,
                "enable_caching": False,
                "service_account": config.cluster.service_account,
            }
            if verb != "retrain":
                run = self.client.run_pipeline(experiment, name, **common)
                return self._submitted(name, "PENDING", run.run_id, sent=True)
            name = f"retrain-{config.name}"
            before = list(self._recurring(name))
            cron, once = f"0 {config.cluster.schedule}", {"no_catchup": True, "max_concurrency": 1}
            made = self.client.create_recurring_run(experiment, name, cron_expression=cron, **once, **common)
            for old in before:  # which it replaces, once it is there
                self.client.delete_recurring_run(old.recurring_run_id)
            return self._submitted(name, "SCHEDULED", made.recurring_run_id, sent=True)

    def state(self, id: str) -> State | None:
        """How the newest run of this name stands; SCHEDULED for a recurring run."""
        with self._answering():
            if (run := self._run(id)) is not None:
                error = getattr(run.error, "message", "") or ""
                return State(STATES.get(run.state, run.state or "PENDING"), masked(" ".join(error.split()))[:300])
            for recurring in self._recurring(id):
                return State("SCHEDULED", f"recurring run {recurring.status}")
        return None

    def follow(self, id: str) -> State:
        """Wait until the run has ended, also through lost connections; its steps' logs are on Kubeflow's pages."""
        polls, before, state = Polls(), "", State("PENDING")
        while True:
            with polls.look():
                state = self.state(id)
            if state is None:
                raise Unavailable(f"{id}: the run was deleted while it was waited for; submit it again")
            if not polls.failures and state.status != before:
                print(f"{id} · {state.status}", file=sys.stderr)
                before = state.status
            if state.ended:
                return state
            time.sleep(self.poll_seconds)

    def logs(self, id: str) -> str:
        """Where the logs of the steps are."""
        with self._answering():
            run = self._run(id)
        return f"{self.endpoint.rstrip('/')}/#/runs/details/{run.run_id}\n" if run else ""

    def stop(self, id: str) -> None:
        """End the run, or disable the recurring run."""
        with self._answering():
            if (run := self._run(id)) is not None:
                self.client.terminate_run(run.run_id)
            for recurring in self._recurring(id):
                self.client.disable_recurring_run(recurring.recurring_run_id)

    def _run(self, name: str) -> Any:
        listed = self.client.list_runs(filter=_named(name), namespace=self.namespace, sort_by="created_at desc")
        return next(iter(listed.runs or []), None)

    def _recurring(self, name: str) -> list[Any]:
        return self.client.list_recurring_runs(filter=_named(name), namespace=self.namespace).recurring_runs or []

    def _upload(self, name: str, text: str) -> tuple[str, str]:
        """Ids of the pipeline and of the version that holds this text; uploaded where it is not there."""
        version = sha256(text.encode()).hexdigest()[:12]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "pipeline.yaml")
            path.write_text(text, encoding="utf-8")
            # kfp's own look-up by name sees only the pipelines that all users share
            uploaded = self.client.list_pipelines(filter=_named(name), namespace=self.namespace).pipelines
            if not uploaded:
                uploaded = [self.client.upload_pipeline(str(path), name, namespace=self.namespace)]
            pipeline_id = uploaded[0].pipeline_id
            versions = self.client.list_pipeline_versions(pipeline_id, filter=_named(version)).pipeline_versions or []
            if not versions:
                versions = [self.client.upload_pipeline_version(str(path), version, pipeline_id=pipeline_id)]
        return pipeline_id, versions[0].pipeline_version_id

    def _submitted(self, name: str, status: str, run_id: str | None, sent: bool) -> Submitted:
        return Submitted(submission_id=name, target="kubeflow", status=status, run_id=run_id, sent=sent)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (ApiException, urllib3.exceptions.HTTPError, OSError, TimeoutError) as error:
            reason = masked(" ".join(str(error).split()))[:300]
            refused = re.search(r"\b(401|403)\b", reason)
            cure = f"set {TOKEN} to a token of yours" if refused else "start Kubeflow Pipelines or correct it"
            raise Unavailable(f"{ENDPOINT} = {self.endpoint}: {reason}; {cure}") from None


def _named(name: str) -> str:
    """A filter for what is called so."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": name}]})
