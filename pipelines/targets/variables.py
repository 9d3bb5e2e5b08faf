"""Every variable of the environment that this project reads: which travel with a job, and which stay where they are."""

from __future__ import annotations

from pipelines.runtime.cluster import GIVEN
from pipelines.runtime.code_version import CODE

TRAVELS = (
    *("AUNET_STORE", "AUNET_COCO", "AUNET_CITYSCAPES", "AUNET_SAMPLE_DATA", "AUNET_OPS_BUILD", "AUNET_OPS_ISA"),
    *("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"),
)
"""Variables that a job receives from here, and no others: a name tells nobody whether a value is secret."""
JOB = "AUNET_JOB"
"""In a pod: the id of its job."""
STAYS = {
    "credentials, which every target has of its own": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "KF_PIPELINES_TOKEN"),
    ),
    "where jobs are sent to": (
        *("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "KF_PIPELINES_ENDPOINT"),
        *("KUBECONFIG", "KUBERNETES_SERVICE_HOST"),
    ),
    "what a pod, or a job of Ray, is told of itself": (GIVEN, CODE, JOB, "RAY_JOB_CONFIG_JSON_ENV_VAR"),
    "the machine, its folders and its compilers": (
        *("PYTHONPATH", "RAY_TMPDIR", "TMPDIR", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES"),
        *("CUDA_HOME", "CXX", "TORCH_CUDA_ARCH_LIST"),
    ),
    "what this project sets for its own processes, where nobody else has": (
        *("AUNET_SERVE_MAX_BYTES", "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "PYTHONUNBUFFERED"),
        *("AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS", "GIT_PYTHON_REFRESH"),
        *("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL"),
        *("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"),
        *("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_AIR_NEW_OUTPUT", "RAY_DATA_DISABLE_PROGRESS_BARS"),
        *("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "RAY_USAGE_STATS_ENABLED"),
        *("RAY_gcs_server_port_wait_time_s", "RAY_raylet_start_wait_time_s", "RAY_worker_maximum_startup_concurrency"),
        *("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_SIGINT_HANDLER"),
    ),
}
"""Variables that no job receives, by the reason."""
