"""The cluster that this process talks to, the progress of its work, and the version of its code."""

import os

QUIET = {
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""Used where the environment does not say otherwise. Ray reads them when it is imported, so they are set before."""
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
