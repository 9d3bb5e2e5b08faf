"""The system around the model: one verb per file, each `stage(config, upstream_artifact) -> artifact`."""
