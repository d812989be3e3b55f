"""Infer a block's token layout, its grid and the source of the grid from a dry run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts import layout as layouts
from smallvit.hosts.block import HostBlock
from smallvit.hosts.grids import ArgumentGrid, WatchedGrid
from smallvit.hosts.probe import FEW, SPOTS, Call, pair

#: A larger number of tokens before the patches indicates a wrong grid.
MAX_EXTRA_TOKENS = FEW
#: Fractions of changed cells that must be found at their token; EXACT is lower because the
#: convolutions of an embedding blur the change, and NEAR also accepts adjacent tokens.
EXACT, NEAR = 0.6, 0.9

_DISORDER = "its tokens are not in raster order"

#: Maps a block and a grid to pairs of a changed cell and the token that differs most.
SingleSpots = Callable[[Call, tuple[int, int]], list[tuple[int, int]]]


@dataclass(frozen=True)
class OfImage:
    """Grid that no module returns: the image size divided by the patch size.

    Args:
        call (Call): Call of the first module that takes the images.
        patch (int): Height and width of a patch.
    """

    call: Call
    patch: int


@dataclass(frozen=True)
class Found:
    """A block and its token layout.

    Args:
        call (Call): Recorded call of the block.
        layout (str): Token layout, "BNC", "BHWC" or "BCHW".
        hw (tuple[int, int]): Height and width of its grid in the dry run.
        source (Call | OfImage | int | str | tuple, optional): Source of its grid: a module that
            runs earlier, the image, or an argument. Defaults to None: the shape of its tokens.
        behind (int): Number of its extra tokens after the patches. Defaults to 0.
    """

    call: Call
    layout: str
    hw: tuple[int, int]
    source: Call | OfImage | int | str | tuple[int | str, int | str] | None = None
    behind: int = 0

    @property
    def channels(self) -> int:
        """Number of channels of its tokens."""
        return self.call.shape[1 if self.layout == "BCHW" else -1]

    @property
    def extra(self) -> int:
        """Number of extra tokens before and after its patches."""
        return self.call.shape[1] - self.hw[0] * self.hw[1] if self.layout == "BNC" else 0

    @property
    def form(self) -> tuple:
        """Properties that the blocks of a stage share."""
        return self.layout, self.channels, self.hw


def form_of(
    call: Call,
    sources: Sequence[Call],
    size: tuple[int, int],
    found: Sequence[Found],
    single_spots: SingleSpots,
) -> Found | str:
    """Infer the token layout of a block, or the reason why it is ambiguous.

    Args:
        call (Call): Recorded call of the block.
        sources (Sequence[Call]): Calls of modules that may be the source of its grid.
        size (tuple[int, int]): Height and width of the images.
        found (Sequence[Found]): Earlier blocks whose layout is known.
        single_spots (SingleSpots): Called for the first block with tokens (B, N, C) to find the
            order of its patches.

    Returns:
        Found | str: The block with its layout, or the reason why it is ambiguous.
    """
    if len(call.shape) == 4:
        return _form_of_maps(call, size, found)
    options = list(_grids(call, sources, size))[:1]
    if not options:
        return f"tokens of shape {call.shape} fit no grid with the aspect ratio of the image"
    option = options[0]
    for known in reversed(found):
        if option.form == known.form and option.extra == known.extra:
            return replace(option, behind=known.behind)
    if not option.extra and any(known.layout == "BNC" for known in found):
        return option if _in_place(option) else _DISORDER
    return _in_order(option, single_spots(call, option.hw))


def _form_of_maps(call: Call, size: tuple[int, int], found: Sequence[Found]) -> Found | str:
    options = [
        Found(call, layout, layouts.grid_of_map(call.differs[0][None], layout))
        for layout in ("BCHW", "BHWC")
    ]
    options = [option for option in options if _like(option.hw, size)]
    if not options:
        return f"maps of shape {call.shape} fit no grid with the aspect ratio of the image"
    if any(option.form == known.form for option in options for known in found):
        options = [o for o in options if any(o.form == known.form for known in found)]
    elif len(options) > 1 or not found:
        # Attention spreads differences, so the layout is inferred where it first appears.
        options = [option for option in options if _in_place(option)]
    if len(options) == 1:
        return options[0]
    return _DISORDER if not options else "its layout is ambiguous"


def _like(hw: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a grid has the aspect ratio of the image, up to one cell."""
    rows, columns = hw
    ratio = size[0] / size[1]
    return abs(rows - columns * ratio) <= 1.0 + 0.1 * rows


def _grids(call: Call, sources: Sequence[Call], size: tuple[int, int]) -> Iterator[Found]:
    """Grids that match the number of tokens, the most likely first."""
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
                    yield Found(call, "BNC", (hw[0], hw[1]), source)
    yield from _grids_of_image(call, sources, size)


