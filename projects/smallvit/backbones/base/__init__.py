"""Base classes of backbones: plain transformers, hierarchical ones, and common functions."""

from smallvit.backbones.base.plain_vit import PlainViT
from smallvit.backbones.base.staged import StageBlock, StagedBackbone, TokenStage

__all__ = ["PlainViT", "StageBlock", "StagedBackbone", "TokenStage"]
