"""Validation of discovered blocks: adding zero maps must not change the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts.block import HostBlock

NO_GRADIENT = "its blocks receive no gradient in training"


@dataclass
class Trial:
    """Result of validating blocks.

    Args:
        fault (str): Reason why validation failed, empty if it passed. Defaults to "".
        beside (list[int]): Indices of blocks outside the chain, which belong to another branch or
            whose output is discarded. Defaults to none.
        unused (list[int]): Indices of blocks on which the output of the host does not depend.
            Defaults to none.
    """

    fault: str = ""
    beside: list[int] = field(default_factory=list)
    unused: list[int] = field(default_factory=list)


def try_zeros(
    host: nn.Module,
    blocks: Sequence[HostBlock],
    images: Tensor,
    grids: Sequence[tuple[int, int]] | None = None,
) -> Trial:
    """Add the input of blocks, times zero, to their output, and compare the host's output.

    Args:
        host (nn.Module): Backbone inside :func:`~smallvit.hosts.rest.dry_run_mode`.
        blocks (Sequence[HostBlock]): Blocks to validate.
        images (Tensor): Images (B, C, H, W).
        grids (Sequence[tuple[int, int]], optional): Expected grid of each block.
            Defaults to None: not checked.

    Returns:
        Trial: Result of the validation.
    """
    zeros = [images.new_zeros(1, block.channels, 1, 1, requires_grad=True) for block in blocks]
    inputs: dict[int, Tensor] = {}
    with torch.no_grad():
        expected = tensors_of(host(images))
    try:
        with _placed(blocks, zeros, inputs, grids), torch.enable_grad():
            actual = tensors_of(host(images))
    except Exception as error:
        return Trial(f"it fails with maps added to its blocks ({_in_short(error)})")
    if not _all_same(actual, expected):
        return Trial(_why_not_same(host, images))
    try:
        with torch.enable_grad():  # the caller may have disabled gradients
            return _follow(actual, zeros, inputs)
    except Exception as error:
        return Trial(f"no gradients can be computed ({_in_short(error)})")


def fault_of_grids(host: nn.Module, blocks: Sequence[HostBlock], images: Tensor) -> str | None:
    """Report wrong grids of blocks for images of another size.

    Args:
        host (nn.Module): Backbone inside :func:`~smallvit.hosts.rest.dry_run_mode`.
        blocks (Sequence[HostBlock]): Blocks to validate.
        images (Tensor): Images (B, C, H, W).

    Returns:
        str | None: Error message, empty if the grids are right; None if the host does not accept
        such images.
    """
    zeros = [images.new_zeros(1, block.channels, 1, 1) for block in blocks]
    try:
        with _placed(blocks, zeros, {}), torch.no_grad():
            host(images)
    except HostError as error:
        return _in_short(error)
    except Exception:
        return None
    return ""


def fault_in_training(host: nn.Module, blocks: Sequence[HostBlock], images: Tensor) -> str:
    """Report why shortcuts around blocks cannot be trained; some backbones differ in training.

    Args:
        host (nn.Module): Backbone inside :func:`~smallvit.hosts.rest.dry_run_mode`, which undoes
            the effects of training; it is in evaluation mode afterwards.
        blocks (Sequence[HostBlock]): Blocks to validate.
        images (Tensor): Images (B, C, H, W), at least two for batch norms.

    Returns:
        str: Error message; empty if training works, or if the host does not train on such images
        even without shortcuts.
    """
    zeros = [images.new_zeros(1, b.channels, 1, 1, requires_grad=True) for b in blocks]
    host.train()
    try:
        with _placed(blocks, zeros, {}), torch.enable_grad():
            total = _total(tensors_of(host(images)))
            if not (torch.is_tensor(total) and total.requires_grad):
                return NO_GRADIENT
            gradients = torch.autograd.grad(total, zeros, allow_unused=True)
    except Exception as error:
        alone = _trains_alone(host, images)
        return f"training fails with maps added to its blocks ({_in_short(error)})" if alone else ""
    finally:
        host.eval()
    # Some blocks may be skipped at random.
    return "" if any(each is not None for each in gradients) else NO_GRADIENT


def _trains_alone(host: nn.Module, images: Tensor) -> bool:
    try:
        with torch.no_grad():
            host(images)
    except Exception:
        return False
    return True


def _total(outputs: Sequence[Tensor]) -> Any:
    return sum((each.float() * _weights(each)).sum() for each in outputs)


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:150]


@contextmanager
def _placed(
    blocks: Sequence[HostBlock],
    zeros: Sequence[Tensor],
    inputs: dict[int, Tensor],
    grids: Sequence[tuple[int, int]] | None = None,
) -> Iterator[None]:
    sources = {id(block.grid): block.grid for block in blocks if block.grid is not None}
    handles = [handle for source in sources.values() for handle in source.watch()]
    for index, (block, zero) in enumerate(zip(blocks, zeros, strict=True)):
        hw = grids[index] if grids else None
        hook = partial(_add_zeros, block, zero, hw, inputs, index)
        handles.append(block.module.register_forward_hook(hook, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _why_not_same(host: nn.Module, images: Tensor) -> str:
    with torch.no_grad():
        again = [tensors_of(host(images)) for _ in range(2)]
    if not _all_same(again[0], again[1]):
        return "its output in evaluation mode is not deterministic"
    return "its output changes if zeros are added to its blocks"


def _follow(actual: Sequence[Tensor], zeros: list[Tensor], inputs: dict[int, Tensor]) -> Trial:
    """Find the chain of blocks that lead to the output, from the autograd graph."""
    ways = _Dependencies(zeros)
    used = ways.into(actual)
    if not used & 1:
        return Trial("its first block receives no gradient")
    # Only checks that gradients can be computed; they may be zero if heads are initialized to zero.
    torch.autograd.grad(_total(actual), zeros, allow_unused=True)
    last = used.bit_length() - 1
    chain = _longest([ways.into([inputs[i]]) for i in range(len(zeros))], used, last)
    beside = [i for i in range(len(zeros)) if i not in chain]
    return Trial(beside=beside, unused=[i for i in range(len(zeros)) if not used >> i & 1])


def _longest(before: Sequence[int], used: int, last: int) -> list[int]:
    """Longest chain of blocks that depend on each other; the first of several.

    Args:
        before (Sequence[int]): Bit set of the blocks on which each block depends.
        used (int): Bit set of the blocks on which the output depends.
        last (int): Index of the last block on which the output depends; later ones are accepted
            without it.
    """
    rows: list[list[int]] = []
    for index, bits in enumerate(before):
        fitting = [rows[i] for i in range(index) if bits >> i & 1] if index else []
        leads = used >> index & 1 or index > last
        rows.append([*max(fitting, key=len, default=[]), index] if leads else [])
    return max(rows, key=len)


class _Dependencies:
    """Find the leaves on which tensors depend by traversing the autograd graph."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        self.bits = {id(leaf): 1 << index for index, leaf in enumerate(leaves)}
        self.found: dict[Any, int] = {}

    def into(self, tensors: Sequence[Tensor]) -> int:
        """Bit set of the leaves on which any of the tensors depends."""
        total = 0
        for tensor in tensors:
            total |= self.bits.get(id(tensor), 0)
            if tensor.grad_fn is not None:
                total |= self._into(tensor.grad_fn)
        return total

    def _into(self, root: Any) -> int:
        stack = [root]
        while stack:
            node = stack[-1]
            below = [each for each, _ in node.next_functions if each is not None]
            missing = [each for each in below if each not in self.found]
            if node not in self.found and missing:
                stack += missing
                continue
            own = self.bits.get(id(getattr(node, "variable", None)), 0)
            for each in below:
                own |= self.found[each]
            self.found[node] = own
            stack.pop()
        return self.found[root]


