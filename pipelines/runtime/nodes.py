"""The nodes of the cluster that this process is connected to, and what runs on them."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

import ray
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined] # made when it is loaded
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def healthy_resources() -> dict[str, float]:
    """CPUs and GPUs of the nodes that are alive and are not about to be taken away, whoever holds them."""
    return _sum({node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]})


def free_resources() -> dict[str, float]:
    """Those that nobody held a moment ago."""
    return _sum(state.available_resources_per_node())


def _sum(by_node: dict[str, dict[str, float]]) -> dict[str, float]:
    leaving = draining_nodes()
    staying = [resources for node, resources in by_node.items() if node not in leaving]
    return {kind: sum(resources.get(kind, 0) for resources in staying) for kind in ("CPU", "GPU")}


def draining_nodes() -> set[str]:
    """Ray's ids of the nodes that are about to be taken away, such as spot nodes; as Ray Train itself asks."""
    return set(state.get_draining_nodes())


def living_nodes() -> set[str]:
    """Ray's ids of the nodes that are alive."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def end_process(pid: int, node: str) -> None:
    """Kill a process on a node, whatever state it is in; does not wait. Ray itself would wait for it to answer."""
    on_node: Any = NodeAffinitySchedulingStrategy(node, soft=False)
    ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=on_node)(_kill).remote(pid)


def give_back(reservation: str) -> None:
    """Free what a placement group holds, if it still exists.

    Ray Train's controller removes the group of its workers, and a helper does where the controller is killed. Where
    both are, as when memory is short, Ray keeps it until the driver ends: the next attempt would wait for ever.

    Args:
        reservation: Ray's id of the group.
    """
    group = PlacementGroup(ray.PlacementGroupID(bytes.fromhex(reservation)))
    if placement_group_table(group).get("state", "REMOVED") != "REMOVED":
        remove_placement_group(group)


def free_orphans() -> list[str]:
    """Free the placement groups that Ray keeps although the job and the actor that asked for them are gone.

    Ray frees the groups of a job when it ends, but not those that an actor asks for in its last moment; and Ray Train's
    controller does that when its driver is killed: it takes the end of its workers for theirs, and starts others. Such
    a group holds its CPUs and GPUs until the cluster ends.

    Returns:
        Ray's ids of the groups.
    """
    orphans: list[str] = []
    connected = getattr(state, "_connect_and_get_accessor", None)
    if connected is None:  # private: a later Ray may lack it, and would then have to do without this
        return orphans
    ended = {job["JobID"] for job in state.job_table() if job["IsDead"]}
    for content in connected().get_placement_group_table():
        group = PlacementGroupTableData.FromString(content)
        is_held = group.state != PlacementGroupTableData.REMOVED and not group.is_detached
        if is_held and group.creator_job_id.hex() in ended and not _is_alive(group.creator_actor_id.hex()):
            orphans.append(group.placement_group_id.hex())
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return orphans


def _is_alive(actor: str) -> bool:
    """Whether there is an actor of this id, and it has not ended; the id of none is all ones."""
    return state.actor_table(actor).get("State", "DEAD") != "DEAD"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
