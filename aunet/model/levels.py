"""The levels of the feature pyramid that the heads read: P2 … P5."""

LEVELS = ("0", "1", "2", "3")
"""P2 … P5, as torchvision's FPN names them."""
MIN_LEVEL = 2
"""The number of the finest; level i has a stride of 2^i pixels."""