def _all_same(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    # Kernels may differ depending on which gradients are needed.
    return len(actual) == len(expected) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)
        for a, b in zip(actual, expected, strict=True)
    )


def _add_zeros(
    block: HostBlock,
    zero: Tensor,
    expected: tuple[int, int] | None,
    inputs: dict[int, Tensor],
    index: int,
    module: nn.Module,
    args: tuple,
    kwargs: dict,
    output: Any,
) -> Any:
    tokens, taken = block.output_of(output), block.input_of(args, kwargs)
    hw = block.read_grid(tokens, args, kwargs)
    if expected is not None and hw != expected:
        raise HostError(f"its grid changed from {expected} to {hw}")
    extra = tokens.shape[1] - hw[0] * hw[1] if block.layout == "BNC" else 0
    if extra != (block.max_extra_tokens if block.layout == "BNC" else 0):
        raise HostError(
            f"expected {block.max_extra_tokens} extra tokens before a grid of {hw[0]} x {hw[1]}, "
            f"got {extra} of {tokens.shape[1]} tokens"
        )
    inputs[index] = taken
    # Like a shortcut, GELU saves its input for the backward pass.
    feature = F.gelu(block.to_map(taken, hw)) * zero.to(tokens.dtype)
    return block.replace_output(output, block.add_map(tokens, feature))


def _weights(x: Tensor) -> Tensor:
    # A plain sum after a norm has zero gradient.
    return torch.linspace(-1, 1, x.numel(), device=x.device).reshape(x.shape).sin()


def tensors_of(output: Any) -> list[Tensor]:
    """Collect the floating-point tensors in the nested output of a backbone.

    Args:
        output (Any): Tensor, or nested dicts, tuples and lists of tensors.

    Returns:
        list[Tensor]: Floating-point tensors in order.
    """
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    values = output.values() if isinstance(output, dict) else output
    nested = values if isinstance(values, (tuple, list)) or isinstance(output, dict) else ()
    return [tensor for each in nested for tensor in tensors_of(each)]
