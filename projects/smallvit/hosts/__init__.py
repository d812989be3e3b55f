"""How a plugin sees a backbone: its blocks, their channels, tokens and maps; and taps on them.

``view_host(backbone).blocks`` are the blocks in order. Each says how many channels it has,
where its grid is found while the host runs, and turns tokens into maps (B, C, H, W) and
back. ``Taps`` read what goes through blocks. ``register_host`` teaches another class.
"""

# The adapters register themselves; they name foreign classes and import none.
from smallvit.hosts import openmmlab, ours, timm_models  # noqa: F401
from smallvit.hosts.grids import ArgumentGrid, WatchedGrid
from smallvit.hosts.layout import add_map, extra_tokens, from_map, to_map
from smallvit.hosts.taps import Taps
from smallvit.hosts.view import (
    HostBlock,
    HostError,
    HostView,
    is_host,
    register_host,
    supported_hosts,
    view_host,
)

__all__ = [
    "ArgumentGrid",
    "HostBlock",
    "HostError",
    "HostView",
    "Taps",
    "WatchedGrid",
    "add_map",
    "extra_tokens",
    "from_map",
    "is_host",
    "register_host",
    "supported_hosts",
    "to_map",
    "view_host",
]
