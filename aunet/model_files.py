"""What the files of a model folder are called. Needs no torch."""

WEIGHTS = "model.safetensors"
"""Of a trained network."""
PROGRAM = "model.pt2"
"""An exported network."""
CONFIG = "config.json"
"""Settings of the network, of its input and of fusion, and the categories."""
