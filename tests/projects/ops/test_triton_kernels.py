"""Triton kernels compared with the plain implementation.

Triton decides at import whether to use the interpreter, so the comparison runs in its own process.
Compilation does not need a GPU: each kernel is compiled for a target device.
"""

import importlib.util
import os
import subprocess
import sys
import textwrap
from importlib.metadata import version

import pytest

import fresh

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)

COMPARE = """
import torch
from smallvit.ops import shifted_products, triton_kernels

CASES = [
    # Several groups and samples, more rows than a program sums, a group that fills no block.
    (2, 6, 2, 5, 7, 3, torch.float32, 1e-6),
    # More channels in a group than a block holds; a group that fills its block.
    (1, 34, 1, 2, 3, 3, torch.float64, 1e-14),
    (1, 4, 1, 3, 3, 3, torch.float64, 1e-14),
    # Several blocks of columns; a kernel that is larger than the map.
    (1, 2, 1, 3, 70, 3, torch.bfloat16, 2**-7),
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

COMPILE = r"""
import re, subprocess, sys
from pathlib import Path
import torch
import triton
import triton.language as tl
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from smallvit.ops import triton_kernels

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
CUOBJDUMP = Path(nvidia.__file__).parent / "bin" / "cuobjdump"

def compile_kernel(kernel, width, channels_last, dtype, capability, **flags):
    # Strides as the launcher sees them: 1 is a constant, multiples of 16 are known as such.
    if kernel is triton_kernels._gather_kernel:
        tile = triton_kernels.gather_tile(32, width, channels_last, DTYPES[dtype])
    else:
        tile = triton_kernels.weight_tile(32, width, channels_last)
        flags["BLOCKS"] = 1
    ones = {f"{m}_{'c' if channels_last else 'w'}" for m in ("source", "grad")}
    if kernel is triton_kernels._gather_kernel:
        ones |= {"out_c", "weight_t"} if channels_last else {"out_w", "weight_w"}
    else:
        ones |= {"out_w"}
    constants = {
        "K": 7, "SUM": tl.float64 if dtype == "fp64" else tl.float32, "BLOCK_C": tile.channels,
        "BLOCK_W": tile.columns, "WHOLE": tile.whole, **flags,
    }
    signature, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in ones:
            constants[name] = 1
        if name in constants:
            signature[name] = "constexpr"
            continue
        pointer = name in ("source", "weight", "out", "grad")
        signature[name] = f"*{dtype}" if pointer else "i32"
        if pointer or name == "channels" or re.search("_[bch]$|_w$", name) and channels_last:
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": tile.warps}
    )
    assert "ptx" in compiled.asm
    if CUOBJDUMP.exists():
        cubin = Path(sys.argv[1]) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        usage = subprocess.run(
            [CUOBJDUMP, "-res-usage", cubin], capture_output=True, text=True, check=True
        )
        (stack,) = re.findall(r"STACK:(\d+)", usage.stdout + usage.stderr)
        where = (kernel.__name__, width, channels_last, dtype, capability, flags)
        # What does not fit a thread's registers is spilled to its stack.
        assert int(stack) == 0, where

for case in eval(sys.argv[2]):
    width, channels_last, dtype, capability = case
    for adjoint in (False, True):
        compile_kernel(triton_kernels._gather_kernel, *case, ADJOINT=adjoint)
    compile_kernel(triton_kernels._grad_weight_kernel, *case)
"""


def run(code: str, *arguments: str, **environment: str) -> None:
    """Run code in a new process without Triton's environment variables."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TRITON_")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
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


QUICK = [(7, True, "bf16", 90)]
# The maps of DWNet in both memory formats, all dtypes and two GPU architectures.
ALL = [
    (width, channels_last, dtype, capability)
    for width in (56, 28, 14, 7)
    for channels_last in (False, True)
    for dtype in ("fp32", "bf16", "fp64")
    for capability in (80, 90)
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cases", [QUICK, pytest.param(ALL, marks=pytest.mark.exhaustive)], ids=["quick", "all"]
)
def test_kernels_compile_for_a_gpu_without_spills(cases, tmp_path):
    if triton_version() < (3, 3):
        pytest.skip("older versions have another interface for ahead-of-time compilation")
    run(COMPILE, str(tmp_path), repr(cases), TRITON_CACHE_DIR=str(tmp_path))


def test_cpu_users_never_import_triton():
    done = fresh.run(
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
    assert done.returncode == 0, done.stderr


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
