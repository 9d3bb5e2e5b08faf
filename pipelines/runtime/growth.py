"""Clusters that grow: what a job needs is asked for before it starts, and waited for with a bound.

Where workers start from zero, there is nothing that a job could be compared with. So the job asks: a placement group of
the bundles that it needs is a demand that Ray's autoscalers follow; it stands beside those of other jobs, and it goes
with its process. The second autoscaler, which the cluster launcher and KubeRay use, says when it can never meet one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from aunet.documents import read_object
from aunet.errors import InputError, Unavailable
from pipelines.runtime.cluster import is_in_pod, needs
from pipelines.settings.run_config import FeedConfig, TrainConfig

Bundle = dict[str, float]
"""Resources by Ray's names that are needed on one node."""

WAIT_SECONDS = 1800.0
"""How long nodes may take: a machine with GPUs and an image of ten gigabytes needs several minutes."""
SILENCE_SECONDS = 30.0
"""After so long without a sign of an autoscaler there is none."""
SAY_SECONDS = 30.0
"""Between two lines that say what is waited for."""
FIXED = "node_"
"""How Ray begins the names of the types of nodes that it did not start by itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an autoscaler says about a demand."""

    kind: Literal["grows", "never", "silent"]
    trouble: str = ""
    """Why the last node did not start."""


def training_bundles(train: TrainConfig, feed: FeedConfig, num_workers: int) -> list[Bundle]:
    """What a training with so many workers holds at once: a bundle for each of its workers, for the task that measures
    beside it, and for each decoding task."""
    kind = "GPU" if train.use_gpu else "CPU"
    tasks = needs(num_workers, train.use_gpu, feed)["CPU"] - (0 if train.use_gpu else num_workers)
    beside = train.evaluate_every > 0 and train.validate == "beside"
    return [{kind: 1.0}] * (num_workers + beside) + [{"CPU": 1.0}] * tasks


def can_grow() -> bool:
    """Whether this process is connected to a cluster that an autoscaler may make larger; how large, it says when it is
    asked for something."""
    if not _is_connected():
        return False
    try:
        second, first = _reports()
    except Exception:  # noqa: BLE001 - as in `answer_to`
        return False
    return bool(second.autoscaler_state_version) or brings_nodes(first)


def to_grow(wanted: Sequence[Bundle], available: Mapping[str, float]) -> str | None:
    """To what a cluster with these resources would have to grow, in words; None: it holds as much.

    Args:
        available: resources by Ray's names.
    """
    if all(sum(bundle.get(kind, 0) for bundle in wanted) <= available.get(kind, 0) for kind in ("GPU", "CPU")):
        return None
    return (
        f"the cluster has {available.get('GPU', 0):.0f} GPUs and {available.get('CPU', 0):.0f} CPUs and would have to "
        f"grow to {_in_words(wanted)}; whether it can, its autoscaler says when it is asked"
    )


