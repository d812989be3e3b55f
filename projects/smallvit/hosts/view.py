"""The view of a backbone that plugins share, and the registry of classes it knows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from smallvit.errors import HostError
from smallvit.hosts import layout as layouts
from smallvit.hosts.adapters import Adapters
from smallvit.hosts.grids import ArgumentGrid, WatchedGrid


@dataclass(frozen=True, eq=False)
class HostBlock:
    """One block of a host: a module from tokens to tokens of the same shape.

    Tokens are the block's first positional argument and its only output.

    Args:
        module (nn.Module): The block.
        channels (int): Channels of its tokens.
        grid (ArgumentGrid | WatchedGrid, optional): Where the grid is found; layouts that
            have height and width need none. Defaults to None.
        layout (str): "BNC", "BHWC" or "BCHW". Defaults to "BNC".
        stage (int): Stage of a hierarchical host, counted from 0. Defaults to 0.
        max_extra_tokens (int): How many tokens may stand in front of the patches; more
            mean that the grid is wrong. Defaults to 2.
    """

    module: nn.Module
    channels: int
    grid: ArgumentGrid | WatchedGrid | None = None
    layout: str = "BNC"
    stage: int = 0
    max_extra_tokens: int = 2

    def __post_init__(self) -> None:
        name = type(self.module).__name__
        if self.layout not in layouts.LAYOUTS:
            raise HostError(
                f"block {name} has no layout {self.layout!r}; use one of {layouts.LAYOUTS}"
            )
        if self.layout == "BNC" and self.grid is None:
            raise HostError(
                f"block {name} of layout 'BNC' needs a grid: ArgumentGrid() if the host passes it "
                "to the block, else WatchedGrid(module, read)"
            )

    def read_grid(self, tokens: Tensor, args: tuple, kwargs: Mapping) -> tuple[int, int]:
        """Grid of tokens at hand.

        Args:
            tokens (Tensor): Input or output of the block.
            args (tuple): Positional arguments that the block was called with.
            kwargs (Mapping): Its keyword arguments.

        Returns:
            tuple[int, int]: Height and width.

        Raises:
            HostError: If the number of tokens does not fit the grid.
        """
        if self.layout != "BNC":
            return layouts.grid_of_map(tokens, self.layout)
        height, width = self.grid.read(args, kwargs)
        extra = tokens.shape[1] - height * width
        if not 0 <= extra <= self.max_extra_tokens:
            raise HostError(
                f"block {type(self.module).__name__} holds {tokens.shape[1]} tokens, which are not "
                f"a grid of {height} x {width} and up to {self.max_extra_tokens} extra tokens; "
                "tokens must not be dropped, and the adapter must report the right grid"
            )
        return height, width

    def to_map(self, tokens: Tensor, hw: tuple[int, int]) -> Tensor:
        """View tokens of this block as a map (B, C, H, W), extra tokens left out."""
        return layouts.to_map(tokens, self.layout, hw)

    def extra_tokens(self, tokens: Tensor, hw: tuple[int, int]) -> Tensor | None:
        """Extra tokens (B, extra, C) of this block, or None if its layout has none."""
        return layouts.extra_tokens(tokens, self.layout, hw)

    def from_map(self, feature: Tensor, extra: Tensor | None = None) -> Tensor:
        """Turn a map (B, C, H, W) and extra tokens into tokens of this block."""
        return layouts.from_map(feature, self.layout, extra)

    def add_map(self, tokens: Tensor, feature: Tensor) -> Tensor:
        """Add a map (B, C, H, W) to the patches of tokens; extra tokens receive nothing."""
        return layouts.add_map(tokens, feature, self.layout)


class HostView:
    """What a plugin sees of a backbone.

    Args:
        host (nn.Module): The backbone.
        blocks (Sequence[HostBlock]): Its blocks in the order in which they run.

    Raises:
        HostError: If there are no blocks or their stages are not in order.
    """

    def __init__(self, host: nn.Module, blocks: Sequence[HostBlock]) -> None:
        self.host = host
        self.blocks = tuple(blocks)
        stages = [block.stage for block in self.blocks]
        if not self.blocks or sorted(stages) != stages or stages[0] != 0:
            raise HostError(
                f"{type(host).__name__} was described with blocks of the stages {stages}; a host "
                "has at least one block, and stages ascend from 0"
            )

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each block."""
        return tuple(block.channels for block in self.blocks)

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the blocks of each stage."""
        count = self.blocks[-1].stage + 1
        return tuple(
            tuple(i for i, block in enumerate(self.blocks) if block.stage == stage)
            for stage in range(count)
        )

    def index(self, position: int | float) -> int:
        """Index of a block.

        Args:
            position (int | float): A number, negative from the end; or a float, a share
                of the depth from 0.0 (first block) to 1.0 (last).

        Returns:
            int: The index.

        Raises:
            ValueError: If there is no such block.
        """
        last = len(self) - 1
        if isinstance(position, float) and 0 <= position <= 1:
            # Halves go up: 0.5 is block 6 of 12, as published for locality guidance.
            return int(position * last + 0.5)
        if isinstance(position, int) and -len(self) <= position <= last:
            return position % len(self)
        raise ValueError(
            f"{type(self.host).__name__} has {len(self)} blocks, so there is no block {position!r};"
            f" use 0 to {last}, -1 for the last, or a float from 0.0 to 1.0"
        )

    def frozen_blocks(self) -> frozenset[int]:
        """Indices of the blocks that the host's own ``frozen_stages`` keep out of training."""
        stages = getattr(self.host, "frozen_stages", None)
        if not isinstance(stages, int) or stages < 0:
            return frozenset()
        self.host.train(self.host.training)  # some of the libraries freeze there first
        return frozenset(
            index
            for index, block in enumerate(self.blocks)
            if not any(parameter.requires_grad for parameter in block.module.parameters())
        )

    def watch(self) -> list[RemovableHandle]:
        """Start watching the grids of all blocks; needed once before they are read.

        Returns:
            list[RemovableHandle]: What was registered now.
        """
        grids = {id(block.grid): block.grid for block in self.blocks if block.grid is not None}
        return [handle for grid in grids.values() for handle in grid.watch()]


