"""Readers of the formats that people have, and the writer of the one that is trained on."""
