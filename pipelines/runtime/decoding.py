"""CPUs beside GPUs: those that decode images for a training worker, which Ray does not count."""

from __future__ import annotations

from pipelines.settings.run_config import FeedConfig, TrainConfig


def cpus_of_worker(feed: FeedConfig) -> int:
    """CPUs that a training worker with a GPU keeps busy: its own, and those of the processes that decode beside it."""
    return 1 + (feed.workers if feed.kind == "torch" else 0)


def few_cpus(train: TrainConfig, feed: FeedConfig, num_workers: int, cpus: int, where: str) -> str | None:
    """Why GPUs would wait for images, with the cure; None: there are enough CPUs, or none are used beside GPUs.

    Args:
        num_workers: training workers that share the CPUs.
        where: the CPUs are: "a node has", "cluster.cpus_per_node =".
    """
    each = cpus_of_worker(feed)
    if not train.use_gpu or each == 1 or num_workers * each <= cpus:
        return None
    return (
        f"feed.workers = {feed.workers}: {num_workers} GPUs × {each} CPUs (training, and decoding beside it) = "
        f"{num_workers * each}, but {where} {cpus}, and the GPUs would wait for images; use --feed.workers "
        f"{max(cpus // num_workers - 1, 0)}, or more CPUs"
    )