def halved(most: int, least: int = 1) -> list[int]:
    """`most`, half of it and so on, and `least` at the end."""
    numbers = [most]
    while numbers[-1] // 2 > least:
        numbers.append(numbers[-1] // 2)
    return [*numbers, least] if least < most else numbers


def make_room(choices: Sequence[list[Bundle]], seconds: float = WAIT_SECONDS) -> None:
    """Have the cluster grow until it holds the first of `choices` that it can ever hold; does nothing where no
    autoscaler brings more, and gives up after `seconds`: the caller looks at what there is.

    In a pod, lost nodes come back: the least of `choices` is waited for.

    Args:
        choices: the bundles that are wanted, and what would do instead.
    """
    if not _is_connected():
        return
    end = time.monotonic() + seconds
    for choice in choices[-1:] if is_in_pod() else choices:
        with demand(choice) as group:
            if _wait(group, choice, end):
                return


def require(bundle: Bundle, what: str, seconds: float = WAIT_SECONDS) -> None:
    """Have one node of the cluster hold `bundle`.

    Args:
        what: needs it; begins the message.

    Raises:
        InputError, Unavailable: no node holds it, and none that does has come in time.
    """

    def holds() -> bool:
        alive = [node["Resources"] for node in sys.modules["ray"].nodes() if node["Alive"]]
        return any(all(node.get(kind, 0) >= number for kind, number in bundle.items()) for node in alive)

    if not holds():
        make_room([[bundle]], seconds)
    if not holds():
        raise shortage(f"{what}: needs a node with {_in_words([bundle])}, and the cluster has none; use a larger one")


def shortage(message: str) -> InputError | Unavailable:
    """What to raise where a cluster is too small; in a pod it was large enough, and the next one may be again."""
    return Unavailable(f"{message} (its nodes were lost)") if is_in_pod() else InputError(message)


@contextmanager
def demand(wanted: list[Bundle]) -> Iterator[Any]:
    """Ask for `wanted` for as long as the block runs. Gives the placement group that stands for it."""
    util: Any = sys.modules["ray"].util
    group = util.placement_group(wanted)
    try:
        yield group
    finally:
        util.remove_placement_group(group)


def _wait(group: Any, wanted: list[Bundle], end: float, ask: Callable[[str], Answer] | None = None) -> bool:
    """Until the demand is met or `end`; False: it can never be met."""
    ask = ask or answer_to
    began = spoken = time.monotonic()
    while not group.wait(1.0):
        now, answer = time.monotonic(), ask(group.id.hex())
        if answer.kind == "never" or (answer.kind == "silent" and now - began > SILENCE_SECONDS):
            return False
        if now > end:
            return True
        if answer.kind == "grows" and (spoken == began or now - spoken > SAY_SECONDS):
            trouble = f"; the last node did not start: {answer.trouble}" if answer.trouble else ""
            print(
                f"waiting for the cluster to grow: {_in_words(wanted)}, {now - began:.0f} s so far, at most "
                f"{end - began:.0f}{trouble}",
                file=sys.stderr,
                flush=True,
            )
            spoken = now
    return True


def answer_to(group: str) -> Answer:
    """What the autoscaler of this cluster says about a placement group, by its id; in a pod Kubernetes is one."""
    if is_in_pod():
        return Answer("grows")
    try:
        return _answer_to(group)
    except Exception:  # noqa: BLE001 - whatever Ray's internals raise, it is no answer, and the wait has a bound
        return Answer("silent")


def _reports() -> tuple[Any, bytes | None]:
    """What the second autoscaler of this cluster has last reported, and the first; whatever Ray's internals raise."""
    ray: Any = sys.modules["ray"]
    reply = ray.core.generated.autoscaler_pb2.GetClusterStatusReply()
    client = ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
    reply.ParseFromString(client.get_cluster_status(timeout_s=10))
    return reply.autoscaling_state, client.internal_kv_get(b"__autoscaling_status", None)


def _answer_to(group: str) -> Answer:
    second, first = _reports()
    if second.autoscaler_state_version:
        if any(group in gang.details for gang in second.infeasible_gang_resource_requests):
            return Answer("never")
        return Answer("grows", " ".join([failed.reason for failed in second.failed_instance_requests][-1:])[:200])
    return answer_of_first(first)


def answer_of_first(status: bytes | None) -> Answer:
    """What the first autoscaler says, by the state that it last left in Ray's table; it knows no single demand."""
    report = _report(status)
    if not report:
        return Answer("silent")
    if report["pending_launches"] or report["pending_nodes"] or report["failed_nodes"]:
        return Answer("grows")
    return Answer("never" if report["active_nodes"] and not brings_nodes(status) else "silent")


def brings_nodes(status: bytes | None) -> bool:
    """Whether the first autoscaler, by the state that it last left, starts nodes by itself: some have a type of its."""
    return any(not kind.startswith(FIXED) for kind in _report(status).get("active_nodes", ()))


def _report(status: bytes | None) -> dict[str, Any]:
    return read_object(status, "the state of the autoscaler").get("autoscaler_report") or {} if status else {}


def _is_connected() -> bool:
    ray = sys.modules.get("ray")
    return bool(ray and ray.is_initialized())


def _in_words(wanted: Sequence[Bundle]) -> str:
    totals = {kind: sum(bundle.get(kind, 0) for bundle in wanted) for kind in ("GPU", "CPU")}
    return " and ".join(f"{number:.0f} {kind}{'s' * (number != 1)}" for kind, number in totals.items() if number)
