"""Find the blocks of a backbone of any class by one dry run, or say what is not sure.

A block is a module in an ``nn.ModuleList`` or ``nn.Sequential`` (or of the backbone itself) with
two or more layers (where there is none, with one), that runs once and returns tokens of the
shape that it takes. Its form is read off the run; where several readings are left, the backbone
is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts import layout as layouts
from smallvit.hosts.adapters import full_name
from smallvit.hosts.block import HostBlock
from smallvit.hosts.grids import ArgumentGrid, WatchedGrid
from smallvit.hosts.probe import (
    SPOTS,
    Call,
    at_rest,
    channels_for,
    make_images,
    pair,
    record,
    sizes_for,
)
from smallvit.hosts.trial import try_zeros

CONTAINERS = (nn.ModuleList, nn.Sequential)
#: More tokens in front of the patches than this are a sign of a wrong grid.
MAX_EXTRA_TOKENS = 8


@dataclass(frozen=True)
class Found:
    """A block and its form.

    Args:
        call (Call): What it did.
        layout (str): "BNC", "BHWC" or "BCHW".
        hw (tuple[int, int]): Its grid in the dry run.
        source (Call | int | str | tuple, optional): What tells its grid: a module that ran
            before, or an argument. Defaults to None, its shape.
    """

    call: Call
    layout: str
    hw: tuple[int, int]
    source: Call | int | str | tuple | None = None

    @property
    def channels(self) -> int:
        """Channels of its tokens."""
        return self.call.shape[1 if self.layout == "BCHW" else -1]

    @property
    def form(self) -> tuple:
        """What blocks of one stage have in common."""
        return self.layout, self.channels, self.hw


def discover(host: nn.Module) -> list[HostBlock]:
    """Find the blocks of a backbone.

    Args:
        host (nn.Module): A backbone that takes images (B, C, H, W).

    Returns:
        list[HostBlock]: Its blocks, in the order in which they run.

    Raises:
        HostError: If there are none, or their form is not sure; the message has the lines
            that settle it.
    """
    why: list[str] = []
    stopped: list[str] = []
    with at_rest(host):
        for size, channels in product(sizes_for(host), channels_for(host)):
            images = make_images(host, size, channels)
            calls = _run(host, images, stopped)
            found = _choose(calls, size, why) if calls else []
            if found:
                fault = try_zeros(host, _blocks(found), [each.hw for each in found], images[:1])
                if fault:
                    raise HostError(_refusal(host, fault))
                return _blocks(found)
    raise HostError(_refusal(host, (why or stopped or ["it has no modules within"])[0]))


def _candidates(host: nn.Module, layers: int = 1) -> dict[str, nn.Module]:
    """Modules of so many layers that may be blocks, by name."""
    owners = {"": host} | {n: m for n, m in host.named_modules() if isinstance(m, CONTAINERS)}
    return {
        f"{owner}.{child}".lstrip("."): module
        for owner, parent in owners.items()
        for child, module in parent.named_children()
        if not isinstance(module, CONTAINERS)
        and next(module.children(), None) is not None
        and _layers(module) >= layers
    }


def _layers(module: nn.Module) -> int:
    return sum(parameter.ndim > 1 for parameter in module.parameters())


def _run(host: nn.Module, images: Tensor, stopped: list[str]) -> list[Call]:
    try:
        return record(host, images, _candidates(host))
    except Exception as error:
        size = " x ".join(map(str, images.shape[2:]))
        message = f"{type(error).__name__}: {error}".split("\n")[0][:150]
        stopped.append(f"it does not run on a batch of images of {size} alone ({message})")
        return []


def _choose(calls: Sequence[Call], size: tuple[int, int], why: list[str]) -> list[Found]:
    """The blocks, or none and why."""
    for layers in (2, 1):
        ran = [c for c in calls if c.key is not None and _layers(c.module) >= layers]
        found = _of_candidates(ran, calls, size, why)
        if found:
            return found
    return []


def _of_candidates(
    ran: Sequence[Call], calls: Sequence[Call], size: tuple[int, int], why: list[str]
) -> list[Found]:
    same = _without_stages(ran)
    if not same:
        why.append("none of its modules ran once and returned what it took in shape")
        return []
    inner = tuple(f"{call.name}." for call in ran if not _holds(call.name, same))
    sources = [c for c in calls if c.maps and not c.name.startswith(inner)]
    found: list[Found] = []
    unsure: dict[type, str] = {}
    for call in same:
        result = _form(call, sources, size, found)
        if isinstance(result, Found):
            found.append(result)
        else:
            unsure.setdefault(type(call.module), f"{call.name}: {result}")
    why.extend(unsure.values())
    found = _main_stream([f for f in found if type(f.call.module) not in unsure])
    if found and unsure:
        print_log(
            f"hosts: not among the blocks are {'; '.join(unsure.values())}; register_host of "
            "smallvit.hosts adds them",
            logger="current",
            level=logging.WARNING,
        )
    return found


def _holds(name: str, calls: Sequence[Call]) -> bool:
    return any(call.name.startswith(f"{name}.") for call in calls)


def _without_stages(ran: Sequence[Call]) -> list[Call]:
    """What kept its shape, but for what is made of blocks, and then for what is within blocks."""
    same = [call for call in ran if call.kept and call.times == 1]
    kinds = Counter(type(call.module) for call in same)
    for outer in list(kinds):
        prefixes = tuple(f"{call.name}." for call in ran if type(call.module) is outer)
        inside = [
            call
            for call in same
            if call.name.startswith(prefixes) and type(call.module) is not outer
        ]
        lists = Counter((c.name.rpartition(".")[0], type(c.module)) for c in inside)
        more = Counter(type(c.module) for c in inside)
        several = any(number > 1 for number in lists.values())
        if several or any(number > kinds[outer] for number in more.values()):
            same = [call for call in same if type(call.module) is not outer]
    names = {call.name for call in same}
    return [call for call in same if not _parents(call.name) & names]


def _parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts))}


def _form(
    call: Call, sources: Sequence[Call], size: tuple[int, int], found: Sequence[Found]
) -> Found | str:
    """The form of a block, or why it is not sure."""
    if len(call.shape) == 4:
        options = [
            Found(call, layout, layouts.grid_of_map(call.differs[0][None], layout))
            for layout in ("BCHW", "BHWC")
        ]
        options = [f for f in options if _like(f.hw, size)]
    else:
        options = list(_grids(call, sources, size))[:1]
    if not options:
        return f"tokens of shape {call.shape} have no grid of the image's proportions"
    # Attention spreads what differs, so it is asked where a form is seen first.
    if len(options) == 1 and len(call.shape) == 4:
        return options[0]
    if any(option.form == known.form for option in options for known in found):
        options = [o for o in options if any(o.form == known.form for known in found)]
    else:
        options = [option for option in options if _in_place(option)]
    if len(options) == 1:
        return options[0]
    return "its tokens do not lie as the image does" if not options else "two layouts fit"


def _like(hw: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a grid has the proportions of the image, to a cell."""
    rows, columns = hw
    ratio = size[0] / size[1]
    return abs(rows - columns * ratio) <= 1.0 + 0.1 * rows


