"""The system around the model: one verb per file, each `stage(config, upstream_artifact) -> artifact`."""

from pipelines.runtime import lean_imports

lean_imports.install()
