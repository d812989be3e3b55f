"""Sources of a block's token grid in a forward pass; it is never guessed from the token count."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

ReadGrid = Callable[[nn.Module, tuple, Any], tuple[int, int]]


class ArgumentGrid:
    """The grid that the host passes to its block.

    Args:
        key (int | str | tuple): Position of the argument, or its name; or two of them, where
            height and width are passed one by one. Defaults to 1.
    """

    def __init__(self, key: int | str | tuple[int | str, int | str] = 1) -> None:
        self.key = key

    def watch(self) -> list[RemovableHandle]:
        """Do nothing, as the block receives the grid."""
        return []

    def read(self, args: tuple, kwargs: Mapping) -> tuple[int, int]:
        """Read the grid.

        Args:
            args (tuple): Positional arguments of the block.
            kwargs (Mapping): Its keyword arguments.

        Returns:
            tuple[int, int]: Height and width.
        """
        if isinstance(self.key, tuple):
            height, width = (kwargs[k] if isinstance(k, str) else args[k] for k in self.key)
        else:
            height, width = kwargs[self.key] if isinstance(self.key, str) else args[self.key]
        return int(height), int(width)


class WatchedGrid:
    """The grid that another module computes earlier in the same forward pass.

    Blocks that share a source must share the object. The last grid seen is the one that
    holds, so under gradient checkpointing the backward pass of one input has to come
    before the forward pass of another size.

    Args:
        module (nn.Module): The module to watch, such as a patch embedding.
        read (Callable): ``read(module, inputs, output)``, called like a forward hook,
            returns height and width. It must not hold modules itself: the host may be
            copied, and the copy's module is the one passed.
        before (bool): Whether to read before the module runs, with ``output=None``,
            because the blocks are within it. Defaults to False.
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
            list[RemovableHandle]: What was registered now.
        """
        if self._handle is not None:
            return []
        if self.before:
            self._handle = self.module.register_forward_pre_hook(self._see_inputs)
        else:
            self._handle = self.module.register_forward_hook(self._see)
        return [self._handle]

    def _see_inputs(self, module: nn.Module, inputs: tuple) -> None:
        self._see(module, inputs, None)

    def _see(self, module: nn.Module, inputs: tuple, output: Tensor | tuple | None) -> None:
        height, width = self._read_from(module, inputs, output)
        self._grid = (int(height), int(width))

    def read(self, args: tuple, kwargs: Mapping) -> tuple[int, int]:
        """The last recorded grid.

        Args:
            args (tuple): Positional arguments of the block, unused.
            kwargs (Mapping): Its keyword arguments, unused.

        Returns:
            tuple[int, int]: Height and width.

        Raises:
            RuntimeError: If the watched module has not run.
        """
        if self._grid is None:
            raise RuntimeError(
                f"a block ran before {type(self.module).__name__}, which tells its grid; run the "
                "whole backbone, or watch a module that runs first"
            )
        return self._grid
