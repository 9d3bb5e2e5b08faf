"""The cron fields of a schedule: what Kubernetes and Kubeflow would refuse is refused before it is sent."""

from __future__ import annotations

import pytest

from aunet.errors import InputError
from pipelines.settings.cluster_config import ClusterConfig


@pytest.mark.parametrize(
    "schedule",
    [
        "0 3 * * *",
        "59 23 31 12 6",
        "0 0 1 1 0",
        "*/15 8-18/2 1,15 JAN-mar,12 MON-FRI",
        "5/10 * * * sun",
        "00 03 01 * *",
    ],
)
def test_a_time_is_accepted(schedule: str) -> None:
    assert ClusterConfig(schedule=schedule).schedule == schedule


@pytest.mark.parametrize(
    ("schedule", "mistake"),
    [
        ("99 3 * * *", "its minute is '99'; use *, or 0 to 59,"),
        ("60 3 * * *", "its minute is '60'"),
        ("0 24 * * *", "its hour is '24'; use *, or 0 to 23,"),
        ("0 3 0 * *", "its day is '0'; use *, or 1 to 31,"),
        ("0 3 1-32 * *", "its day is '1-32'"),
        ("0 3 * 13 *", "its month is '13'; use *, or 1 to 12,"),
        ("0 3 * MON *", "its month is 'MON'"),
        ("0 3 * * 7", "its weekday is '7'; use *, or 0 to 6,"),
        ("0 3 * * FRI-MON", "its weekday is 'FRI-MON'"),
        ("*/0 3 * * *", "its minute is '*/0'"),
        ("1,,2 3 * * *", "its minute is '1,,2'"),
        ("- 3 * * *", "its minute is '-'"),
        ("0 3 * *", "give five cron fields"),
        ("0  3 * * *", "give five cron fields"),
    ],
)
def test_what_is_no_time_is_refused(schedule: str, mistake: str) -> None:
    with pytest.raises(InputError) as refused:
        ClusterConfig(schedule=schedule)
    (problem,) = refused.value.problems
    assert problem.startswith(f"cluster.schedule = {schedule!r}") and mistake in problem
