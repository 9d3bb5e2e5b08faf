"""The configuration of a run, its changes by dotted name, and what presets are built and derived from."""
