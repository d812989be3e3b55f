"""Block of a host: the location of its tokens, and their conversion to a feature map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts import layout as layouts
from smallvit.hosts.grids import ArgumentGrid, WatchedGrid


@dataclass(frozen=True, eq=False)
class HostBlock:
    """Block of a host: a module that maps tokens to tokens of the same shape.

    Tokens are the block's first positional argument and its only output, unless ``key`` and
    ``item`` say otherwise.

    Args:
        module (nn.Module): Module that is called with the tokens and returns them.
        channels (int): Channels of its tokens.
        grid (ArgumentGrid | WatchedGrid, optional): Source of the grid; not needed for layouts
            with height and width. Defaults to None.
        layout (str): Token layout, "BNC", "BHWC" or "BCHW". Defaults to "BNC".
        stage (int): Stage of a hierarchical host, counted from 0. Defaults to 0.
        max_extra_tokens (int): Maximum number of extra tokens before and after the patches; more
            indicate a wrong grid. Defaults to 2.
        key (int | str): Position or name of the argument with the tokens. Defaults to 0.
        item (int | str, optional): Index or key of the tokens in the tuple or dict that the block
            returns. Defaults to None: the block returns the tokens alone.
        tokens_behind (int): Number of extra tokens after the patches; all others precede them.
            Defaults to 0.
    """

    module: nn.Module
    channels: int
    grid: ArgumentGrid | WatchedGrid | None = None
    layout: str = "BNC"
    stage: int = 0
    max_extra_tokens: int = 2
    key: int | str = 0
    item: int | str | None = None
    tokens_behind: int = 0

    def __post_init__(self) -> None:
        name = type(self.module).__name__
        if self.layout not in layouts.LAYOUTS:
            raise HostError(
                f"block {name}: expected layout to be one of {layouts.LAYOUTS}, got {self.layout!r}"
            )
        if self.layout == "BNC" and self.grid is None:
            raise HostError(
                f"block {name} with layout 'BNC' requires a grid. Use ArgumentGrid() if the host "
                "passes it to the block, else WatchedGrid(module, read)"
            )

    def input_of(self, args: tuple, kwargs: Mapping) -> Tensor:
        """Get the tokens from the arguments of the block."""
        return kwargs[self.key] if isinstance(self.key, str) else args[self.key]

    def output_of(self, output: Any) -> Tensor:
        """Get the tokens from the output of the block."""
        return output if self.item is None else output[self.item]

    def replace_output(self, output: Any, tokens: Tensor) -> Any:
        """Return the output of the block with its tokens replaced."""
        if self.item is None:
            return tokens
        if isinstance(output, Mapping):
            mapping: Callable[[dict], Any] = type(output)
            return mapping({**output, self.item: tokens})
        items = list(output)
        items[int(self.item)] = tokens
        named = getattr(output, "_make", None)  # a named tuple's constructor takes no sequence
        return type(output)(items) if named is None else named(items)

    def read_grid(self, tokens: Tensor, args: tuple, kwargs: Mapping) -> tuple[int, int]:
        """Read the grid of the tokens in the current forward pass.

        Args:
            tokens (Tensor): Input or output of the block.
            args (tuple): Positional arguments that the block was called with.
            kwargs (Mapping): Keyword arguments that the block was called with.

        Returns:
            tuple[int, int]: Height and width of the grid.

        Raises:
            HostError: If the number of tokens does not fit the grid.
        """
        if self.grid is None or self.layout != "BNC":
            return layouts.grid_of_map(tokens, self.layout)
        height, width = self.grid.read(args, kwargs)
        extra = tokens.shape[1] - height * width
        if not self.tokens_behind <= extra <= self.max_extra_tokens:
            raise HostError(
                f"block {type(self.module).__name__}: expected a grid of {height} x {width} tokens "
                f"and up to {self.max_extra_tokens} extra tokens, got {tokens.shape[1]}. Tokens "
                "must not be dropped, and the adapter must report the correct grid"
            )
        return height, width

    def to_map(self, tokens: Tensor, hw: tuple[int, int]) -> Tensor:
        """View tokens of this block as a map (B, C, H, W), without extra tokens."""
        return layouts.to_map(tokens, self.layout, hw, self.tokens_behind)

    def extra_tokens(self, tokens: Tensor, hw: tuple[int, int]) -> Tensor | None:
        """Get the extra tokens (B, extra, C) of this block, or None if its layout has none."""
        return layouts.extra_tokens(tokens, self.layout, hw, self.tokens_behind)

    def from_map(self, feature: Tensor, extra: Tensor | None = None) -> Tensor:
        """Convert a map (B, C, H, W) and extra tokens to tokens of this block."""
        return layouts.from_map(feature, self.layout, extra, self.tokens_behind)

    def add_map(self, tokens: Tensor, feature: Tensor) -> Tensor:
        """Add a map (B, C, H, W) to the patch tokens; extra tokens are unchanged."""
        return layouts.add_map(tokens, feature, self.layout, self.tokens_behind)
