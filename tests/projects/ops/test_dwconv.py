"""Tests shared by the dynamic and the inhomogeneous depth-wise convolution."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from smallvit.ops import dynamic_dwconv2d, inhomogeneous_dwconv2d
from smallvit.ops.exporting import in_onnx_export


def naive_inhomogeneous(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (B, C, H, W) with (B, G, k * k, H, W), reading the map one position at a time."""
    B, C, H, W = x.shape
    G, k = weight.shape[1], round(weight.shape[2] ** 0.5)
    rows = []
    for h in range(H):
        for w in range(W):
            value = x.new_zeros(B, C)
            for i in range(k):
                for j in range(k):
                    y, z = h + i - k // 2, w + j - k // 2
                    if 0 <= y < H and 0 <= z < W:
                        tap = weight[:, :, i * k + j, h, w].repeat_interleave(C // G, dim=1)
                        value = value + tap * x[:, :, y, z]
            rows.append(value)
    return torch.stack(rows, dim=-1).view(B, C, H, W)


def naive_dynamic(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (B, C, H, W) with (B, C, k, k): the same kernel at every position."""
    kernels = weight.flatten(2)[..., None, None].expand(-1, -1, -1, *x.shape[2:])
    return naive_inhomogeneous(x, kernels)


OPERATORS = {
    "dynamic": SimpleNamespace(
        run=dynamic_dwconv2d,
        reference=naive_dynamic,
        weight_shape=lambda B, C, G, H, W, k: (B, C, k, k),
    ),
    "inhomogeneous": SimpleNamespace(
        run=inhomogeneous_dwconv2d,
        reference=naive_inhomogeneous,
        weight_shape=lambda B, C, G, H, W, k: (B, G, k * k, H, W),
    ),
}


@pytest.fixture(params=OPERATORS)
def op(request) -> SimpleNamespace:
    return OPERATORS[request.param]


def make_inputs(op, B=2, groups=3, channels=2, H=5, W=7, k=3, dtype=torch.float32):
    """Create a map with ``groups * channels`` channels, and kernels for it."""
    generator = torch.Generator().manual_seed(B + 10 * groups + 100 * H + 1000 * W)
    shape = op.weight_shape(B, groups * channels, groups, H, W, k)
    x = torch.randn(B, groups * channels, H, W, generator=generator, dtype=torch.float64)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x.to(dtype), weight.to(dtype)


def gradients(function, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a weighted sum of the output, in float64."""
    x, weight = x.detach().clone().requires_grad_(), weight.detach().clone().requires_grad_()
    out = function(x, weight)
    scale = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return torch.autograd.grad((out * scale).sum(), (x, weight))


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare relative to the largest value."""
    assert actual.shape == expected.shape
    error = (actual.double() - expected.double()).abs().max()
    assert error <= tolerance * expected.double().abs().max(), error


@pytest.mark.parametrize("name", OPERATORS)
@given(
    B=st.integers(1, 3),
    groups=st.integers(1, 3),
    channels=st.integers(1, 3),
    H=st.integers(1, 6),
    W=st.integers(1, 6),
    k=st.sampled_from([1, 3, 5, 7, 9, 11]),
    channels_last=st.booleans(),
)
@settings(max_examples=25)
def test_matches_definition(name, B, groups, channels, H, W, k, channels_last):
    op = OPERATORS[name]
    x, weight = make_inputs(op, B, groups, channels, H, W, k, torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    # Sums of up to 121 products in a different order: 121 roundings of 1e-16 in double precision.
    assert_near(op.run(x, weight), op.reference(x, weight), 1e-12)
    for ours, expected in zip(
        gradients(op.run, x, weight), gradients(op.reference, x, weight), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("H", "W", "k"), [(3, 2, 3), (1, 3, 5)])
def test_first_and_second_gradients(op, H, W, k):
    inputs = make_inputs(op, 2, 1, 2, H, W, k, torch.float64)
    inputs = tuple(t.requires_grad_() for t in inputs)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(op.run, (*inputs, bias))
    assert torch.autograd.gradgradcheck(op.run, inputs)


@pytest.mark.parametrize("wanted", ["x", "weight"])
def test_gradient_of_one_input(op, wanted):
    inputs = dict(zip(("x", "weight"), make_inputs(op), strict=True))
    inputs[wanted].requires_grad_()
    op.run(**inputs).sum().backward()
    frozen = ({"x", "weight"} - {wanted}).pop()
    assert inputs[wanted].grad is not None
    assert inputs[frozen].grad is None


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-6), (torch.bfloat16, 2**-8), (torch.float16, 2**-11)],
)
def test_dtypes(op, dtype, tolerance):
    x, weight = make_inputs(op, k=7, dtype=dtype)
    out = op.run(x, weight)
    assert out.dtype == dtype
    # Sums are accumulated in float32, so only the rounding of the result remains.
    assert_near(out, op.reference(x.double(), weight.double()), tolerance)
    ours = gradients(op.run, x, weight)
    scale = torch.linspace(-1, 1, out.numel(), dtype=dtype).view(out.shape).double()
    leaves = x.double().requires_grad_(), weight.double().requires_grad_()
    expected = torch.autograd.grad((op.reference(*leaves) * scale).sum(), leaves)
    for actual, reference in zip(ours, expected, strict=True):
        assert actual.dtype == dtype
        assert_near(actual, reference, 2 * tolerance)


def test_bias_is_added_per_channel(op):
    x, weight = make_inputs(op)
    bias = torch.arange(x.shape[1], dtype=x.dtype)
    torch.testing.assert_close(
        op.run(x, weight, bias), op.run(x, weight) + bias.view(1, -1, 1, 1), rtol=0, atol=0
    )


def test_output_keeps_memory_format(op):
    x, weight = make_inputs(op)
    expected = op.run(x, weight)
    assert expected.is_contiguous()
    out = op.run(x.contiguous(memory_format=torch.channels_last), weight)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert_near(out, expected, 1e-6)


def test_strided_views(op):
    x, weight = make_inputs(op)
    wide = torch.zeros(*x.shape[:3], 2 * x.shape[3])
    wide[..., ::2] = x
    transposed = weight.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert_near(op.run(wide[..., ::2], transposed), op.run(x, weight), 1e-6)


def test_results_do_not_depend_on_blocks(op, monkeypatch):
    from smallvit.ops import shifted_products

    x, weight = make_inputs(op, B=3, dtype=torch.float64)
    expected = op.run(x, weight), *gradients(op.run, x, weight)
    monkeypatch.setattr(shifted_products, "BLOCK_ELEMENTS", 1)
    for actual, reference in zip(
        (op.run(x, weight), *gradients(op.run, x, weight)), expected, strict=True
    ):
        torch.testing.assert_close(actual, reference)


def test_empty_batch(op):
    x, weight = make_inputs(op)
    x, weight = x[:0].requires_grad_(), weight[:0].requires_grad_()
    out = op.run(x, weight)
    out.sum().backward()
    assert out.shape == x.shape
    assert weight.grad.shape == weight.shape


def test_autocast_casts_all_inputs(op):
    x, weight = make_inputs(op)
    x.requires_grad_()
    bias = torch.ones(x.shape[1])
    with torch.autocast("cpu", torch.bfloat16):
        out = op.run(x, weight.bfloat16(), bias)
        double = op.run(x.double(), weight.double())
    assert out.dtype == torch.bfloat16
    assert double.dtype == torch.float64
    assert_near(out, double + 1, 2**-6)
    out.sum().backward()
    assert x.grad.dtype == torch.float32


def test_meta_tensors(op):
    x, weight = make_inputs(op)
    assert op.run(x.to("meta"), weight.to("meta")).shape == x.shape


def test_operator_contract(op):
    from torch.library import opcheck

    x, weight = make_inputs(op, B=1, groups=1, H=2, W=3)
    name = op.run.__name__
    inputs = x.requires_grad_(), weight.requires_grad_()
    opcheck(getattr(torch.ops.smallvit, name).default, inputs)


def test_compiles_without_break(op):
    x, weight = make_inputs(op)
    # Only graph capture is specific to this operator, so one backend without C++ suffices.
    compiled = torch.compile(op.run, fullgraph=True, backend="aot_eager", dynamic=True)
    torch.testing.assert_close(compiled(x, weight), op.run(x, weight))
    for ours, expected in zip(
        gradients(compiled, x, weight), gradients(op.run, x, weight), strict=True
    ):
        torch.testing.assert_close(ours, expected)
    larger = make_inputs(op, B=3, H=6)
    torch.testing.assert_close(compiled(*larger), op.run(*larger))
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(x, weight).dtype == torch.bfloat16


class Wrapped(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, weight):
        return self.function(x, weight)


def run_onnx(path: Path, *inputs: Tensor) -> Tensor:
    """Run an exported operator with onnxruntime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    feed = dict(zip(names, (t.numpy() for t in inputs), strict=True))
    return torch.from_numpy(np.asarray(session.run(None, feed)[0]))


@pytest.mark.parametrize(
    "free",
    [
        # A dynamic batch size is the harder case.
        pytest.param(False, id="fixed", marks=pytest.mark.exhaustive),
        pytest.param(True, id="free_batch"),
    ],
)
def test_onnx_export(op, free, tmp_path):
    pytest.importorskip("onnxscript")
    if "dynamic_shapes" not in inspect.signature(torch.onnx.export).parameters:
        pytest.skip(f"dynamo=True does not support dynamic shapes in torch {torch.__version__}")
    inputs = make_inputs(op)
    path = tmp_path / "op.onnx"
    # Without an upper bound, torch 2.6 and 2.7 fail on their own guards for the batch size.
    axis = {0: torch.export.Dim("batch", max=1024)}
    torch.onnx.export(
        Wrapped(op.run).eval(),
        inputs,
        str(path),
        dynamo=True,
        verbose=False,
        dynamic_shapes=(axis, axis) if free else None,
    )
    assert_near(run_onnx(path, *inputs), op.run(*inputs), 1e-6)
    if free:
        more = make_inputs(op, B=5)
        assert_near(run_onnx(path, *more), op.run(*more), 1e-6)


def test_onnx_export_by_tracing(op, tmp_path):
    """The TorchScript exporter, which every version of torch has."""
    inputs = make_inputs(op)
    path = tmp_path / "op.onnx"
    torch.onnx.export(Wrapped(op.run).eval(), inputs, str(path), dynamo=False)
    assert_near(run_onnx(path, *inputs), op.run(*inputs), 1e-6)


def test_exporters_are_detected_from_the_call_stack(monkeypatch):
    """Older versions of torch do not tell that an exporter is capturing the graph."""
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: False)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not in_onnx_export(torch.ones(1))
    scope = {"__name__": "torch.onnx._internal.exporter", "ask": in_onnx_export}
    exec("def export(x):\n    return ask(x)", scope)
    assert scope["export"](torch.ones(1))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: False)
    assert not scope["export"](torch.ones(1))
    with FakeTensorMode():
        assert scope["export"](torch.ones(1))


