"""How a plugin sees a backbone: its blocks, their channels, tokens, maps and parts.

``view_host(backbone).blocks`` are the blocks in order. Each says how many channels it has,
where its grid is found while the host runs, and turns tokens into maps (B, C, H, W) and
back. ``Taps`` read what goes through blocks. ``plain_tokens`` tells of a plain transformer
how many tokens there will be, ``block_parts`` where the parts of a block are,
``attention_projections`` where its attention keeps its weights, ``position_table`` where the
position embeddings are. ``register_host``, ``register_plain``, ``register_parts`` and
``register_attention`` teach other classes.
"""

# The adapters register themselves; they name foreign classes and import none.
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
