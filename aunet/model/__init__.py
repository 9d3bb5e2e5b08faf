"""The network, part by part as in Figure 2 of the paper."""

from aunet.model.aunet import AUNet, Output
from aunet.model.build import build_model
from aunet.model.postprocess import merge_views, mirror, to_predictions

__all__ = ["AUNet", "Output", "build_model", "merge_views", "mirror", "to_predictions"]
