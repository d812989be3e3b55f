"""CPU features of this machine."""

from functools import cache

import torch


@cache
def has_bfloat16_instructions() -> bool:
    """Check whether this machine's CPU has bfloat16 matrix multiplication.

    Returns:
        bool: What oneDNN, PyTorch's CPU library, found.
    """
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def vector_instructions() -> str:
    """Name the vector instruction set that PyTorch's CPU kernels use.

    Returns:
        str: Such as "AVX2" or "AVX512".
    """
    return torch.backends.cpu.get_cpu_capability()
