"""CPU features of the current machine."""

from functools import cache

import torch


@cache
def has_bfloat16_instructions() -> bool:
    """Check whether the CPU has instructions for bfloat16 matrix multiplication.

    Returns:
        bool: Whether oneDNN, PyTorch's CPU library, reports bfloat16 support.
    """
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def vector_instructions() -> str:
    """Return the vector instruction set that PyTorch's CPU kernels use.

    Returns:
        str: Name of the instruction set, such as "AVX2" or "AVX512".
    """
    return torch.backends.cpu.get_cpu_capability()
