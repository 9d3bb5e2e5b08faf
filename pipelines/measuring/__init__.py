"""The quality of a model, measured image by image on prepared data."""