def _grids(call: Call, sources: Sequence[Call], size: tuple[int, int]):
    tokens = call.shape[1]

    def fits(hw: tuple[int, int]) -> bool:
        return 0 <= tokens - hw[0] * hw[1] <= MAX_EXTRA_TOKENS and _like(hw, size)

    numbers = [(k, v) for k, v in call.plain.items() if type(v) is int]
    for key, value in call.plain.items():
        if (hw := pair(value)) and fits(hw):
            yield Found(call, "BNC", hw, key)
    for (key, rows), (other, columns) in pairwise(numbers):
        if fits((rows, columns)):
            yield Found(call, "BNC", (rows, columns), (key, other))
    for source in sorted(sources, key=lambda each: -each.ended):
        if source.ended < 0 or source.ended > call.began or source.times != 1:
            continue
        for shape in source.maps:
            for hw in {shape[-2:], shape[-3:-1]} if len(shape) == 4 else {shape}:
                if len(hw) == 2 and fits(hw):
                    yield Found(call, "BNC", tuple(hw), source)


def _in_place(found: Found) -> bool:
    """Whether the images differ where they were made to."""
    return all(
        _peak_is_near(_where(differs, found), found.hw, spot)
        for differs, spot in zip(found.call.differs, SPOTS, strict=True)
    )


