"""The quality of predictions: panoptic quality, instance AP and mean IoU, in accumulators that add across workers."""
