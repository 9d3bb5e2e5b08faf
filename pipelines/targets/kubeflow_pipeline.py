"""The whole main job as a Kubeflow pipeline (kfp v2), and one tick of `retrain` as another.

preprocess → settle (search, if asked for) → train → evaluate → (register), with an exit handler that leaves the outcome
in the store. A step holds no logic of its own: `pipelines.targets.steps` runs the same commands that people type. The
source of each component becomes part of the compiled pipeline: it imports what it needs.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes

from pipelines.settings.run_config import RunConfig
from pipelines.targets.steps import PARAMETERS, parameter_values

SECRET_KEYS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
)
"""Keys of the cluster's Secret that a step gets as environment variables, where the Secret has them."""
NONE = "{}"
"""No overrides."""


def compile_pipeline(
    config: RunConfig, preset: str, environment: Mapping[str, str], tick: bool = False, overrides: str = NONE
) -> str:
    """The pipeline as YAML, the same text for the same arguments.

    Args:
        environment: variables of every step; the Secret's keys of the same names are left out.
        tick: the pipeline of one tick of `retrain`.
        overrides: JSON of what the configuration changes in the preset, where no parameter of its own says it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        build = build_tick if tick else build_pipeline
        pipeline = build(config, preset, environment, overrides)
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")


class Steps:
    """The components with the step image, and what every step carries."""

    def __init__(self, config: RunConfig, environment: Mapping[str, str]) -> None:
        self.config, self.environment = config, environment
        image = config.cluster.step_image or config.cluster.image or "aunet"
        self.component: Any = dsl.component(base_image=image, install_kfp_package=False)

    def step(self, name: str, task: Any) -> Any:
        """A step, never restored from the cache since its work is in the store; credentials by reference."""
        for key, value in self.environment.items():
            task.set_env_variable(key, value)
        keys = {key: key for key in SECRET_KEYS if key not in self.environment}
        kubernetes.use_secret_as_env(task, self.config.cluster.secret, keys, optional=True)
        if secrets := self.config.cluster.pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(secrets))
        return task.set_caching_options(False).set_display_name(name)

    def stage(self) -> Any:
        """The component that runs any verb, and gives the URI of what it made; of a tick why it did what it did."""

        @self.component
        def stage(verb: str, preset: str, overrides: str, target: str, store: str) -> str:
            from pipelines.targets.steps import run_step

            result = run_step(verb, preset, overrides, target, store)
            return result["reason" if verb == "retrain" else "uri"]

        return stage

    def recorded(self, preset: str, store: str) -> Any:
        """The exit handler's step."""

        @self.component
        def outcome(preset: str, store: str, status: dsl.PipelineTaskFinalStatus) -> None:
            from pipelines.targets.steps import record_outcome

            record_outcome(status.state, status.error_message or "", preset, store)

        return self.step("outcome", outcome(preset=preset, store=store))


def build_pipeline(config: RunConfig, preset: str, environment: Mapping[str, str], overrides: str = NONE) -> Any:
    """The main job. Its parameters have this configuration's values: it can be started from Kubeflow's pages."""
    steps = Steps(config, environment)
    component, step, stage = steps.component, steps.step, steps.stage()

    @component
    def settle(
        preset: str,
        overrides: str,
        target: str,
        store: str,
        tune: bool,
        loss_rpn: float,
        loss_box: float,
        loss_mask: float,
        loss_semantic: float,
        epochs: int,
        batch_size: int,
        lr: float,
        seed: int,
    ) -> str:
        from pipelines.targets.steps import settled

        return settled(
            preset,
            overrides,
            target,
            store,
            tune,
            {
                "loss_rpn": loss_rpn,
                "loss_box": loss_box,
                "loss_mask": loss_mask,
                "loss_semantic": loss_semantic,
                "epochs": epochs,
                "batch_size": batch_size,
                "lr": lr,
                "seed": seed,
            },
        )

    @component
    def fit(preset: str, overrides: str, target: str, store: str, model: dsl.Output[dsl.Model]) -> None:
        from pipelines.targets.steps import train_step

        model.metadata = train_step(preset, overrides, target, store, model.path)

    @component
    def measure(
        preset: str,
        overrides: str,
        target: str,
        store: str,
        metrics: dsl.Output[dsl.Metrics],
        report: dsl.Output[dsl.HTML],
    ) -> float:
        from pipelines.targets.steps import measure_step

        result = measure_step(preset, overrides, target, store, report.path)
        for name, value in result["metrics"].items():
            metrics.log_metric(name, value)
        return result["PQ"]

    values = parameter_values(config)

    @dsl.pipeline(name="aunet", description="AUNet: raw data to registered model")
    def aunet(
        preset: str = preset,
        overrides: str = overrides,
        store: str = environment.get("AUNET_STORE", ""),
        target: str = "kuberay",
        tune: bool = False,
        min_pq: float = 0.0,
        loss_rpn: float = values["loss_rpn"],
        loss_box: float = values["loss_box"],
        loss_mask: float = values["loss_mask"],
        loss_semantic: float = values["loss_semantic"],
        epochs: int = values["epochs"],
        batch_size: int = values["batch_size"],
        lr: float = values["lr"],
        seed: int = values["seed"],
    ) -> None:
        common = {"preset": preset, "target": target, "store": store}
        typed = (loss_rpn, loss_box, loss_mask, loss_semantic, epochs, batch_size, lr, seed)
        with dsl.ExitHandler(steps.recorded(preset, store), name="main job"):
            prepared = step("preprocess", stage(verb="preprocess", overrides=overrides, **common))
            named = dict(zip(PARAMETERS, typed, strict=True))
            chosen = step("settings", settle(overrides=overrides, tune=tune, **common, **named)).after(prepared).output
            trained = step("train", fit(overrides=chosen, **common))
            measured = step("evaluate", measure(overrides=chosen, **common)).after(trained)
            with dsl.If(measured.outputs["Output"] >= min_pq, name="good enough"):
                step("register", stage(verb="register", overrides=chosen, **common))

    return aunet


def build_tick(config: RunConfig, preset: str, environment: Mapping[str, str], overrides: str = NONE) -> Any:
    """One tick of `retrain`, for a recurring run."""
    steps = Steps(config, environment)
    stage = steps.stage()

    @dsl.pipeline(name="aunet-retrain", description="AUNet: one tick of retrain")
    def aunet_retrain(
        preset: str = preset,
        overrides: str = overrides,
        store: str = environment.get("AUNET_STORE", ""),
        target: str = "kuberay",
    ) -> None:
        with dsl.ExitHandler(steps.recorded(preset, store), name="tick of retrain"):
            common = {"preset": preset, "overrides": overrides, "store": store, "target": target}
            steps.step("retrain", stage(verb="retrain", **common))

    return aunet_retrain