def _where(differs: Tensor, found: Found) -> Tensor:
    return layouts.to_map(differs[None], found.layout, found.hw)[0].float().mean(0)


def _peak_is_near(where: Tensor, hw: tuple[int, int], spot: tuple[float, float]) -> bool:
    if not where.max() > 0:
        return False
    row, column = divmod(int(where.argmax()), hw[1])
    return all(
        abs(cell + 0.5 - share * side) <= max(1.0, 0.2 * side)
        for cell, share, side in zip((row, column), spot, hw, strict=True)
    )


def _main_stream(found: list[Found]) -> list[Found]:
    """Of streams that run in turn, the one that begins first; of the others, nothing."""
    kept: list[Found] = []
    others: set[tuple] = set()
    rest = found
    while rest:
        first = rest[0].form
        last = max(i for i, each in enumerate(rest) if each.form == first)
        kept += [each for each in rest[: last + 1] if each.form == first]
        others |= {each.form for each in rest[: last + 1]} - {first}
        rest = [each for each in rest[last + 1 :] if each.form not in others]
    return kept


def _blocks(found: Sequence[Found]) -> list[HostBlock]:
    grids: dict[Any, Any] = {None: None}
    stage, blocks = 0, []
    for index, each in enumerate(found):
        stage += index > 0 and each.form != found[index - 1].form
        key = id(each.source) if isinstance(each.source, Call) else each.source
        if isinstance(each.source, Call):
            read = partial(read_shape, like=_pick(each))
            grids.setdefault(key, WatchedGrid(each.source.module, read))
        elif key is not None:
            grids.setdefault(key, ArgumentGrid(key))
        extra = each.call.shape[1] - each.hw[0] * each.hw[1] if each.layout == "BNC" else 0
        blocks.append(
            HostBlock(
                *(each.call.module, each.channels, grids[key], each.layout, int(stage), extra),
                key=each.call.key,
                item=each.call.item,
            )
        )
    return blocks


def _pick(found: Found) -> tuple[int, int | None]:
    """Which of the shapes that the source returned, and where in it the height is."""
    for index, shape in enumerate(found.source.maps):
        if len(shape) == 2 and tuple(shape) == found.hw:
            return index, None
        for at in (2, 1):
            if len(shape) == 4 and shape[at : at + 2] == found.hw:
                return index, at
    raise HostError(f"{found.source.name} returned no grid {found.hw}")


def read_shape(
    module: nn.Module, inputs: tuple, output: Any, like: tuple[int, int | None]
) -> tuple[int, int]:
    """Read a grid off what a module returned.

    Args:
        module (nn.Module): The module.
        inputs (tuple): What it took.
        output (Any): What it returned: maps, or pairs of numbers among them.
        like (tuple[int, int | None]): Number among the maps and pairs, and the axis of the
            height, None for a pair.

    Returns:
        tuple[int, int]: Height and width.
    """
    items = output if isinstance(output, (tuple, list)) and not pair(output) else [output]
    maps = [x for x in items if pair(x) or (isinstance(x, Tensor) and x.ndim == 4)]
    index, axis = like
    return tuple(maps[index] if axis is None else maps[index].shape[axis : axis + 2])


def _refusal(host: nn.Module, why: str) -> str:
    lists = Counter(name.rpartition(".")[0] for name in _candidates(host) if "." in name)
    path = lists.most_common(1)[0][0] if lists else "blocks"
    name = full_name(type(host))
    return (
        f"{name} is no host by itself: {why}. These lines settle it, where the layout is "
        '"BCHW", "BHWC" or, with a grid=WatchedGrid(module, read), "BNC":\n'
        f'  @smallvit.hosts.register_host("{name}")\n'
        "  def blocks(net):\n"
        '      return [HostBlock(block, channels, layout="BCHW") for block in '
        f'net.get_submodule("{path}")]'
    )
