"""Whether a graph is being made that leaves torch."""

import sys

import torch
from torch import Tensor


def in_onnx_export(x: Tensor) -> bool:
    """Whether an exporter to ONNX runs, of any torch; custom operators mean nothing to it.

    ``torch.onnx.is_in_onnx_export`` tells of the exporter that traces with TorchScript, and of the
    one that captures with ``torch.export`` in later torch only. By tracing (``dynamo=False``) the
    operators are exported on torch 2.4.1, 2.6.0 and 2.14.1, with ``dynamo=True`` on the latter two.
    With a free batch the inhomogeneous one is on 2.14.1 and not on 2.6.0, whose ``torch.export``
    refuses a guard of its own; those between were not tried.

    Args:
        x (Tensor): The map that the operator is called with.

    Returns:
        bool: True if standard operators are needed.
    """
    if torch.onnx.is_in_onnx_export():
        return True
    # Nobody is asked but while a graph is captured: by the compiler, with fakes, or by tracing.
    captured = torch.compiler.is_compiling() or type(x) is not Tensor or torch.jit.is_tracing()
    return captured and _called_by_onnx_exporter()


@torch.compiler.assume_constant_result
def _called_by_onnx_exporter() -> bool:
    """Look who captures; asked while a graph is captured alone, and part of none."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("torch.onnx."):
            return True
        frame = frame.f_back
    return False
