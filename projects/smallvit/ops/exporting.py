"""Whether a graph is being made that leaves torch."""

import sys

import torch


def in_onnx_export() -> bool:
    """Whether an exporter to ONNX runs, of any torch; custom operators mean nothing to it.

    ``torch.onnx.is_in_onnx_export`` tells of the exporter that traces with TorchScript, and of the
    one that captures with ``torch.export`` in later torch only.

    Returns:
        bool: True if standard operators are needed.
    """
    if torch.onnx.is_in_onnx_export():
        return True
    return torch.compiler.is_compiling() and _called_by_onnx_exporter()


@torch.compiler.assume_constant_result
def _called_by_onnx_exporter() -> bool:
    """Look who captures; asked while a graph is captured alone, and part of none."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("torch.onnx."):
            return True
        frame = frame.f_back
    return False
