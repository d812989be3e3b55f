"""Detection of graph export, and standard operators for exported graphs."""

import sys
from collections.abc import Iterator
from types import FrameType

import torch
import torch.nn.functional as F
from torch import Tensor


def in_onnx_export(x: Tensor) -> bool:
    """Check on any torch whether an ONNX export runs, which does not support custom operators.

    ``torch.onnx.is_in_onnx_export`` covers the exporter that traces with TorchScript, but the
    one that captures with ``torch.export`` in later versions of torch only. With tracing
    (``dynamo=False``) the operators are exported on torch 2.4.1, 2.6.0, 2.7.1 and 2.14.1, with
    ``dynamo=True``, including a dynamic batch size, on the latter three. In 2.6 and 2.7
    ``torch.export.Dim`` requires a maximum batch size, or ``Dim.DYNAMIC``.

    Args:
        x (Tensor): Input map of the operator.

    Returns:
        bool: Whether standard operators must be used.
    """
    # Only checked while a graph is captured: by the compiler, with fake tensors, or by tracing.
    captured = torch.compiler.is_compiling() or type(x) is not Tensor or torch.jit.is_tracing()
    return captured and (torch.onnx.is_in_onnx_export() or _called_by_onnx_exporter())


@torch.compiler.assume_constant_result
def _called_by_onnx_exporter() -> bool:
    """Search the call stack for the ONNX exporter; only called while a graph is captured."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("torch.onnx."):
            return True
        frame = frame.f_back
    return False


def columns_of(x: Tensor, kernel_size: int) -> Iterator[Tensor]:
    """Gather the inputs of each column of a depth-wise kernel with standard operators.

    For a 7x7 kernel, a node for each of the 49 taps results in graphs that take minutes to
    export, and a copy of the map for each tap takes 49 times its memory. Here there are 7 of both.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        kernel_size (int): Odd kernel size k.

    Yields:
        Tensor: For each column of the kernel, the map shifted by the column and by each of the k
        rows, (B, C, k, H, W).
    """
    k, W = kernel_size, x.shape[3]
    shifts = torch.eye(k, dtype=x.dtype, device=x.device).view(k, 1, k, 1)
    rows = F.conv2d(x.flatten(0, 1).unsqueeze(1), shifts, padding=k // 2)
    rows = rows.unflatten(0, (-1, x.shape[1]))
    for j in range(k):
        yield rows[..., j : j + W]
