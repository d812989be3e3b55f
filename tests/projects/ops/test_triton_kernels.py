"""The Triton kernels against the plain path.

Triton decides at its import whether to interpret, so the comparison runs in a process of its own.
Compilation needs no GPU either: each kernel is compiled for one that is not there.
"""

import importlib.util
import os
import subprocess
import sys
import textwrap
from importlib.metadata import version

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)

COMPARE = """
import torch
from smallvit.ops import shifted_products, triton_kernels

CASES = [
    # More channels in a group than a block holds, a map larger than a block, k > map, odd sizes.
    (2, 6, 2, 5, 7, 3, torch.float32, 1e-6),
    (1, 18, 1, 4, 3, 3, torch.float64, 1e-14),
    (1, 3, 1, 13, 11, 3, torch.bfloat16, 2**-7),
    (1, 1, 1, 2, 3, 7, torch.float16, 2**-10),
]
for B, C, G, H, W, k, dtype, tolerance in CASES:
    formats = [torch.contiguous_format, torch.channels_last]
    for memory_format in formats if dtype == torch.float32 else formats[1:]:
        make = lambda channels: torch.randn(B, channels, H, W).to(dtype).contiguous(
            memory_format=memory_format
        )
        x, grad, weight = make(C), make(C), make(G * k * k).unflatten(1, (G, k * k))
        for name, inputs in (
            ("convolve", (x, weight)),
            ("grad_input", (grad, weight)),
            ("grad_weight", (grad, x, G, k)),
        ):
            ours = getattr(triton_kernels, name)(*inputs)
            expected = getattr(shifted_products, name)(*inputs)
            assert ours.dtype == dtype and ours.stride() == expected.stride(), name
            error = (ours.double() - expected.double()).abs().max()
            assert error <= tolerance * expected.double().abs().max(), (name, dtype, error)
empty = torch.empty(0, 2, 3, 3)
assert triton_kernels.convolve(empty, torch.empty(0, 1, 9, 3, 3)).shape == empty.shape
assert triton_kernels.grad_weight(empty, empty, 1, 3).shape == (0, 1, 9, 3, 3)
"""

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from smallvit.ops import triton_kernels
import triton.language as tl

FLOAT, HALF, DOUBLE = ("fp32", tl.float32), ("bf16", tl.float32), ("fp64", tl.float64)
for kernel, flags, dtypes in (
    (triton_kernels._gather_kernel, [{"ADJOINT": False}], [FLOAT, HALF, DOUBLE]),
    (triton_kernels._gather_kernel, [{"ADJOINT": True}], [HALF]),
    (triton_kernels._grad_weight_kernel, [{}], [FLOAT, HALF, DOUBLE]),
):
    for flag in flags:
        for dtype, total in dtypes:
            constants = {"K": 7, "SUM": total, "BLOCK_C": 4, "BLOCK_P": 128, **flag}
            signature = {
                name: "constexpr" if name in constants
                else f"*{dtype}" if name in ("source", "weight", "out", "grad")
                else "i32"
                for name in kernel.arg_names
            }
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
            compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32))
            assert "ptx" in compiled.asm
"""


def run(code: str, **environment: str) -> None:
    """Run code in a fresh process that does not inherit Triton's settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TRITON_")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_interpreted_kernels_match_plain_path():
    run(COMPARE, TRITON_INTERPRET="1")


def triton_version() -> tuple[int, ...]:
    return tuple(int(part) for part in version("triton").split(".")[:2])


@pytest.mark.slow
def test_kernels_compile_for_a_gpu(tmp_path):
    if triton_version() < (3, 3):
        pytest.skip("older versions compile ahead of time through another interface")
    run(COMPILE, TRITON_CACHE_DIR=str(tmp_path))


def test_cpu_users_never_import_triton():
    run(
        """
        import sys, torch
        from smallvit.ops import inhomogeneous_dwconv2d
        x = torch.ones(1, 2, 3, 3, requires_grad=True)
        weight = torch.ones(1, 1, 9, 3, 3, requires_grad=True)
        inhomogeneous_dwconv2d(x, weight).sum().backward()
        assert x.grad is not None
        assert "smallvit.ops.triton_kernels" not in sys.modules
        """
    )


def test_cuda_falls_back_without_triton(monkeypatch):
    from types import SimpleNamespace

    from smallvit.ops import inhomogeneous_dwconv, shifted_products

    on_cuda = SimpleNamespace(is_cuda=True)
    monkeypatch.setattr(inhomogeneous_dwconv, "find_spec", lambda name: None)
    inhomogeneous_dwconv._triton_kernels.cache_clear()
    try:
        assert inhomogeneous_dwconv._kernels(on_cuda) is shifted_products
    finally:
        inhomogeneous_dwconv._triton_kernels.cache_clear()