def expect(op, error, pattern, x, weight, bias=None):
    with pytest.raises(error, match=pattern):
        op.run(x, weight, bias)


def test_errors_name_the_value(op):
    x, weight = make_inputs(op)
    expect(op, ValueError, r"x of shape \(B, C, H, W\), got \(6, 5, 7\)", x[0], weight)
    expect(op, ValueError, r"weight of shape .* got \(", x, weight[0])
    expect(op, ValueError, "2 samples of x, got 1", x, weight[:1])
    expect(op, ValueError, r"bias of shape \(6,\), got \(5,\)", x, weight, torch.ones(5))
    expect(op, TypeError, "float32 and torch.float64", x, weight.double())
    expect(op, TypeError, "floating point", x.long(), weight.long())


def test_errors_of_dynamic():
    op = OPERATORS["dynamic"]
    x, weight = make_inputs(op)
    expect(op, ValueError, "odd size, got 3x2", x, weight[..., :2])
    expect(op, ValueError, "odd size, got 2x2", x, weight[..., :2, :2])
    expect(op, ValueError, "6 channels as in x, got 5", x, weight[:, :5])


def test_errors_of_inhomogeneous():
    op = OPERATORS["inhomogeneous"]
    x, weight = make_inputs(op)
    expect(op, ValueError, "axis 2 of weight, got 8", x, weight[:, :, :8])
    expect(op, ValueError, "odd size, got 2x2", x, weight[:, :, :4])
    expect(op, ValueError, r"\(5, 7\) positions of x, got \(5, 6\)", x, weight[..., :6])
    expect(op, ValueError, "divide 5 channels, got 3", x[:, :5], weight)
