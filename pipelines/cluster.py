"""One way to reach Ray: an existing session, the cluster that RAY_ADDRESS names, or a quiet local one."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def connect(num_cpus: int | None = None) -> None:
    """Make sure that Ray runs; does nothing when this process is already connected.

    Args:
        num_cpus: logical CPUs of a local Ray that is started here; None: the machine's, at least two.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return
    root = str(Path(__file__).resolve().parent.parent)
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != root]
    code_here = {"env_vars": {"PYTHONPATH": os.pathsep.join([root, *inherited])}}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # then the submission has brought the code along
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=None if is_job else code_here,
        )
        return
    ray.init(
        num_cpus=num_cpus or max(2, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env=code_here,
    )
