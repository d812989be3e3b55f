"""One dry run of a backbone: what goes into and comes out of its modules, and where in the image.

The batch has three images: the second and third differ from the first at one spot each. Where
a tensor of three rows differs tells how its tokens lie, whatever the network computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

#: Where the second and the third image differ from the first, as shares of height and width.
SPOTS = ((0.9, 0.1), (0.3, 0.7))
#: Sizes that are tried in turn; a size that is not square tells rows from columns.
SIZES = ((64, 96), (224, 224), (256, 256))
_SWITCHES = ("with_cp", "grad_checkpointing")


@dataclass
class Call:
    """What one module did in the dry run.

    Args:
        name (str): Its name in the host.
        module (nn.Module): The module.
        began (int): When it began, on a clock that counts beginnings and ends.
        key (int | str, optional): The argument with the tokens. Defaults to None.
        shape (tuple): Shape of these tokens.
        differs (list[Tensor]): By how much the second and third image's tokens differ from
            the first's, of the shape without batch; only of blocks that are looked for.
        plain (dict): Arguments that are no tensors, by position or name.
        ended (int): When it ended.
        item (int, optional): Where in a tuple that it returned tokens of that shape are.
        kept (bool): Whether it returned such tokens and left its input as it was.
        maps (list[tuple]): Shapes of the maps, and pairs of numbers, that it returned.
        times (int): How often it ran.
    """

    name: str
    module: nn.Module
    began: int
    key: int | str | None = None
    shape: tuple = ()
    differs: list[Tensor] = field(default_factory=list)
    plain: dict = field(default_factory=dict)
    ended: int = -1
    item: int | None = None
    kept: bool = False
    maps: list[tuple] = field(default_factory=list)
    times: int = 1


def make_images(host: nn.Module, size: tuple[int, int], channels: int) -> Tensor:
    """Three images that differ at two spots.

    Args:
        host (nn.Module): The backbone, which tells device and data type.
        size (tuple[int, int]): Height and width.
        channels (int): Channels.

    Returns:
        Tensor: (3, C, H, W).
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
    """Channels of images to try: those of its first convolution, unless they are too many."""
    # An attribute in_channels is no help: some backbones count in it while they are built.
    convs = (module.in_channels for module in host.modules() if isinstance(module, nn.Conv2d))
    first = next(convs, 3)
    # Behind an arrangement of pixels as channels, there are 12 of 3.
    return [first] if first <= 4 else [3, first] if first <= 32 else [3]


def sizes_for(host: nn.Module) -> list[tuple[int, int]]:
    """Sizes to try: one that is not square, those that the host names, usual ones."""
    named = []
    config = getattr(host, "default_cfg", None) or {}
    owners = (host, getattr(host, "patch_embed", None))
    found = [getattr(o, k, None) for o in owners for k in ("img_size", "init_input_size")]
    for value in (*found, tuple(config.get("input_size", ()))[-2:] if config else None):
        if isinstance(value, int):
            named.append((value, value))
        elif isinstance(value, (tuple, list)) and len(value) == 2:
            named.append(tuple(int(side) for side in value))
    return list(dict.fromkeys((SIZES[0], *named, *SIZES[1:])))


@contextmanager
def at_rest(host: nn.Module) -> Iterator[None]:
    """Within, the host is in evaluation and recomputes nothing; afterwards it is as it was."""
    modules = list(host.modules())
    modes = [module.training for module in modules]
    switched = [(m, name) for m in modules for name in _SWITCHES if m.__dict__.get(name) is True]
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=cuda):
        try:
            host.eval()  # some make there what they need in evaluation
            for module, name in switched:
                setattr(module, name, False)
            yield
        finally:
            host.train(modes[0])
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            for module, name in switched:
                setattr(module, name, True)


def record(host: nn.Module, images: Tensor, watched: Mapping[str, nn.Module]) -> list[Call]:
    """Run the host once and note what its modules do.

    Args:
        host (nn.Module): The backbone, :func:`at_rest`.
        images (Tensor): Of :func:`make_images`.
        watched (Mapping[str, nn.Module]): Modules that may be blocks, by name; of the others
            only the shapes that they return are noted.

    Returns:
        list[Call]: In the order in which they began.
    """
    recorder = _Recorder(set(map(id, watched.values())))
    with ExitStack() as hooks, torch.no_grad():
        for name, module in host.named_modules():
            if module is not host:
                for handle in recorder.place(name, module):
                    hooks.callback(handle.remove)
        host(images)
    return list(recorder.calls.values())


class _Recorder:
    def __init__(self, watched: set[int]) -> None:
        self.watched = watched
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
        if id(module) not in self.watched:
            return
        arguments = dict(enumerate(args)) | kwargs
        call.plain = {k: v for k, v in arguments.items() if not isinstance(v, Tensor)}
        key = next((k for k, v in arguments.items() if is_tokens(v)), None)
        if key is not None:
            tokens = arguments[key]
            call.key, call.shape = key, tuple(tokens.shape)
            call.differs = [(tokens[i] - tokens[0]).abs() for i in (1, 2)]
            self._inputs[id(module)] = (tokens, tokens._version)

    def end(self, module: nn.Module, args: tuple, output: Any) -> None:
        call = self.calls[id(module)]
        call.ended = next(self.clock)
        call.maps = [shape for each in _items(output) if (shape := _grid_shape(each))]
        tokens, version = self._inputs.pop(id(module), (None, None))
        if tokens is None:
            return
        same = [i for i, each in enumerate(_items(output)) if _alike(each, tokens)]
        call.kept = bool(same) and tokens._version == version and tokens.shape == call.shape
        if same and isinstance(output, (tuple, list)):
            call.item = same[0]


def is_tokens(value: Any) -> bool:
    """Whether a value may be the tokens of the three images."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return value.ndim in (3, 4) and len(value) == 1 + len(SPOTS)


def pair(value: Any) -> tuple[int, int] | None:
    """Height and width, if a value is two numbers."""
    two = isinstance(value, (tuple, list)) and len(value) == 2
    return tuple(value) if two and all(type(each) is int for each in value) else None


def _items(output: Any) -> list:
    return list(output) if isinstance(output, (tuple, list)) else [output]


def _alike(value: Any, tokens: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == tokens.shape and value.dtype == tokens.dtype


def _grid_shape(value: Any) -> tuple | None:
    if isinstance(value, Tensor):
        return tuple(value.shape) if value.ndim == 4 else None
    return pair(value)
