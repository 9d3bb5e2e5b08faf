"""Metrics of a run, and what is deployed to look at them: every name in it is one that the code exports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.runtime.run_metrics import GAUGES, TAGS, TICK_HELD, RunMetrics, tick_ended
from pipelines.store.history import History
from pipelines.training.record import RunRecord
from tests.commands import ROOT

FOLDER = ROOT / "deploy" / "observability"
OF_KUBERNETES = {
    "kube_job_status_failed",
    "kube_cronjob_created",
    "kube_cronjob_status_active",
    "kube_cronjob_status_last_schedule_time",
    "kube_cronjob_status_last_successful_time",
    "kube_cronjob_spec_suspend",
}
"""Metrics of kube-state-metrics that the alerts read."""
STEP = {
    "kind": "step",
    "step": 10,
    "steps": 100,
    "at": 5.0,
    "epoch": 0.5,
    "loss": 2.0,
    "lr": 0.01,
    "rpn": 0.1,
    "box": 0.2,
    "mask": 0.3,
    "semantic": 0.4,
    "images_per_s": 12.5,
    "input_wait": 0.25,
    "memory_gb": 3.0,
    "eta_s": 60.0,
    "unsaved_s": 7.0,
}


class Gauges:
    """What was set, by name."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.tags: dict[str, str] = {}

    def make(self, name: str, description: str, tag_keys: tuple[str, ...]) -> Any:
        gauges = self

        class OneGauge:
            def set(self, value: float, tags: dict[str, str]) -> None:
                assert tuple(tags) == tag_keys and description
                gauges.values[name], gauges.tags = value, tags

        return OneGauge()


def test_a_run_is_exported() -> None:
    gauges = Gauges()
    metrics = RunMetrics("coco_r50", "abc", lambda: 0.9, gauge=gauges.make)
    for event in (
        {"kind": "start", "step": 0, "at": 1.0},
        STEP,
        {"kind": "evaluation", "step": 10, "at": 6.0, "PQ": 30.0, "PQ_th": 31.0, "PQ_st": 29.0},
        {"kind": "checkpoint", "step": 10, "at": 7.0, "seconds": 1.5},
        {"kind": "failure", "step": 10, "at": 8.0, "rank": 1, "error": "x"},
        {"kind": "restart", "step": 10, "at": 9.0},
        {"kind": "end", "step": 100, "at": 10.0},
    ):
        metrics(event)
    assert gauges.values.keys() == GAUGES.keys() and gauges.tags == dict(zip(TAGS, ("coco_r50", "abc"), strict=True))
    expected = {
        "aunet_loss": 2.0,
        "aunet_pq_things": 31.0,
        "aunet_images_per_second": 12.5,
        "aunet_goodput_ratio": 0.9,
        "aunet_attempts": 2.0,
        "aunet_failures": 1.0,
        "aunet_finished": 1.0,
        "aunet_event_timestamp_seconds": 10.0,
    }
    assert {name: gauges.values[name] for name in expected} == expected


def test_what_cannot_be_exported_does_not_reach_the_run() -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("no agent")

    metrics = RunMetrics("x", "y", gauge=broken)
    metrics(STEP)
    metrics({"kind": "step", "loss": "nan?", "at": None})
    metrics({})
    tick_ended("x", held=True, gauge=broken)


def test_a_record_tells_its_metrics(tmp_path: Path) -> None:
    gauges = Gauges()
    record = RunRecord(History(str(tmp_path)), [])
    record.listeners = [RunMetrics("x", "y", record.goodput, gauge=gauges.make)]
    record.add("start", 0)
    record.see({**STEP, "forward_ms": 5.0})
    assert gauges.values["aunet_step"] == 10 and 0 < gauges.values["aunet_goodput_ratio"] <= 1


def test_a_held_tick_is_exported() -> None:
    gauges = Gauges()
    tick_ended("coco_r50", held=True, gauge=gauges.make)
    assert gauges.values == {TICK_HELD: 1.0} and gauges.tags == {"configuration": "coco_r50"}


def expressions(plain: Any) -> list[str]:
    """Every PromQL expression in a document."""
    if isinstance(plain, dict):
        own = [plain[key] for key in ("expr", "query") if isinstance(plain.get(key), str)]
        return own + [text for value in plain.values() for text in expressions(value)]
    return [text for value in plain for text in expressions(value)] if isinstance(plain, list) else []


def names_in(texts: list[str]) -> set[str]:
    return {name for text in texts for name in re.findall(r"\b(?:ray_|kube_)\w+", text)}


def test_the_dashboard_shows_what_is_exported() -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    names = names_in(expressions(dashboard))
    assert names == {f"ray_{name}" for name in GAUGES} - {"ray_aunet_epoch", "ray_aunet_finished"} - {
        "ray_aunet_event_timestamp_seconds"
    }
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) and all(panel["targets"] for panel in panels)
    boxes = [panel["gridPos"] for panel in panels]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    cells = [(x, y) for b in boxes for x in range(b["x"], b["x"] + b["w"]) for y in range(b["y"], b["y"] + b["h"])]
    assert len(cells) == len(set(cells)), "panels overlap"
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {name for text in expressions(dashboard) for name in re.findall(r"\$(\w+)", text)} <= variables


def test_the_alerts_read_what_exists() -> None:
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    assert (rules["apiVersion"], rules["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"]]
    names = names_in([rule["expr"] for rule in alerts])
    assert names <= {f"ray_{name}" for name in (*GAUGES, TICK_HELD)} | OF_KUBERNETES
    assert {"AUNetTickFailed", "AUNetTickMissing", "AUNetTickHeld"} <= {rule["alert"] for rule in alerts}
    for rule in alerts:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_the_pods_are_found_by_labels_that_jobs_have() -> None:
    monitor = yaml.safe_load((FOLDER / "podmonitor.yaml").read_text())
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert monitor["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "aunet"}
    assert [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]
    manifest = yaml.safe_load((ROOT / "jobs/rayjob.yaml").read_text().split("\n---")[0])
    cluster = manifest["spec"]["rayClusterSpec"]
    templates = [cluster["headGroupSpec"]["template"], *(g["template"] for g in cluster["workerGroupSpecs"])]
    assert all(t["metadata"]["labels"]["app.kubernetes.io/name"] == "aunet" for t in templates)


@pytest.mark.parametrize("name", sorted(GAUGES))
def test_names_are_those_of_prometheus(name: str) -> None:
    assert re.fullmatch(r"aunet_[a-z_]+", name) and GAUGES[name].endswith(".")
