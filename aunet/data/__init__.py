"""Pictures and annotations: reading COCO panoptic data and generating scenes in the same format."""
