"""What runs on the nodes of a cluster, and what is left there, on clusters of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import ROOT, Nodes, nodes

GREEDY = '''
import os, threading, time
import ray
from ray.util.placement_group import placement_group

class Greedy:
    """Asks for groups until it is killed, as Ray Train's controller does that starts its workers again."""

    def ask(self):
        for _ in range(4):
            threading.Thread(target=self.ask_on, daemon=True).start()
        return os.getpid()

    def ask_on(self):
        while True:
            placement_group([{"CPU": 0.001}])

ray.init(log_to_driver=False)
greedy = ray.remote(num_cpus=0)(Greedy).remote()
print(ray.get(greedy.ask.remote()), flush=True)
time.sleep(3600)
'''
"""A driver whose groups Ray keeps, more often than not, when it is killed while its actor sleeps."""
LOOK = """
import sys, time
import ray
from pipelines.runtime.nodes import free_orphans
from ray.util.placement_group import placement_group

ray.init(log_to_driver=False)
kept = placement_group([{"CPU": 0.001}])
kept_for_others = placement_group([{"CPU": 0.001}], lifetime="detached", name=sys.argv[1])
ray.get([kept.ready(), kept_for_others.ready()])
print(len(free_orphans()), len(free_orphans()), flush=True)
while ray.available_resources().get("CPU", 0) < 1.9:
    time.sleep(0.1)
ray.get([kept.ready(), kept_for_others.ready()])
"""
"""Frees them, twice; groups of a living job and those that are to outlive theirs stay."""


@pytest.fixture
def cluster() -> Iterator[Nodes]:
    with nodes() as cluster:
        cluster.start_head()
        cluster.start_worker("only", num_cpus=2)
        yield cluster


def script(text: str, *words: str) -> list[str]:
    return [sys.executable, "-c", text, *words]


@pytest.mark.faults
def test_groups_that_ray_keeps_for_a_dead_job_are_freed(cluster: Nodes) -> None:
    environment = {**os.environ, **cluster.reach, "PYTHONPATH": str(ROOT)}
    freed: list[int] = []
    while not any(freed):
        assert len(freed) < 20, "Ray kept no group: is `free_orphans` still needed?"
        with subprocess.Popen(script(GREEDY), stdout=subprocess.PIPE, text=True, env=environment) as driver:
            assert driver.stdout is not None
            actor = int(driver.stdout.readline())
            os.kill(actor, signal.SIGSTOP)  # it hears of its driver's end later
            driver.kill()
        os.kill(actor, signal.SIGCONT)
        while Path(f"/proc/{actor}").exists():
            time.sleep(0.05)
        words = script(LOOK, f"detached-{len(freed)}")
        looked = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
        assert looked.returncode == 0, looked.stderr[-3000:]
        first, second = map(int, looked.stdout.split())
        assert second == 0
        freed.append(first)


def test_what_others_hold_is_not_free(ray_cluster: None) -> None:
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    from pipelines.runtime.nodes import free_resources, healthy_resources

    def wait_for(free: float) -> None:
        end = time.monotonic() + 60
        while free_resources() != {"CPU": free, "GPU": 0}:
            assert time.monotonic() < end, free_resources()
            time.sleep(0.1)

    wait_for(2)
    held = placement_group([{"CPU": 1}])
    ray.get(held.ready())
    wait_for(1)
    assert healthy_resources() == {"CPU": 2, "GPU": 0}
    remove_placement_group(held)
    wait_for(2)
