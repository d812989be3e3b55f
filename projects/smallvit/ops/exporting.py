"""Detection of graph export, and standard operators for exported graphs."""

import sys
from collections.abc import Iterator
from types import FrameType

import torch
import torch.nn.functional as F
from torch import Tensor


def in_onnx_export(x: Tensor) -> bool:
    """Whether an exporter to ONNX runs, of any torch; custom operators mean nothing to it.

    ``torch.onnx.is_in_onnx_export`` tells of the exporter that traces with TorchScript, and of the
    one that captures with ``torch.export`` in later torch only. By tracing (``dynamo=False``) the
    operators are exported on torch 2.4.1, 2.6.0, 2.7.1 and 2.14.1, with ``dynamo=True``, a free
    batch included, on the latter three. In 2.6 and 2.7 ``torch.export.Dim`` wants a largest batch,
    or ``Dim.DYNAMIC``.

    Args:
        x (Tensor): The map that the operator is called with.

    Returns:
        bool: True if standard operators are needed.
    """
    # Only checked while a graph is captured: by the compiler, with fake tensors, or by tracing.
    captured = torch.compiler.is_compiling() or type(x) is not Tensor or torch.jit.is_tracing()
    return captured and (torch.onnx.is_in_onnx_export() or _called_by_onnx_exporter())


@torch.compiler.assume_constant_result
def _called_by_onnx_exporter() -> bool:
    """Inspect who captures; called only while a graph is captured, and not part of it."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("torch.onnx."):
            return True
        frame = frame.f_back
    return False


def columns_of(x: Tensor, kernel_size: int) -> Iterator[Tensor]:
    """Gather the inputs of each column of a depth-wise kernel with standard operators.

    A node for each tap, of which there are 49, makes graphs that take minutes to export; a copy
    of the map for each tap takes 49 times its memory. Here there are 7 of both.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        kernel_size (int): Size k of the kernel, odd.

    Yields:
        Tensor: For column j (B, C, k, H, W): the map moved by j, and by each row of a kernel.
    """
    k, W = kernel_size, x.shape[3]
    shifts = torch.eye(k, dtype=x.dtype, device=x.device).view(k, 1, k, 1)
    rows = F.conv2d(x.flatten(0, 1).unsqueeze(1), shifts, padding=k // 2)
    rows = rows.unflatten(0, (-1, x.shape[1]))
    for j in range(k):
        yield rows[..., j : j + W]