def _grids_of_image(call: Call, sources: Sequence[Call], size: tuple[int, int]) -> Iterator[Found]:
    first = next((s for s in sources if s.sees_images and 0 <= s.ended < call.began), None)
    if first is None:
        return
    for patch in range(min(size), 1, -1):
        rows, columns = (side // patch for side in size)
        whole = rows * patch == size[0] and columns * patch == size[1]
        # Too few tokens are ambiguous: they could be the extra tokens of another grid.
        if whole and rows * columns > 8 and 0 <= call.shape[1] - rows * columns <= MAX_EXTRA_TOKENS:
            yield Found(call, "BNC", (rows, columns), OfImage(first, patch))


def _in_place(found: Found) -> bool:
    """Whether the tokens differ at the positions where the images do."""
    return all(
        _peak_is_near(_where(differs, found), found.hw, spot)
        for differs, spot in zip(found.call.differs, SPOTS, strict=True)
    )


def _where(differs: Tensor, found: Found) -> Tensor:
    return layouts.to_map(differs[None], found.layout, found.hw, found.behind)[0].float().mean(0)


def _peak_is_near(where: Tensor, hw: tuple[int, int], spot: tuple[float, float]) -> bool:
    if not where.max() > 0:
        return False
    row, column = divmod(int(where.argmax()), hw[1])
    return all(
        abs(cell + 0.5 - share * side) <= max(1.0, 0.2 * side)
        for cell, share, side in zip((row, column), spot, hw, strict=True)
    )


def _in_order(found: Found, spots: Sequence[tuple[int, int]]) -> Found | str:
    """Add the number of tokens after the patches, or return why they are not in raster order."""
    if not spots:
        return "it does not support another batch size"
    behind = [found.extra + cell - token for cell, token in spots]
    number, times = Counter(behind).most_common(1)[0]
    # A token between the patches would shift only those after it.
    third = -(-len(spots) // 3)
    parts = [Counter(behind[i : i + third]) for i in range(0, len(spots), third)]
    even = all(part.most_common(1)[0][0] == number for part in parts)
    if times >= EXACT * len(spots) and even and 0 <= number <= found.extra:
        return replace(found, behind=number)
    near = [_is_near(cell, token, found.hw) for cell, token in spots]
    # Without extra tokens the patches cannot be shifted.
    if found.extra == 0 and sum(near) >= NEAR * len(spots):
        return found
    return _DISORDER


def _is_near(cell: int, token: int, hw: tuple[int, int]) -> bool:
    (row, column), (other, there) = divmod(cell, hw[1]), divmod(token, hw[1])
    return abs(row - other) <= 1 and abs(column - there) <= 1


def as_blocks(found: Sequence[Found]) -> list[HostBlock]:
    """Create the blocks of a host from their layouts.

    Args:
        found (Sequence[Found]): Blocks and their layouts in execution order.

    Returns:
        list[HostBlock]: Blocks in the same order; a change of layout, channels or grid starts a
        new stage.
    """
    grids: dict[Any, Any] = {None: None}
    stage, blocks = 0, []
    for index, each in enumerate(found):
        stage += index > 0 and each.form != found[index - 1].form
        key = _key_of(each)
        if key not in grids:
            grids[key] = _grid_of(each)
        blocks.append(
            HostBlock(
                *(each.call.module, each.channels, grids[key], each.layout, int(stage), each.extra),
                key=0 if each.call.key is None else each.call.key,
                item=each.call.item,
                tokens_behind=each.behind,
            )
        )
    return blocks


def _key_of(found: Found) -> Any:
    source = found.source
    if isinstance(source, OfImage):
        return source.call.name, source.patch
    return (source.name, _pick(source, found.hw)) if isinstance(source, Call) else source


def _grid_of(found: Found) -> ArgumentGrid | WatchedGrid | None:
    source = found.source
    if source is None:
        return None
    if isinstance(source, OfImage):
        return WatchedGrid(source.call.module, partial(read_image, patch=source.patch))
    if isinstance(source, Call):
        return WatchedGrid(source.module, partial(read_shape, like=_pick(source, found.hw)))
    return ArgumentGrid(source)


def _pick(source: Call, hw: tuple[int, int]) -> tuple[int, int | None]:
    """Index of the grid among the shapes that the source returned, and the axis of the height."""
    for index, shape in enumerate(source.maps):
        if len(shape) == 2 and tuple(shape) == hw:
            return index, None
        for at in (2, 1):
            if len(shape) == 4 and shape[at : at + 2] == hw:
                return index, at
    raise HostError(f"{source.name} did not return the grid {hw}")


def read_image(module: nn.Module, inputs: tuple, output: Any, patch: int) -> tuple[int, int]:
    """Read a grid from the image that a module received.

    Args:
        module (nn.Module): Module that received the image, unused.
        inputs (tuple): Positional arguments of its forward, with the image.
        output (Any): Output of its forward, unused.
        patch (int): Height and width of a patch.

    Returns:
        tuple[int, int]: Height and width of the grid.
    """
    image = next(each for each in inputs if isinstance(each, Tensor) and each.ndim == 4)
    return image.shape[2] // patch, image.shape[3] // patch


def read_shape(
    module: nn.Module, inputs: tuple, output: Any, like: tuple[int, int | None]
) -> tuple[int, int]:
    """Read a grid from the output of a module.

    Args:
        module (nn.Module): Module that returned the grid, unused.
        inputs (tuple): Positional arguments of its forward, unused.
        output (Any): Output of its forward: maps, pairs of numbers, or a sequence of them.
        like (tuple[int, int | None]): Index among the maps and pairs, and the axis of the
            height, None for a pair.

    Returns:
        tuple[int, int]: Height and width of the grid.
    """
    items = output if isinstance(output, (tuple, list)) and not pair(output) else [output]
    maps = [x for x in items if pair(x) or (isinstance(x, Tensor) and x.ndim == 4)]
    index, axis = like
    return tuple(maps[index] if axis is None else maps[index].shape[axis : axis + 2])
