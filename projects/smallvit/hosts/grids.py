"""Sources of a block's token grid in a forward pass; grids are never guessed from token counts."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

ReadGrid = Callable[[nn.Module, tuple, Any], tuple[int, int]]


class ArgumentGrid:
    """Grid that the host passes to its block as an argument.

    Args:
        key (int | str | tuple): Position or name of the argument, or a pair of them if height
            and width are separate arguments. Defaults to 1.
    """

    def __init__(self, key: int | str | tuple[int | str, int | str] = 1) -> None:
        self.key = key

    def watch(self) -> list[RemovableHandle]:
        """Return no hooks, as the block receives the grid."""
        return []

    def read(self, args: tuple, kwargs: Mapping) -> tuple[int, int]:
        """Read the grid.

        Args:
            args (tuple): Positional arguments of the block.
            kwargs (Mapping): Keyword arguments of the block.

        Returns:
            tuple[int, int]: Height and width of the grid.
        """
        if isinstance(self.key, tuple):
            height, width = (kwargs[k] if isinstance(k, str) else args[k] for k in self.key)
        else:
            height, width = kwargs[self.key] if isinstance(self.key, str) else args[self.key]
        return int(height), int(width)


class WatchedGrid:
    """Grid that another module computes earlier in the same forward pass.

    Blocks with the same source must share the object. Only the last grid is stored, so with
    gradient checkpointing the backward pass of one input must run before the forward pass of
    an input of another size.

    Args:
        module (nn.Module): The module to watch, such as a patch embedding.
        read (Callable): ``read(module, inputs, output)``, called like a forward hook,
            returns height and width. It must not hold references to modules: after a deep copy of
            the host, the module of the copy is passed.
        before (bool): Whether to read before the module runs, with ``output=None``, which is
            needed if the module contains the blocks. Defaults to False.
    """

    def __init__(self, module: nn.Module, read: ReadGrid, before: bool = False) -> None:
        self.module = module
        self.before = before
        self._read_from = read
        self._handle = None
        self._grid: tuple[int, int] | None = None

    def watch(self) -> list[RemovableHandle]:
        """Register the forward hook, at most once.

        Returns:
            list[RemovableHandle]: Handle of the new hook; empty if it was registered before.
        """
        if self._handle is not None:
            return []
        if self.before:
            self._handle = self.module.register_forward_pre_hook(self._record_inputs)
        else:
            self._handle = self.module.register_forward_hook(self._record)
        return [self._handle]

    def _record_inputs(self, module: nn.Module, inputs: tuple) -> None:
        self._record(module, inputs, None)

    def _record(self, module: nn.Module, inputs: tuple, output: Tensor | tuple | None) -> None:
        height, width = self._read_from(module, inputs, output)
        self._grid = (int(height), int(width))

    def read(self, args: tuple, kwargs: Mapping) -> tuple[int, int]:
        """Read the last recorded grid.

        Args:
            args (tuple): Positional arguments of the block, unused.
            kwargs (Mapping): Keyword arguments of the block, unused.

        Returns:
            tuple[int, int]: Height and width of the grid.

        Raises:
            RuntimeError: If the watched module has not run.
        """
        if self._grid is None:
            raise RuntimeError(
                f"a block ran before {type(self.module).__name__}, which defines its grid. Run the "
                "whole backbone, or watch a module that runs earlier"
            )
        return self._grid
