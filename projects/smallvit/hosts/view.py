"""View of a backbone for plugins, and the registry of supported classes."""

from collections.abc import Callable, Sequence

from torch import nn
from torch.utils.hooks import RemovableHandle

from smallvit.errors import HostError
from smallvit.hosts.adapters import Adapters
from smallvit.hosts.block import HostBlock
from smallvit.hosts.discovery import discover


class HostView:
    """View of a backbone for plugins.

    Args:
        host (nn.Module): Backbone that contains the blocks.
        blocks (Sequence[HostBlock]): Blocks in execution order.

    Raises:
        HostError: If there are no blocks or their stages are not in order.
    """

    def __init__(self, host: nn.Module, blocks: Sequence[HostBlock]) -> None:
        self.host = host
        self.blocks = tuple(blocks)
        stages = [block.stage for block in self.blocks]
        if not self.blocks or sorted(stages) != stages or stages[0] != 0:
            raise HostError(
                f"{type(host).__name__}: expected at least one block, with stages in ascending "
                f"order from 0, got stages {stages}"
            )

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def channels(self) -> tuple[int, ...]:
        """Number of channels of each block."""
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
        """Convert the position of a block to its index.

        Args:
            position (int | float): Index, negative from the end, or a float, the relative
                depth from 0.0 (first block) to 1.0 (last).

        Returns:
            int: Index from 0 to the number of blocks minus one.

        Raises:
            ValueError: If there is no such block.
        """
        last = len(self) - 1
        if isinstance(position, float) and 0 <= position <= 1:
            # Halves are rounded up: 0.5 is block 6 of 12, as published for locality guidance.
            return int(position * last + 0.5)
        if isinstance(position, int) and -len(self) <= position <= last:
            return position % len(self)
        raise ValueError(
            f"{type(self.host).__name__} has {len(self)} blocks: expected an index from 0 to "
            f"{last}, -1 for the last, or a float from 0.0 to 1.0, got {position!r}"
        )

    def frozen_blocks(self) -> frozenset[int]:
        """Indices of the blocks that the host's own ``frozen_stages`` freezes."""
        stages = getattr(self.host, "frozen_stages", None)
        if not isinstance(stages, int) or stages < 0:
            return frozenset()
        self.host.train(self.host.training)  # some libraries freeze in train()
        return frozenset(
            index
            for index, block in enumerate(self.blocks)
            if not any(parameter.requires_grad for parameter in block.module.parameters())
        )

    def watch(self) -> list[RemovableHandle]:
        """Start recording the grids of all blocks; needed once before they are read.

        Returns:
            list[RemovableHandle]: Handles of the newly registered hooks.
        """
        grids = {id(block.grid): block.grid for block in self.blocks if block.grid is not None}
        return [handle for grid in grids.values() for handle in grid.watch()]


Adapter = Callable[[nn.Module], Sequence[HostBlock]]
_HOSTS = Adapters("host", "smallvit.hosts.register_host")


def register_host(*classes: type | str, force: bool = False) -> Callable[[Adapter], Adapter]:
    """Register a decorated function as the adapter of some backbone classes and subclasses.

    The function takes the backbone and returns its :class:`HostBlock` in order.

    Args:
        *classes (type | str): Classes, or their full names such as
            "timm.models.pit.PoolingVisionTransformer"; by name, nothing is imported.
        force (bool): Whether to replace a registered adapter. Defaults to False.

    Returns:
        Callable: Decorator that registers a function and returns it unchanged.

    Raises:
        KeyError: If a class is already registered and ``force`` is False.
    """
    return _HOSTS.register(*classes, force=force)


def supported_hosts() -> list[str]:
    """Full names of the registered classes, sorted; their subclasses are hosts too."""
    return _HOSTS.names()


def config_types() -> list[str]:
    """Registered classes as written in configs, sorted; timm's with their module."""
    return sorted({_config_type(name) for name in supported_hosts()})


def _config_type(name: str) -> str:
    package, *_, cls = name.split(".")
    return f"{package}.{cls}" if package != "timm" else f"timm: {name.split('.')[2]}.{cls}"


def is_host(backbone: nn.Module) -> bool:
    """Check whether a backbone is supported as a host.

    Args:
        backbone (nn.Module): Module of any class. If the class is not registered, a dry run is
            performed.

    Returns:
        bool: Whether :func:`view_host` accepts it.
    """
    try:
        view_host(backbone)
    except HostError:
        return False
    return True


def view_host(host: nn.Module) -> HostView:
    """Create the view of a backbone for plugins.

    Registered classes are described by their adapter. For any other class, the blocks are found
    by a dry run on random non-square images and validated: adding maps of zeros to their outputs
    must not change the output of the backbone, and must be differentiable.

    Args:
        host (nn.Module): Backbone to inspect.

    Returns:
        HostView: View of the blocks; no hooks are registered on the backbone yet.

    Raises:
        HostError: If the class is not registered and its blocks are ambiguous.
    """
    adapter = _HOSTS.find(type(host))
    if adapter is not None:
        return HostView(host, adapter(host))
    try:
        return HostView(host, discover(host))
    except HostError as error:
        known = ", ".join(config_types())
        raise HostError(f"{error}\nSupported without a dry run: {known}") from error
