"""Raw data, shards of prepared data, and the batches made of them."""
