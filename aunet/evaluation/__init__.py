"""What a prediction is worth: panoptic quality, instance AP and mean IoU, as accumulators that add across workers."""
