"""Dry run of a backbone that records the inputs and outputs of its modules.

The batch has three images, of which the second and third each differ from the first at one spot.
The differences between the three rows of a tensor reveal its token layout, independently of what
the network computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.hosts.rest import own_modules

#: Spots at which the second and third image differ, as fractions of height and width.
SPOTS = ((0.9, 0.1), (0.3, 0.7))
#: Non-square sizes distinguish rows from columns; with the larger one, the last maps of deep
#: networks have more than one cell.
SIZES = ((64, 96), (128, 192))
#: Square sizes to try if the backbone accepts neither of ``SIZES``.
SQUARES = ((224, 224), (256, 256), (32, 32), (64, 64), (128, 128), (384, 384))
#: Sizes for the second run, with another aspect ratio.
OTHER_SIZES = ((112, 80), (128, 64))
#: Maximum number of image channels that are tried, those of a hyperspectral image.
MOST_CHANNELS = 128
#: An argument with at most this many tokens is not the patches if there is a longer one.
FEW = 8
#: Number of single spots that reveal the order of the patches.
SINGLE_SPOTS = 16


@dataclass
class Call:
    """Recorded calls of a module in the dry run.

    Args:
        name (str): Qualified name of the module in the host.
        module (nn.Module): Module that was called.
        began (int): Time of the start, in a count of all starts and ends of calls.
        key (int | str, optional): Position or name of the argument with the tokens.
            Defaults to None.
        shape (tuple): Shape of these tokens.
        differs (list[Tensor]): Absolute differences of the second and third image's tokens to
            the first image's, without the batch axis; for candidate blocks only.
        tensors (int): Number of tensor arguments of that shape that differ between images.
        plain (dict): Arguments that are not tensors, by position or name.
        ended (int): Time of the end, in the same count; -1 if the call has not ended.
        item (int | str, optional): Index or key of tokens of that shape in the tuple or dict that
            was returned.
        returned (list[tuple]): Shapes of the returned tensors.
        alike (int): Number of returned tensors with the shape and dtype of the tokens.
        in_place (bool): Whether the input was modified in place.
        maps (list[tuple]): Shapes of the returned maps, and returned pairs of numbers.
        times (int): Number of calls.
        sees_images (bool): Whether an argument has the shape of the image batch.
    """

    name: str
    module: nn.Module
    began: int
    key: int | str | None = None
    shape: tuple = ()
    differs: list[Tensor] = field(default_factory=list)
    tensors: int = 0
    plain: dict = field(default_factory=dict)
    ended: int = -1
    item: int | str | None = None
    returned: list[tuple] = field(default_factory=list)
    alike: int = 0
    in_place: bool = False
    maps: list[tuple] = field(default_factory=list)
    times: int = 1
    sees_images: bool = False

    @property
    def kept(self) -> bool:
        """Whether the shape was preserved and the input was not modified in place."""
        return self.alike > 0 and not self.in_place


_SIZE_NAMES = ("img_size", "image_size", "init_input_size", "input_size", "input_resolution")


def make_images(host: nn.Module, size: tuple[int, int], channels: int) -> Tensor:
    """Create three random images that differ at two spots.

    Args:
        host (nn.Module): Backbone whose first floating-point parameter determines device and dtype.
        size (tuple[int, int]): Height and width of the images.
        channels (int): Number of image channels.

    Returns:
        Tensor: Images (3, channels, H, W).
    """
    weight = next((p for p in host.parameters() if p.is_floating_point()), torch.zeros(1))
    random = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, *size, generator=random)
    images = image.repeat(3, 1, 1, 1)
    for index, spot in enumerate(SPOTS, 1):
        rows, columns = (
            slice(int((share - 0.06) * side), int((share + 0.06) * side) + 1)
            for share, side in zip(spot, size, strict=True)
        )
        images[index, :, rows, columns] += 3.0
    return images.to(weight)


def channels_for(host: nn.Module) -> list[int]:
    """Numbers of image channels to try: that of the first convolution, unless it is too large."""
    # An attribute in_channels is unreliable: some backbones update it while they build layers.
    convs = (module.in_channels for module in host.modules() if isinstance(module, nn.Conv2d))
    first = next(convs, 3)
    # The first convolution has 12 input channels instead of 3 after a space-to-depth layer.
    order = [first, 3] if first <= 4 else [3, first] if first <= MOST_CHANNELS else [3]
    return list(dict.fromkeys(order))


def sizes_for(host: nn.Module) -> list[tuple[int, int]]:
    """Image sizes to try: non-square ones, those that the host declares, common ones."""
    named = []
    config = getattr(host, "default_cfg", None) or {}
    owners = (host, getattr(host, "patch_embed", None))
    found = [getattr(o, k, None) for o in owners for k in _SIZE_NAMES]
    for value in (*found, tuple(config.get("input_size", ()))[-2:] if config else None):
        if isinstance(value, int):
            named.append((value, value))
        elif isinstance(value, (tuple, list)) and len(value) == 2:
            named.append((int(value[0]), int(value[1])))
    return list(dict.fromkeys((*SIZES, *named, *SQUARES)))


def record(host: nn.Module, images: Tensor, watched: Mapping[str, nn.Module]) -> list[Call]:
    """Run the host once and record the calls of its modules.

    Args:
        host (nn.Module): Backbone inside :func:`~smallvit.hosts.rest.dry_run_mode`.
        images (Tensor): Images of :func:`make_images`.
        watched (Mapping[str, nn.Module]): Candidate blocks by name; for all other modules only
            the shapes of their outputs are recorded.

    Returns:
        list[Call]: Recorded calls, ordered by their start.
    """
    recorder = _Recorder(set(map(id, watched.values())), images)
    with ExitStack() as hooks, torch.no_grad():
        for name, module in own_modules(host):
            if module is not host:
                for handle in recorder.place(name, module):
                    hooks.callback(handle.remove)
        host(images)
    return list(recorder.calls.values())


class _Recorder:
    def __init__(self, watched: set[int], images: Tensor) -> None:
        self.watched = watched
        self.images = images
        self.clock = count()
        self.calls: dict[int, Call] = {}
        self._inputs: dict[int, tuple[Tensor, int]] = {}

    def place(self, name: str, module: nn.Module) -> list:
        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self.begin(name, module, args, kwargs)

        return [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(self.end),
        ]

    def begin(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if id(module) in self.calls:
            self.calls[id(module)].times += 1
            return
        call = self.calls[id(module)] = Call(name, module, next(self.clock))
        arguments = dict(enumerate(args)) | kwargs
        call.sees_images = any(
            isinstance(v, Tensor) and v.shape == self.images.shape for v in arguments.values()
        )
        if id(module) not in self.watched:
            return
        call.plain = {k: v for k, v in arguments.items() if not isinstance(v, Tensor)}
        tokens = {k: v for k, v in arguments.items() if is_tokens(v)}
        if not tokens:
            return
        # The patches may be preceded by a class token, or by positions that are the same for
        # every image.
        own = {k: v for k, v in tokens.items() if _differs(v)} or tokens
        call.key = next(
            (k for k, v in own.items() if v.ndim == 4 or len(v[0]) > FEW), next(iter(own))
        )
        kept = own[call.key]
        call.shape = tuple(kept.shape)
        call.tensors = sum(each.shape == kept.shape for each in own.values())
        call.differs = [(kept[i] - kept[0]).abs() for i in (1, 2)]
        self._inputs[id(module)] = (kept, kept._version)

    def end(self, module: nn.Module, args: tuple, output: Any) -> None:
        call = self.calls[id(module)]
        if call.ended >= 0:
            return
        call.ended = next(self.clock)
        items = _items(output)
        call.maps = [shape for each in items.values() if (shape := _grid_shape(each))]
        tokens, version = self._inputs.pop(id(module), (None, None))
        if tokens is None:
            return
        call.returned = [tuple(x.shape) for x in items.values() if isinstance(x, Tensor)]
        same = [key for key, each in items.items() if _alike(each, tokens)]
        call.alike = len(same)
        call.in_place = tokens._version != version or tokens.shape != call.shape
        if same and not isinstance(output, Tensor):
            call.item = same[0]


def single_spots(
    host: nn.Module, call: Call, size: tuple[int, int], hw: tuple[int, int], channels: int
) -> list[tuple[int, int]]:
    """Positions where tokens differ most if an image differs in only one grid cell.

    Args:
        host (nn.Module): Backbone inside :func:`~smallvit.hosts.rest.dry_run_mode`.
        call (Call): Recorded call of the block that takes the tokens (B, N, C).
        size (tuple[int, int]): Height and width of the images.
        hw (tuple[int, int]): Rows and columns of the grid.
        channels (int): Number of image channels.

    Returns:
        list[tuple[int, int]]: Pairs of the changed cell, in raster order, and the token that
        differs most; empty if the block does not process these images as a batch.
    """
    random = torch.Generator().manual_seed(1)
    cells = _spread(*hw)
    patch_size = [_patch_side(side, n) for side, n in zip(size, hw, strict=True)]
    images = make_images(host, size, channels)[:1].repeat(1 + len(cells), 1, 1, 1)
    for index, cell in enumerate(cells, 1):
        rows, columns = (
            slice(int(i * side), max(int((i + 1) * side), int(i * side) + 1))
            for i, side in zip(divmod(cell, hw[1]), patch_size, strict=True)
        )
        patch = images[index, :, rows, columns]
        patch += 2 * torch.randn(patch.shape, generator=random).to(patch)
    found: list[Tensor] = []

    def stop(module: nn.Module, args: tuple, kwargs: dict) -> None:
        found.append(kwargs[call.key] if isinstance(call.key, str) else args[call.key or 0])
        raise _Stop

    with torch.no_grad(), suppress(_Stop, ValueError):
        handle = call.module.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            host(images)
        finally:
            handle.remove()
    if not found or len(found[0]) != len(images):
        return []
    tokens = found[0].float()
    where = (tokens[1:] - tokens[:1]).abs().mean(-1)
    return list(zip(cells, where.argmax(1).tolist(), strict=True))


def _spread(rows: int, columns: int) -> list[int]:
    """Cells of even and odd rows from first to last, as every other row may be reversed."""
    number = min(SINGLE_SPOTS, rows * columns)
    cells = set()
    for i in range(number):
        row = i % rows
        if rows > number:
            row = i * rows // number + i % 2 * (rows >= 2 * number)
        cells.add(row * columns + (5 * i + 3 * (i // rows)) % columns)
    return sorted(cells)


def _patch_side(side: int, number: int) -> float:
    """Patch size if a side is split into ``number`` patches, the rest being dropped or padded."""
    dropped, padded = max(side // number, 1), -(-side // number)
    if side // dropped == number:
        return dropped
    if -(-side // padded) == number:
        return padded
    return side / number


class _Stop(BaseException):
    """Stops the dry run early; not an ``Exception``, so that hosts do not catch it."""


def is_tokens(value: Any) -> bool:
    """Check whether a value may be the tokens of the three images."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return value.ndim in (3, 4) and len(value) == 1 + len(SPOTS)


def pair(value: Any) -> tuple[int, int] | None:
    """Return a value as height and width if it consists of two integers, else None."""
    two = isinstance(value, (tuple, list)) and len(value) == 2
    return tuple(value) if two and all(type(each) is int for each in value) else None


def _differs(tokens: Tensor) -> bool:
    return not torch.equal(tokens[0], tokens[1])


def _items(output: Any) -> dict:
    if isinstance(output, dict):
        return output
    return dict(enumerate(output if isinstance(output, (tuple, list)) else [output]))


def _alike(value: Any, tokens: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == tokens.shape and value.dtype == tokens.dtype


def _grid_shape(value: Any) -> tuple | None:
    if isinstance(value, Tensor):
        return tuple(value.shape) if value.ndim == 4 else None
    return pair(value)