Adapter = Callable[[nn.Module], Sequence[HostBlock]]
_HOSTS = Adapters("host", "smallvit.hosts.register_host")


def register_host(*classes: type | str, force: bool = False) -> Callable[[Adapter], Adapter]:
    """Teach the view a class of backbones and its subclasses, with a decorated function.

    The function takes the backbone and returns its :class:`HostBlock` in order.

    Args:
        *classes (type | str): Classes, or their full names such as
            "timm.models.pit.PoolingVisionTransformer"; by name, nothing is imported.
        force (bool): Whether an adapter that is there may be replaced. Defaults to False.

    Returns:
        Callable: The decorator.

    Raises:
        KeyError: If a class is known already and ``force`` is not set.
    """
    return _HOSTS.register(*classes, force=force)


def supported_hosts() -> list[str]:
    """Full names of the classes that are known, sorted; their subclasses are hosts too."""
    return _HOSTS.names()


def is_host(backbone: nn.Module) -> bool:
    """Whether the view knows the class of a backbone.

    Args:
        backbone (nn.Module): Any module.

    Returns:
        bool: Whether :func:`view_host` takes it.
    """
    return _HOSTS.find(type(backbone)) is not None


def view_host(host: nn.Module) -> HostView:
    """See a backbone as a host.

    Args:
        host (nn.Module): A backbone of a known class, or of a subclass of one.

    Returns:
        HostView: Its blocks; nothing is registered on the backbone yet.

    Raises:
        HostError: If the class is not known.
    """
    return HostView(host, _HOSTS.get(host)(host))
