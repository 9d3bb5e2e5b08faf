"""The network, part by part as in Figure 2 of the paper."""

from aunet.model.attention_maps import AttentionView, attention_views, merge_attention
from aunet.model.aunet import AUNet, Output
from aunet.model.build import build_model
from aunet.model.postprocess import merge_views, mirror, to_predictions

__all__ = [
    "AUNet",
    "AttentionView",
    "Output",
    "attention_views",
    "build_model",
    "merge_attention",
    "merge_views",
    "mirror",
    "to_predictions",
]
