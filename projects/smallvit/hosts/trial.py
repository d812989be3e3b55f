"""Validate discovered blocks: adding zero maps must change nothing and have gradients."""

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

NO_GRADIENT = "in training no gradient arrives at its blocks"


@dataclass
class Trial:
    """Result of validating blocks.

    Args:
        fault (str): What is wrong with all, empty if nothing is. Defaults to "".
        beside (list[int]): Blocks of which the following ones take nothing: of another stream, or
            whose output is thrown away. Defaults to none.
        unused (list[int]): Blocks that what the host returns does not depend on.
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
    """Add the input of blocks, times zero, to their output.

    Args:
        host (nn.Module): The backbone, at rest.
        blocks (Sequence[HostBlock]): Its blocks, which are not used otherwise.
        images (Tensor): (B, C, H, W).
        grids (Sequence[tuple[int, int]], optional): Grid of each for these images.
            Defaults to None, not known.

    Returns:
        Trial: What it showed.
    """
    zeros = [images.new_zeros(1, block.channels, 1, 1, requires_grad=True) for block in blocks]
    inputs: dict[int, Tensor] = {}
    with torch.no_grad():
        expected = tensors_of(host(images))
    try:
        with _placed(blocks, zeros, inputs, grids), torch.enable_grad():
            actual = tensors_of(host(images))
    except Exception as error:
        return Trial(f"maps beside its blocks stop it ({_in_short(error)})")
    if not _all_same(actual, expected):
        return Trial(_why_not_same(host, images))
    try:
        with torch.enable_grad():  # whoever views a host may do so without gradients
            return _follow(actual, zeros, inputs)
    except Exception as error:
        return Trial(f"no gradients pass it ({_in_short(error)})")


def fault_of_grids(host: nn.Module, blocks: Sequence[HostBlock], images: Tensor) -> str | None:
    """Report wrong grids of blocks for images of another size.

    Args:
        host (nn.Module): The backbone, at rest.
        blocks (Sequence[HostBlock]): Its blocks, which are not used otherwise.
        images (Tensor): (B, C, H, W).

    Returns:
        str | None: What is wrong, empty if nothing is; None if it takes no such images.
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
    """Report what prevents training shortcuts beside blocks; some backbones differ in training.

    Args:
        host (nn.Module): The backbone, :func:`~smallvit.hosts.rest.at_rest`, which puts back what
            training changes; it is in evaluation afterwards.
        blocks (Sequence[HostBlock]): Its blocks, which are not used otherwise.
        images (Tensor): (B, C, H, W), two or more for norms over the batch.

    Returns:
        str: What is wrong, empty if nothing is, or if it trains on no such images at all.
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
        return f"maps beside its blocks stop its training ({_in_short(error)})" if alone else ""
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
        return "it returns something else each time, in evaluation too"
    return "a map of zeros beside its blocks changes what it returns"


def _follow(actual: Sequence[Tensor], zeros: list[Tensor], inputs: dict[int, Tensor]) -> Trial:
    """Blocks that the output depends on, one through the other."""
    ways = _Ways(zeros)
    used = ways.into(actual)
    if not used & 1:
        return Trial("no gradient arrives at its first block")
    # It may be zero, for heads may begin so; that it can be computed is what is asked.
    torch.autograd.grad(_total(actual), zeros, allow_unused=True)
    last = used.bit_length() - 1
    chain = _longest([ways.into([inputs[i]]) for i in range(len(zeros))], used, last)
    beside = [i for i in range(len(zeros)) if i not in chain]
    return Trial(beside=beside, unused=[i for i in range(len(zeros)) if not used >> i & 1])


def _longest(before: Sequence[int], used: int, last: int) -> list[int]:
    """The longest row of blocks that follow from each other; of several, the one that begins first.

    Args:
        before (Sequence[int]): The blocks that lead to each, as bits.
        used (int): The blocks that lead to the output, as bits.
        last (int): The last of them; those behind it may lead nowhere.
    """
    rows: list[list[int]] = []
    for index, bits in enumerate(before):
        fitting = [rows[i] for i in range(index) if bits >> i & 1] if index else []
        leads = used >> index & 1 or index > last
        rows.append([*max(fitting, key=len, default=[]), index] if leads else [])
    return max(rows, key=len)


class _Ways:
    """Which leaves the tensors depend on, from the autograd graph; nothing is computed."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        self.bits = {id(leaf): 1 << index for index, leaf in enumerate(leaves)}
        self.found: dict[Any, int] = {}

    def into(self, tensors: Sequence[Tensor]) -> int:
        """Bits of the leaves that lead to any of the tensors."""
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
        raise HostError(f"its grid was {expected} and then {hw}")
    extra = tokens.shape[1] - hw[0] * hw[1] if block.layout == "BNC" else 0
    if extra != (block.max_extra_tokens if block.layout == "BNC" else 0):
        raise HostError(
            f"{tokens.shape[1]} tokens have {extra} others in front of a grid of {hw[0]} x {hw[1]}"
            f", and had {block.max_extra_tokens}"
        )
    inputs[index] = taken
    # Like a shortcut, this keeps its input for the backward pass.
    feature = F.gelu(block.to_map(taken, hw)) * zero.to(tokens.dtype)
    return block.replace_output(output, block.add_map(tokens, feature))


def _weights(x: Tensor) -> Tensor:
    # A plain sum after a norm has zero gradient.
    return torch.linspace(-1, 1, x.numel(), device=x.device).reshape(x.shape).sin()


def tensors_of(output: Any) -> list[Tensor]:
    """Real-valued tensors in the output of a backbone, however nested.

    Args:
        output (Any): A tensor, or dicts, tuples and lists of them.

    Returns:
        list[Tensor]: In order.
    """
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    values = output.values() if isinstance(output, dict) else output
    nested = values if isinstance(values, (tuple, list)) or isinstance(output, dict) else ()
    return [tensor for each in nested for tensor in tensors_of(each)]
