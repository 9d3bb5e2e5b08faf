"""A model behind HTTP: limits, batches, and the model that an alias points to."""
