"""Error messages for unsupported backbones, with the code that registers them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from torch import nn

from smallvit.hosts.adapters import full_name
from smallvit.hosts.probe import Call

#: Requirements that registration alone does not meet, by a part of the reason.
_FIRST = {
    "in place": "A block must not modify its input, which a shortcut reads afterwards.",
    "raster order": "A block must receive the patches row by row, without other tokens in between.",
    "received tokens or maps": "A block must be a module whose forward is called with tokens "
    "(B, N, C) or a map (B, C, H, W) or (B, H, W, C); other orders of the axes cannot be "
    "registered.",
    "returns no tensor": "A block must return its tokens, or a tuple or dict with them.",
    "no gradient": "A block must run with gradients in training.",
    "not deterministic": "In evaluation mode, the output of a backbone must depend only on the "
    "images.",
}


def example_of(ran: Sequence[Call]) -> Call | None:
    """Select a call of the most frequent module class, or None if there are no calls."""
    if not ran:
        return None
    kind = Counter(type(call.module) for call in ran).most_common(1)[0][0]
    of_kind = [call for call in ran if type(call.module) is kind]
    return next((c for c in of_kind if c.kept), of_kind[-1])


def nothing_kept(ran: Sequence[Call]) -> str:
    """Explain why none of the modules is a block.

    Args:
        ran (Sequence[Call]): Recorded calls of candidate blocks that received tokens.

    Returns:
        str: Reason for the most frequent module class, with the name of one module.
    """
    call = example_of(ran)
    if call is None:
        return "no module with layers received tokens or maps of the batch"
    name = f"{call.name} ({type(call.module).__name__})"
    if call.in_place:
        return f"{name} modifies its input in place"
    if call.alike > 1:
        return f"{name} returns {call.alike} tensors of the shape of its input"
    if call.times > 1:
        return f"{name} runs {call.times} times"
    if not call.returned:
        return f"{name} returns no tensor"
    return (
        f"none of its modules keeps the shape of its input, e.g. {name} maps "
        f"{call.shape[1:]} to {call.returned[0][1:]}"
    )


def refusal(
    host: nn.Module, why: str, candidates: Iterable[str], example: Call | None = None
) -> str:
    """Explain why a backbone is not recognized as a host, with code that registers it.

    Args:
        host (nn.Module): Backbone that was not recognized.
        why (str): Reason, as in "... is not supported as a host: {why}".
        candidates (Iterable[str]): Names of modules that may be blocks.
        example (Call, optional): Recorded call of a candidate, for the suggested code.
            Defaults to None.

    Returns:
        str: Error message.
    """
    lists = Counter(name.rpartition(".")[0] for name in candidates if "." in name)
    path = example.name.rpartition(".")[0] if example else ""
    path = path or (lists.most_common(1)[0][0] if lists else "blocks")
    name = full_name(type(host))
    if example is not None and len(example.shape) == 3:
        channels = example.shape[-1]
        how = (
            "      # a module that runs earlier and returns a map with the grid\n"
            "      grid = WatchedGrid(net.patch_embed, lambda module, inputs, output: "
            "output.shape[2:])\n"
        )
        block = f"HostBlock(block, {channels}, grid{_more_of(example)})"
    else:
        how = ""
        block = f'HostBlock(block, channels, layout="BCHW"{_more_of(example)})'
    first = next(
        (f"{advice} Then these" for part, advice in _FIRST.items() if part in why), "These"
    )
    return (
        f"{name} is not supported as a host: {why}.\n{first} lines register modules that keep the "
        'shape of their input; the layout is "BCHW", "BHWC" or, with a grid, "BNC":\n'
        f'  @smallvit.hosts.register_host("{name}")\n'
        "  def blocks(net):\n"
        f"{how}"
        f'      return [{block} for block in net.get_submodule("{path}")]'
    )


def _more_of(example: Call | None) -> str:
    """Format ``key`` and ``item`` of a HostBlock, if they differ from the defaults."""
    if example is None:
        return ""
    key = "" if example.key in (0, None) else f", key={example.key!r}"
    return key if example.item is None else f"{key}, item={example.item!r}"
