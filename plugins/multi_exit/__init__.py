"""Cascades of vision transformers with early exit: train, calibrate, serve."""

from smallvit.plugins.multi_exit.dynamic_vit import DynamicViT, ExitState
from smallvit.plugins.multi_exit.head import MultiExitHead
from smallvit.plugins.multi_exit.reuse import FeatureReuse, RelationReuse, resize_matrix
from smallvit.plugins.multi_exit.sites import ReuseSite, reuse_site

__all__ = [
    "DynamicViT",
    "ExitState",
    "FeatureReuse",
    "MultiExitHead",
    "RelationReuse",
    "ReuseSite",
    "resize_matrix",
    "reuse_site",
]
