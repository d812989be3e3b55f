"""Record inputs or outputs of selected blocks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from smallvit.hosts.view import HostBlock, HostView, view_host

SIDES = ("input", "output")


class Taps:
    """Record inputs or outputs of selected blocks during forward passes.

    Tensors are not copied, and referenced only while recording::

        taps = Taps(backbone, [0, 6, 11])
        with taps:
            backbone(images)
            maps = taps.maps()

    Gradients flow from the maps into the host, also with (non-reentrant) gradient checkpointing
    and autocast. Call :meth:`maps` before the backward pass. In a compiled step, call :meth:`run`
    with taps that were created before compilation; in torch below 2.14, Dynamo does not support
    ``with taps:`` and breaks the graph there.

    A deep copy of an object with references to both host and taps has working copies of both.

    Args:
        host (nn.Module | HostView): Backbone, or its view.
        positions (Sequence[int | float]): Positions of blocks, see :meth:`HostView.index`.
        where (str): "output" records the output of a block, "input" its input.
            Defaults to "output".

    Raises:
        HostError: If the backbone is not a host.
        ValueError: If ``where`` or a position does not exist.
    """

    def __init__(
        self,
        host: nn.Module | HostView,
        positions: Sequence[int | float],
        where: str = "output",
    ) -> None:
        if where not in SIDES:
            raise ValueError(f"expected where to be one of {SIDES}, got {where!r}")
        view = host if isinstance(host, HostView) else view_host(host)
        self.indices = tuple(view.index(position) for position in positions)
        self.channels = tuple(view.channels[index] for index in self.indices)
        self.recording = False
        self._blocks = {index: view.blocks[index] for index in self.indices}
        self._found: dict[int, tuple[Tensor, tuple[int, int]]] = {}
        watching = view.watch()
        # The hooks of a view that was passed in are kept, as it may be shared.
        self._handles = [] if view is host else watching
        self._handles += [
            self._place(_Tap(self, index), where) for index in dict.fromkeys(self.indices)
        ]

    def _place(self, tap: "_Tap", where: str):
        module = self._blocks[tap.index].module
        if where == "input":
            return module.register_forward_pre_hook(tap.before, with_kwargs=True)
        return module.register_forward_hook(tap.after, with_kwargs=True)

    def start(self) -> None:
        """Start recording."""
        self._found.clear()
        self.recording = True

    def stop(self) -> None:
        """Stop recording and discard the recorded tokens."""
        self.recording = False
        self._found.clear()

    def __enter__(self) -> "Taps":
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def run(self, forward: Callable, *args, **kwargs) -> tuple[Any, list[Tensor]]:
        """Run a host while recording; ``torch.compile`` captures it in one graph on every torch.

        Args:
            forward (Callable): The host, or a function that runs it.
            *args: Positional arguments passed to ``forward``.
            **kwargs: Keyword arguments passed to ``forward``.

        Returns:
            tuple[Any, list[Tensor]]: Output of ``forward``, and the maps, see :meth:`maps`.

        Raises:
            RuntimeError: If a tapped block does not run.
        """
        self.start()
        try:
            return forward(*args, **kwargs), self.maps()
        finally:
            self.stop()

    def block(self, index: int) -> HostBlock:
        """Get the tapped block with an index."""
        return self._blocks[index]

    def keep(self, index: int, tokens: Tensor, args: tuple, kwargs: Mapping) -> None:
        """Record tokens of block ``index``, which was called with ``args`` and ``kwargs``."""
        self._found[index] = (tokens, self._blocks[index].read_grid(tokens, args, kwargs))

    def tokens(self) -> list[Tensor]:
        """Tokens in the host's layout, with extra tokens, in the requested order."""
        return [tokens for tokens, _ in self._recorded()]

    def maps(self) -> list[Tensor]:
        """Feature maps of the patches, as views of the host's tensors.

        Returns:
            list[Tensor]: Map (B, C, H, W) for each position, in the requested order.

        Raises:
            RuntimeError: If a block has not run since recording began.
        """
        blocks: list[HostBlock] = [self._blocks[index] for index in self.indices]
        return [
            block.to_map(tokens, hw)
            for block, (tokens, hw) in zip(blocks, self._recorded(), strict=True)
        ]

    def _recorded(self) -> list[tuple[Tensor, tuple[int, int]]]:
        missing = [index for index in self.indices if index not in self._found]
        if missing:
            raise RuntimeError(
                f"blocks {missing} did not run while the taps were recording. Run the whole "
                "backbone within `with taps:`, and read the maps there"
            )
        return [self._found[index] for index in self.indices]

    def are_outermost(self) -> bool:
        """Whether the taps are the last forward hooks of their blocks."""
        for block in self._blocks.values():
            hooks = list(block.module._forward_hooks.values())
            last = getattr(hooks[-1], "__self__", None) if hooks else None
            if not isinstance(last, _Tap) or last.taps is not self:
                return False
        return True

    def remove(self) -> None:
        """Remove the taps from the host."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


class _Tap:
    def __init__(self, taps: Taps, index: int) -> None:
        self.taps = taps
        self.index = index

    def before(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.taps.recording:
            tokens = self.taps.block(self.index).input_of(args, kwargs)
            self.taps.keep(self.index, tokens, args, kwargs)

    def after(self, module: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
        if self.taps.recording:
            tokens = self.taps.block(self.index).output_of(output)
            self.taps.keep(self.index, tokens, args, kwargs)
