"""Backbones, one file an architecture."""

from smallvit.backbones.dhvt import DHVT
from smallvit.backbones.plain_vit import PlainViT

__all__ = [
    "DHVT",
    "PlainViT",
]
