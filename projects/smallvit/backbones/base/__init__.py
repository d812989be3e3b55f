"""What several backbones inherit: plain transformers, staged ones, and what all of them do."""

from smallvit.backbones.base.plain_vit import PlainViT
from smallvit.backbones.base.staged import StageBlock, StagedBackbone, TokenStage

__all__ = ["PlainViT", "StageBlock", "StagedBackbone", "TokenStage"]
