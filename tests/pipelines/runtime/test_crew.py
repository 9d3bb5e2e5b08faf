"""Actors that share tasks: each task once, a dead actor replaced, and nothing waits for one that has no room."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.runtime.crew import MAX_DEATHS, Crew


class Worker:
    """Doubles numbers; dies where a file says so."""

    def __init__(self, folder: str) -> None:
        self.folder, self.calls = Path(folder), 0

    def double(self, number: int) -> tuple[int, int]:
        self.calls += 1
        mortal = self.folder / str(number)
        if mortal.exists():
            left = int(mortal.read_text()) - 1
            mortal.write_text(str(left)) if left else mortal.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if number < 0:
            raise InputError(f"{number}: below 0")
        return 2 * number, os.getpid()


def crew_of(folder: Path, size: int, num_cpus: float = 1) -> Crew:
    import ray

    actor: Any = ray.remote(num_cpus=num_cpus)(Worker)
    return Crew(lambda: actor.remote(str(folder)), size)


def doubled(crew: Crew, tasks: list[int]) -> dict[int, tuple[int, int]]:
    results: list[tuple[int, tuple[int, int]]] = list(crew.results(tasks, lambda worker, n: worker.double.remote(n)))
    assert len(results) == len(tasks), "every task once"
    return dict(results)


def test_tasks_are_shared_and_actors_kept(ray_cluster: None, tmp_path: Path) -> None:
    with crew_of(tmp_path, 2) as crew:
        first = doubled(crew, list(range(20)))
        assert {n: result for n, (result, _) in first.items()} == {n: 2 * n for n in range(20)}
        again = doubled(crew, [7])
        assert again[7][1] in {pid for _, pid in first.values()}, "by one that is there already"
        assert doubled(crew, []) == {}


def test_nothing_waits_for_an_actor_that_has_no_room(ray_cluster: None, tmp_path: Path) -> None:
    """The cluster has two CPUs: of five actors of one and a half each, one starts."""
    with crew_of(tmp_path, 5, num_cpus=1.5) as crew:
        assert len({pid for _, pid in doubled(crew, list(range(10))).values()}) == 1


def test_the_task_of_a_dead_actor_is_done_by_another(
    ray_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "3").write_text("2")
    with crew_of(tmp_path, 2) as crew:
        assert doubled(crew, list(range(6)))[3][0] == 6 and crew.deaths == 2
    assert capsys.readouterr().err.count("a worker has died, another one goes on with its task") == 2


def test_a_task_that_kills_everybody_ends_it(ray_cluster: None, tmp_path: Path) -> None:
    from ray.exceptions import RayActorError

    (tmp_path / "3").write_text("99")
    with crew_of(tmp_path, 1) as crew, pytest.raises(RayActorError):
        doubled(crew, [3])
    assert crew.deaths == MAX_DEATHS + 1


def test_what_a_task_raises_is_raised(ray_cluster: None, tmp_path: Path) -> None:
    with crew_of(tmp_path, 2) as crew, pytest.raises(InputError, match="-1: below 0"):
        doubled(crew, [0, -1])
