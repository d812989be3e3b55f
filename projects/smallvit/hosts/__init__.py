"""Uniform view of backbones for plugins: blocks, channels, tokens, feature maps and block parts.

``view_host(backbone).blocks`` are the blocks in execution order. Each provides its number of
channels and the source of its grid in a forward pass, and converts tokens to maps (B, C, H, W)
and back. ``Taps`` record inputs or outputs of blocks. ``plain_tokens`` gives the number of tokens
of a plain transformer without running it, ``block_parts`` the parts of a block,
``attention_projections`` the weights of its attention, and ``position_table`` the
position embeddings. ``register_host``, ``register_plain``, ``register_parts`` and
``register_attention`` add support for other classes.
"""

# Importing the adapters registers them; they refer to third-party classes by name only.
from smallvit.hosts import openmmlab, ours, timm_models  # noqa: F401
from smallvit.hosts.attention import (
    AttentionProjections,
    Projection,
    attention_projections,
    register_attention,
)
from smallvit.hosts.block import HostBlock
from smallvit.hosts.grids import ArgumentGrid, WatchedGrid
from smallvit.hosts.layout import add_map, extra_tokens, from_map, to_map
from smallvit.hosts.masking import MaskedPixels, VisiblePatches
from smallvit.hosts.outputs import dry_output, vector_of
from smallvit.hosts.parts import BlockParts, block_parts, register_parts
from smallvit.hosts.plain import PlainTokens, plain_tokens, register_plain
from smallvit.hosts.positions import PositionTable, position_table
from smallvit.hosts.rest import mark_guest
from smallvit.hosts.taps import Taps
from smallvit.hosts.view import (
    HostError,
    HostView,
    config_types,
    is_host,
    register_host,
    supported_hosts,
    view_host,
)

__all__ = [
    "ArgumentGrid",
    "AttentionProjections",
    "BlockParts",
    "HostBlock",
    "HostError",
    "HostView",
    "MaskedPixels",
    "PlainTokens",
    "PositionTable",
    "Projection",
    "Taps",
    "VisiblePatches",
    "WatchedGrid",
    "add_map",
    "attention_projections",
    "block_parts",
    "config_types",
    "dry_output",
    "extra_tokens",
    "from_map",
    "is_host",
    "mark_guest",
    "plain_tokens",
    "position_table",
    "register_attention",
    "register_host",
    "register_parts",
    "register_plain",
    "supported_hosts",
    "to_map",
    "vector_of",
    "view_host",
]
