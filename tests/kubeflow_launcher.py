"""A stand-in for Kubeflow's driver and launcher: runs the steps of a compiled pipeline as processes.

What it does follows backend/src/v2 of Kubeflow Pipelines. The driver runs the tasks of a DAG in the order of their
dependencies, gives each its parameters (constants, those of the DAG, outputs of other tasks, the final status of one),
and skips what a condition or a failed task before it rules out. The launcher runs a step's command with
`{{$}}` replaced by its inputs, in an environment of the compiled pipeline alone, Secrets included, in a folder of its
own; then it reads the outputs, and fails the step if it cannot upload an artifact to where that says it is.
"""

from __future__ import annotations

import json
import operator
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\] (>=|<=|==|>|<) inputs\.parameter_values\['([^']+)'\]")
COMPARISONS = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}
TYPES = {"STRING": str, "BOOLEAN": bool, "NUMBER_INTEGER": (int, float), "NUMBER_DOUBLE": (int, float)}
STEP_SECONDS = 1800


@dataclass
class StepRun:
    """A step that was to run."""

    name: str
    """As Kubeflow's page shows it."""
    state: str
    """COMPLETE, FAILED or SKIPPED, as the driver has them."""
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    """Those that it gave."""
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Type, URI and metadata of those that it gave, by name."""
    environment: dict[str, str] = field(default_factory=dict[str, str])
    log: str = ""
    is_cached: bool = False
    """Whether Kubeflow may take its outputs from an earlier run."""
    retries: int = 0
    """How often Kubeflow would run it again."""


class Launcher:
    """Runs one compiled pipeline.

    Args:
        text: the pipeline and its platform part, as YAML.
        folder: for the steps; the pipeline root, to which artifacts are uploaded.
        own: variables that every container has from its image and its cluster.
        secrets: contents of the Secrets by their names.
    """

    def __init__(
        self, text: str, folder: Path, own: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.pipeline, self.platform = yaml.safe_load_all(text)
        self.executors = self.pipeline["deploymentSpec"]["executors"]
        self.folder, self.own, self.secrets = folder, own, secrets
        self.steps: dict[str, StepRun] = {}
        """Those that have been run or skipped, by name, in order."""

    def run(self, arguments: Mapping[str, Any]) -> str:
        """Run the pipeline to its end. Returns COMPLETE or FAILED."""
        return self._run_dag(self.pipeline["root"], arguments)

    def _run_dag(self, component: dict[str, Any], arguments: Mapping[str, Any]) -> str:
        inputs = inputs_of(component, arguments)
        tasks = component["dag"]["tasks"]
        states: dict[str, str] = {}
        outputs: dict[str, dict[str, Any]] = {}
        for name in TopologicalSorter(
            {name: task.get("dependentTasks", []) for name, task in tasks.items()}
        ).static_order():
            task = tasks[name]
            trigger = task.get("triggerPolicy", {})
            is_ready = all(states[other] == "COMPLETE" for other in task.get("dependentTasks", []))
            if not is_ready and trigger.get("strategy") != "ALL_UPSTREAM_TASKS_COMPLETED":
                states[name] = self._skip(task)
                continue
            sources = task.get("inputs", {}).get("parameters", {})
            values = {key: value_of(source, inputs, outputs, states) for key, source in sources.items()}
            if (condition := trigger.get("condition")) and not holds(condition, values):
                states[name] = self._skip(task)
                continue
            below = self.pipeline["components"][task["componentRef"]["name"]]
            if "dag" in below:
                states[name] = self._run_dag(below, values)
            else:
                step = self._run_step(task, below, values)
                states[name], outputs[name] = step.state, step.parameters
        return "FAILED" if "FAILED" in states.values() else "COMPLETE"

    def _skip(self, task: dict[str, Any]) -> str:
        name = task["taskInfo"]["name"]
        self.steps[name] = StepRun(name, "SKIPPED")
        return "SKIPPED"

    def _run_step(self, task: dict[str, Any], component: dict[str, Any], values: dict[str, Any]) -> StepRun:
        name, label = task["taskInfo"]["name"], component["executorLabel"]
        folder = self.folder / name.replace(" ", "-")
        (folder / "work").mkdir(parents=True)
        defined = component.get("outputDefinitions", {})
        artifacts = {
            key: {"name": key, "type": kind["artifactType"], "uri": str(folder / "artifacts" / key), "metadata": {}}
            for key, kind in defined.get("artifacts", {}).items()
        }
        executor_input = {
            "inputs": {"parameterValues": inputs_of(component, values)},
            "outputs": {
                "parameters": {key: {"outputFile": str(folder / "out" / key)} for key in defined.get("parameters", {})},
                "artifacts": {key: {"artifacts": [artifact]} for key, artifact in artifacts.items()},
                "outputFile": str(folder / "executor_output.json"),
            },
        }
        container = self.executors[label]["container"]
        words = [
            word.replace("{{$}}", json.dumps(executor_input)) for word in (*container["command"], *container["args"])
        ]
        step = StepRun(
            name,
            "COMPLETE",
            environment=self.environment_of(label),
            is_cached=task.get("cachingOptions", {}).get("enableCache", False),
            retries=task.get("retryPolicy", {}).get("maxRetryCount", 0),
        )
        self.steps[name] = step
        done = subprocess.run(
            words,
            env={**self.own, **step.environment},
            cwd=folder / "work",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        step.log = done.stdout
        if done.returncode:
            step.state = "FAILED"
            return step
        written = folder / "executor_output.json"
        output = json.loads(written.read_text()) if written.exists() else {}
        step.parameters = typed(defined.get("parameters", {}), output.get("parameterValues", {}))
        for key, artifact in artifacts.items():
            (runtime,) = output.get("artifacts", {}).get(key, {}).get("artifacts") or [{}]
            step.artifacts[key] = {**artifact, **{name: value for name, value in runtime.items() if value}}
            if not str(uri := step.artifacts[key]["uri"]).startswith(str(self.folder)):
                step.state = "FAILED"
                step.log += (
                    f"\nfailed to upload output artifact {key!r}: URI {uri!r} does not have the prefix of the root"
                )
        return step

    def environment_of(self, label: str) -> dict[str, str]:
        """The variables of a step, as the driver makes them of the compiled pipeline and of Secrets."""
        environment = {entry["name"]: entry["value"] for entry in self.executors[label]["container"].get("env", [])}
        kubernetes = self.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].get(label, {})
        for secret in kubernetes.get("secretAsEnv", []):
            content = self.secrets.get(secret["secretName"], {})
            for entry in secret["keyToEnv"]:
                if entry["secretKey"] in content:
                    environment[entry["envVar"]] = content[entry["secretKey"]]
                else:
                    assert secret["optional"], f"the Secret {secret['secretName']} has no {entry['secretKey']}"
        return environment


def inputs_of(component: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a component with their defaults, as the driver writes them: whole numbers without a point."""
    defined = component.get("inputDefinitions", {}).get("parameters", {})
    defaults = {key: kind["defaultValue"] for key, kind in defined.items() if "defaultValue" in kind}
    values = typed(defined, {**defaults, **given})
    lacking = [key for key, kind in defined.items() if key not in values and not kind.get("isOptional")]
    assert not lacking, f"no value for {lacking}"
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in values.items()
    }


def typed(defined: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, each of which is defined and has its type."""
    for key, value in values.items():
        kind = TYPES.get(defined[key]["parameterType"], object)
        assert isinstance(value, kind), f"{key} = {value!r}: want {defined[key]['parameterType']}"
    return dict(values)


def value_of(
    source: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, dict[str, Any]], states: dict[str, str]
) -> Any:
    """A task's parameter from where its specification says that it comes from."""
    ((kind, where),) = source.items()
    if kind == "componentInputParameter":
        return inputs[where]
    if kind == "taskOutputParameter":
        return outputs[where["producerTask"]][where["outputParameterKey"]]
    if kind == "taskFinalStatus":
        task = where["producerTask"]
        return {"state": states[task], "pipelineTaskName": task, "pipelineJobResourceName": "run", "error": {}}
    return where["constant"]


def holds(condition: str, values: dict[str, Any]) -> bool:
    """Whether a condition of the kind that is compiled here is true."""
    match = CONDITION.fullmatch(condition)
    assert match, f"no condition that this stand-in knows: {condition}"
    return bool(COMPARISONS[match[2]](values[match[1]], values[match[3]]))
