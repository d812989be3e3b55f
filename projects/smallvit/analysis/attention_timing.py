"""Comparison of fused and explicit attention on the current machine."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smallvit.analysis.harness import time_interleaved
from smallvit.layers.attention_form import explicit_attention, is_explicit_faster
from smallvit.layers.heads import split_joint
from smallvit.ops.processor import has_bfloat16_instructions, vector_instructions

#: Tokens and batch sizes: digits and CIFAR with patch size 4, with and without class and head
#: tokens; 224x224 with patch size 16; larger ones.
SIZES = ((49, 64), (65, 64), (65, 1), (101, 32), (197, 8), (197, 1), (401, 4), (785, 2))
#: Heads and channels per head: DHVT, vit-mini, ViT-T.
HEADS = ((4, 16), (4, 32), (4, 48), (3, 64))
FORMS: dict[str, Callable[..., Tensor]] = {
    "fused": F.scaled_dot_product_attention,
    "explicit": explicit_attention,
}


def describe_processor() -> str:
    """Describe the CPU and the features that determine the faster attention implementation.

    Returns:
        str: Description in one line.
    """
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    has = "with" if has_bfloat16_instructions() else "without"
    return f"{name}, {vector_instructions()}, {has} bfloat16 instructions"


def time_attention(
    tokens: int,
    batch: int,
    heads: int,
    head_dims: int,
    dtype: torch.dtype = torch.float32,
    training: bool = False,
    device: str = "cpu",
    rounds: int = 5,
    seconds: float = 0.05,
) -> dict[str, Any]:
    """Time both implementations alternately, including the split of the joint projection.

    Args:
        tokens (int): Number of tokens.
        batch (int): Number of images.
        heads (int): Number of attention heads.
        head_dims (int): Channels per head.
        dtype (torch.dtype): Dtype of queries, keys and values. Defaults to torch.float32.
        training (bool): Whether to include a backward pass. Defaults to False.
        device (str): Device to run on. Defaults to "cpu".
        rounds (int): Number of measurements of each implementation. Defaults to 5.
        seconds (float): Minimum duration of a measurement. Defaults to 0.05.

    Returns:
        dict: The sizes; ``cpu`` and ``wall``, median seconds of each implementation; ``ratio``,
        median over the rounds of fused over explicit CPU time (wall time on accelerators);
        ``chosen``, the implementation that layers use.
    """
    generator = torch.Generator().manual_seed(0)
    joint = torch.randn(batch, tokens, 3 * heads * head_dims, generator=generator)
    joint = joint.to(device, dtype).requires_grad_(training)
    gradient = torch.randn(batch, heads, tokens, head_dims, generator=generator)
    gradient = gradient.to(device, dtype)

    def call(form: Callable[..., Tensor]) -> None:
        with torch.set_grad_enabled(training):
            out = form(*split_joint(joint, 3, heads))
        if training:
            torch.autograd.grad(out, joint, gradient)

    calls = {name: partial(call, form) for name, form in FORMS.items()}
    turns = time_interleaved(calls, rounds, warm_up=1, seconds=seconds, device=device)
    clock = "cpu" if device == "cpu" else "wall"
    sizes = dict(batch=batch, heads=heads, queries=tokens, keys=tokens, gradients=training)
    explicit = is_explicit_faster(torch.device(device), dtype, **sizes)
    ratios = [getattr(turn["fused"], clock) / getattr(turn["explicit"], clock) for turn in turns]
    return {
        "tokens": tokens,
        "batch": batch,
        "heads": heads,
        "head_dims": head_dims,
        "dtype": str(dtype).removeprefix("torch."),
        "training": training,
        "ratio": statistics.median(ratios),
        "chosen": "explicit" if explicit else "fused",
        **{
            kind: {
                name: statistics.median(getattr(turn[name], kind) for turn in turns)
                for name in FORMS
            }
            for kind in ("cpu", "wall")
        },
    }


def header() -> str:
    """Header of the table with rows from :func:`row`."""
    return (
        f"{'dtype':9} {'':9} {'tokens':>6} {'heads':>8} {'batch':>5} {'fused CPU':>10} {'wall':>8} "
        f"{'explicit CPU':>13} {'wall':>8} {'fused / explicit':>17}  chosen"
    )


def row(found: dict[str, Any]) -> str:
    """Format a result of :func:`time_attention` as a table row, with times in milliseconds.

    Args:
        found (dict): Result of :func:`time_attention`.

    Returns:
        str: Row of the table.
    """
    ms = {kind: {name: 1000 * s for name, s in found[kind].items()} for kind in ("cpu", "wall")}
    mode = "training" if found["training"] else "inference"
    heads = f"{found['heads']} x {found['head_dims']}"
    return (
        f"{found['dtype']:9} {mode:9} {found['tokens']:6} {heads:>8} {found['batch']:5} "
        f"{ms['cpu']['fused']:10.2f} {ms['wall']['fused']:8.2f} "
        f"{ms['cpu']['explicit']:13.2f} {ms['wall']['explicit']:8.2f} "
        f"{found['ratio']:17.2f}  {found['chosen']}"
    )


def time_all(
    dtypes: Sequence[torch.dtype],
    sizes: Sequence[tuple[int, int]] = SIZES,
    heads: Sequence[tuple[int, int]] = HEADS,
    **kwargs: Any,
) -> Iterator[dict[str, Any]]:
    """Time both implementations for all sizes, in inference and in training.

    Args:
        dtypes (Sequence[torch.dtype]): Dtypes of queries, keys and values.
        sizes (Sequence[tuple[int, int]]): Tokens and batch sizes. Defaults to :data:`SIZES`.
        heads (Sequence[tuple[int, int]]): Heads and channels per head. Defaults to
            :data:`HEADS`.
        **kwargs: ``device``, ``rounds`` and ``seconds`` of :func:`time_attention`.

    Yields:
        dict: Result of :func:`time_attention`.
    """
    for dtype in dtypes:
        for training in (False, True):
            for tokens, batch in sizes:
                for count, dims in heads:
                    yield time_attention(tokens, batch, count, dims, dtype, training, **kwargs)
