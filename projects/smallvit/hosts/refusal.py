"""Why a backbone of another class is no host, and the lines that settle it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from torch import nn

from smallvit.hosts.adapters import full_name
from smallvit.hosts.probe import Call


def nothing_kept(ran: Sequence[Call]) -> str:
    """Why none of the modules is a block.

    Args:
        ran (Sequence[Call]): Modules of several layers that took tokens.

    Returns:
        str: What most of those of one class did, with one of them named.
    """
    if not ran:
        return "no module with layers of its own took tokens or maps of the batch"
    kind = Counter(type(call.module) for call in ran).most_common(1)[0][0]
    of_kind = [call for call in ran if type(call.module) is kind]
    call = next((c for c in of_kind if c.kept), of_kind[-1])
    name = f"{call.name} ({kind.__name__})"
    if call.in_place:
        return f"{name} changes in place what it takes"
    if call.alike > 1:
        return f"{name} returns {call.alike} tensors of the shape that it takes"
    if call.times > 1:
        return f"{name} runs {call.times} times"
    if not call.returned:
        return f"{name} returns no tensor"
    return (
        f"none of its modules returns what it takes in shape, e.g. {name} takes "
        f"{call.shape[1:]} and returns {call.returned[0][1:]}"
    )


def refusal(
    host: nn.Module, why: str, candidates: Iterable[str], example: Call | None = None
) -> str:
    """Say why a backbone is no host by itself, with the lines that settle it.

    Args:
        host (nn.Module): The backbone.
        why (str): The reason.
        candidates (Iterable[str]): Names of modules that may be blocks.
        example (Call, optional): One of them that ran. Defaults to None.

    Returns:
        str: A message.
    """
    lists = Counter(name.rpartition(".")[0] for name in candidates if "." in name)
    path = example.name.rpartition(".")[0] if example else ""
    path = path or (lists.most_common(1)[0][0] if lists else "blocks")
    name = full_name(type(host))
    if example is not None and len(example.shape) == 3:
        channels = example.shape[-1]
        how = (
            "      # of a module that runs before, and returns a map with the grid\n"
            "      grid = WatchedGrid(net.patch_embed, lambda module, inputs, output: "
            "output.shape[2:])\n"
        )
        block = f"HostBlock(block, {channels}, grid)"
    else:
        how = ""
        block = 'HostBlock(block, channels, layout="BCHW")'
    return (
        f"{name} is no host by itself: {why}. These lines settle it for modules that return what "
        'they take in shape; a layout is "BCHW", "BHWC" or, with a grid, "BNC":\n'
        f'  @smallvit.hosts.register_host("{name}")\n'
        "  def blocks(net):\n"
        f"{how}"
        f'      return [{block} for block in net.get_submodule("{path}")]'
    )
