"""Layers shared by several backbones."""

from smallvit.layers.affine import Affine
from smallvit.layers.attention import Attention
from smallvit.layers.block import TransformerBlock
from smallvit.layers.daff import DAFF
from smallvit.layers.head_interaction import HeadInteractedAttention
from smallvit.layers.patch_embed import PatchEmbed
from smallvit.layers.sope import SOPE
from smallvit.layers.talking_heads import TalkingHeadsAttention
from smallvit.layers.token_encoder import TokenPerformer, TokenTransformer
from smallvit.layers.tokens_to_token import TokensToToken

__all__ = [
    "DAFF",
    "SOPE",
    "Affine",
    "Attention",
    "HeadInteractedAttention",
    "PatchEmbed",
    "TalkingHeadsAttention",
    "TokenPerformer",
    "TokenTransformer",
    "TokensToToken",
    "TransformerBlock",
]
