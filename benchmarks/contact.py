"""The table "contact": what of a job was tried at which home, by the tests that do it. `--run` runs them first.

    python benchmarks/contact.py            what there is a test for
    python benchmarks/contact.py --run      runs them, in minutes to half an hour, and writes what came of each

A cell is `yes` where its test has passed, `NO` where it has failed, `not run` where it was skipped or nobody asked, and
`no test` where there is none.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("submit", "resume after kill", "cancel", "wrong input", "exit code", "model hash")
LOCAL = "tests/pipelines/targets/test_local_jobs.py::"
RAY = "tests/end_to_end/test_ray_job.py::"
RESUME = "tests/faults/test_resume.py::test_a_lost_worker_a_lost_node_and_a_lost_driver_change_nothing"
GROWS = "tests/faults/test_growing_cluster.py::test_a_run_grows_the_cluster_loses_a_node_and_goes_on"
OPERATOR = "tests/end_to_end/test_kuberay.py::"
KUBEFLOW = "tests/end_to_end/test_kubeflow.py::"
SERVER = "tests/pipelines/targets/test_kubeflow_server.py::"
STEPS = "tests/pipelines/targets/test_steps.py::"


def kuberay(version: str) -> tuple[str, ...]:
    """The cells of the stand-in for KubeRay with the CRDs of this version."""
    return (
        f"{OPERATOR}test_a_verb_runs_in_a_pod[{version}]",
        f"{OPERATOR}test_what_was_lost_is_started_again[{version}]",
        f"{OPERATOR}test_a_job_can_be_stopped[{version}]",
        f"{OPERATOR}test_wrong_input_ends_with_its_exit_code_and_one_cluster[{version}]",
        f"{OPERATOR}test_wrong_input_ends_with_its_exit_code_and_one_cluster[{version}]",
        f"{OPERATOR}test_the_main_job_trains_the_same_model[{version}]",
    )


HOMES: dict[str, tuple[str, ...]] = {
    "this machine": (
        f"{LOCAL}test_a_job_leaves_its_log_and_its_exit_code",
        f"{LOCAL}test_a_failed_job_can_be_sent_again_under_its_id",
        f"{LOCAL}test_a_job_can_be_stopped",
        "tests/end_to_end/test_run.py::test_bad_input_is_one_line_and_exit_code_2",
        f"{LOCAL}test_a_job_leaves_its_log_and_its_exit_code",
        RESUME,
    ),
    "Ray head with token": (
        f"{RAY}test_the_main_job_was_a_job_and_left_no_token",
        RESUME,
        "",
        f"{RAY}test_a_failed_job_keeps_its_exit_code_and_can_be_sent_again",
        f"{RAY}test_a_failed_job_keeps_its_exit_code_and_can_be_sent_again",
        RESUME,
    ),
    "Ray that grows": (GROWS, GROWS, "", GROWS, GROWS, ""),
    "KubeRay stand-in 1.5.1": kuberay("v1.5.1"),
    "KubeRay stand-in 1.7.0": kuberay("v1.7.0"),
    "Kubeflow, kfp's local runner": (
        f"{KUBEFLOW}test_the_pipeline_finds_the_run_and_does_the_rest",
        "",
        f"{SERVER}test_a_run_has_a_state_and_can_be_stopped",
        f"{SERVER}test_what_cannot_be_sent_is_reported",
        f"{STEPS}test_a_step_that_fails_names_its_command",
        f"{KUBEFLOW}test_the_pipeline_trains_the_same_model",
    ),
    "inside the built image": ("", "", "", "", "", ""),
}
"""Test by column, of each home; empty: there is none."""


def outcomes(tests: list[str]) -> dict[str, str]:
    """Run the tests. Returns passed, failed or skipped by the test's file and function, with its parameters."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", f"--junitxml={report}", *tests]
        subprocess.run(command, cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    results: dict[str, str] = {}
    for case in cases:
        kinds = {child.tag for child in case}
        came = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        name = f"{str(case.get('classname')).replace('.', '/')}.py::{case.get('name')}"
        for key in {name, name.partition("[")[0]}:
            results[key] = came if results.get(key, "passed") == "passed" else results[key]
    return results


def table(results: dict[str, str]) -> str:
    """The table, in Markdown."""
    words = {"passed": "yes", "failed": "NO", "skipped": "not run"}
    rows = [["home", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    for home, tests in HOMES.items():
        cells = [words.get(results.get(test, ""), "not run") if test else "no test" for test in tests]
        rows.append([home, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    wanted = sorted({test for tests in HOMES.values() for test in tests if test})
    print(table(outcomes(wanted) if "--run" in sys.argv[1:] else {}))
