"""The table "contact": what of a job was tried at which home, by the tests that do it. `--run` runs them first.

    python benchmarks/contact.py                     what came of the last runs
    python benchmarks/contact.py --run [HOME …]      runs the tests that have not passed with this code, then the same
    python benchmarks/contact.py --run --again       runs all of them

What came of each test is written to `benchmarks/results/contact.json` when it has ended, so that a run that was cut off
goes on where it ended. A cell is `yes` where its test has passed, `NO` where it has failed, `no start` where what it
needs did not start, and `not run` where it was skipped or nobody asked. A model's cell is the SHA-256 of its weights:
the test has compared it with that of the main job on a Ray cluster. The row of the image comes from `make image-test`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import RESULTS, cpu_name
from pipelines.runtime.code_version import code_version
from tests.commands import weights_hash

ROOT = Path(__file__).resolve().parents[1]
RESULT, IMAGE_RESULT = RESULTS / "contact.json", RESULTS / "image.json"
COLUMNS = ("submit", "resume after kill", "cancel", "wrong input", "exit code", "model hash")
IMAGE_KEYS = ("submit", "resume", "cancel", "wrong_input", "exit_codes", "model_hash")
IMAGE_HOME = "inside the built image"
LOCAL = "tests/pipelines/targets/test_local_jobs.py::"
RAY = "tests/end_to_end/test_ray_job.py::"
RESUME = "tests/faults/test_resume.py::test_a_lost_worker_a_lost_node_and_a_lost_driver_change_nothing"
GROWS = "tests/faults/test_growing_cluster.py::test_a_submitted_run_grows_the_cluster_loses_a_node_and_goes_on"
STOPPED = (
    "tests/faults/test_growing_cluster.py::test_the_same_model_comes_out_and_a_stopped_job_gives_its_machines_back"
)
OPERATOR = "tests/end_to_end/test_kuberay.py::"
KUBEFLOW = "tests/end_to_end/test_kubeflow.py::"
SERVER = "tests/pipelines/targets/test_kubeflow_server.py::"
PIPELINE = f"{KUBEFLOW}test_the_compiled_pipeline_trains_the_same_model_on_kuberay[v1.7.0]"
CONTROL = f"{KUBEFLOW}test_without_a_setting_that_the_pipeline_carries_its_first_step_is_wrong_input"


def kuberay(version: str) -> tuple[str, ...]:
    """The tests of the stand-in for KubeRay with the CRDs of this version."""
    return (
        f"{OPERATOR}test_a_verb_runs_in_a_pod[{version}]",
        f"{OPERATOR}test_the_main_job_trains_the_same_model[{version}]",
        f"{OPERATOR}test_a_job_can_be_stopped[{version}]",
        f"{OPERATOR}test_wrong_input_ends_with_its_exit_code_and_one_cluster[{version}]",
        f"{OPERATOR}test_wrong_input_ends_with_its_exit_code_and_one_cluster[{version}]",
        f"{OPERATOR}test_the_main_job_trains_the_same_model[{version}]",
    )


HOMES: dict[str, tuple[str, ...]] = {
    "this machine": (
        f"{LOCAL}test_a_job_leaves_its_log_and_its_exit_code",
        RESUME,
        f"{LOCAL}test_a_job_can_be_stopped",
        "tests/end_to_end/test_run.py::test_bad_input_is_one_line_and_exit_code_2",
        f"{LOCAL}test_a_job_leaves_its_log_and_its_exit_code",
        RESUME,
    ),
    "Ray head with token": (
        f"{RAY}test_the_main_job_was_a_job_and_left_no_token",
        RESUME,
        f"{RAY}test_a_job_can_be_stopped",
        f"{RAY}test_a_failed_job_keeps_its_exit_code_and_can_be_sent_again",
        f"{RAY}test_a_failed_job_keeps_its_exit_code_and_can_be_sent_again",
        RESUME,
    ),
    "Ray that grows": (GROWS, GROWS, STOPPED, GROWS, GROWS, STOPPED),
    "KubeRay stand-in 1.5.1": kuberay("v1.5.1"),
    "KubeRay stand-in 1.7.0": kuberay("v1.7.0"),
    "Kubeflow stand-in": (
        PIPELINE,
        PIPELINE,
        f"{SERVER}test_a_run_has_a_state_and_can_be_stopped",
        f"{CONTROL}[without_the_store-v1.7.0]",
        f"{CONTROL}[without_the_store-v1.7.0]",
        PIPELINE,
    ),
}
"""Test by column, of each home."""


class Recorder:
    """Keeps what comes of every test, and the hash of the model that the main job trains."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.results = results
        self.model = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Any:
        value = yield
        if fixturedef.argname == "main_job":
            self.model = weights_hash(value.store)
        return value

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        outcome = "error" if report.when != "call" and report.failed else report.outcome
        now = {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "load": round(os.getloadavg()[0], 1)}
        came = {"outcome": outcome, "seconds": round(report.duration, 1), "code": code_version(), **now}
        self.results["tests"][report.nodeid] = {**came, "model_sha256": self.model}
        RESULT.write_text(json.dumps(self.results, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """What is in a file of results; empty where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


def run(homes: list[str], again: bool) -> None:
    """Run the tests of these homes that have not passed with this code; all homes where none is named."""
    results = {"cpu": cpu_name(), "tests": read(RESULT).get("tests", {})}
    wanted = dict.fromkeys(test for home in homes or HOMES for test in HOMES[home])
    done = {
        test
        for name, came in results["tests"].items()
        for test in (name, name.partition("[")[0])
        if (came["outcome"], came["code"]) == ("passed", code_version()) and not again
    }
    if tests := [test for test in wanted if test not in done]:
        os.chdir(ROOT)
        pytest.main(["-q", "-m", "slow or not slow", *tests], plugins=[Recorder(results)])


def cells(home: str, results: dict[str, Any]) -> list[str]:
    """The cells of a home, in the order of the columns."""
    words = {"passed": "yes", "failed": "NO", "error": "no start"}
    if home == IMAGE_HOME:
        contact = read(IMAGE_RESULT).get("contact", {})
        return [{True: "yes", False: "NO"}.get(contact.get(key), "not run") for key in IMAGE_KEYS]
    row = []
    for column, test in zip(COLUMNS, HOMES[home], strict=True):
        cases = [came for name, came in results.get("tests", {}).items() if name in (test, f"{test}[{_case(name)}]")]
        worst = min((came["outcome"] for came in cases), default="")  # error, failed, passed, skipped
        word = words.get(worst, "not run")
        row.append(f"`{cases[0]['model_sha256'][:8]}`" if (word, column) == ("yes", COLUMNS[-1]) else word)
    return row


def _case(name: str) -> str:
    """The parameters of a test, as they stand in its name."""
    return name.partition("[")[2].removesuffix("]")


def table(results: dict[str, Any]) -> str:
    """The table, in Markdown."""
    rows = [["home", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    rows += [[home, *cells(home, results)] for home in (*HOMES, IMAGE_HOME)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", choices=list(HOMES), metavar="HOME", default=None)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    if options.run is not None:
        run(options.run, options.again)
    print(table(read(RESULT)))
