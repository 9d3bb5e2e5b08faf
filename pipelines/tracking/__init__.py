"""MLflow: runs, model registry, database. The only room that knows it."""

import os

from pipelines.store.retries import MAX_ATTEMPTS

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
}
"""Used where the environment does not say otherwise. MLflow reads them when it is imported, so they are set before."""
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
