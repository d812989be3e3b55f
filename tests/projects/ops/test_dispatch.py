"""Custom operators: direct calls in eager mode, dispatcher calls under tracing and modes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from smallvit.ops.dispatch import Operator


@pytest.fixture(scope="module")
def calls():
    return []


@pytest.fixture(scope="module")
def cube(calls):
    """x ** 3 as a twice differentiable operator: its backward pass consists of operators."""

    def scale(x: torch.Tensor, factor: float) -> torch.Tensor:
        calls.append("scale")
        return x * factor

    def scale_backward(ctx, grad):
        return scaled(grad, ctx.factor), None

    def save_factor(ctx, inputs, output):
        ctx.factor = inputs[1]

    scaled = Operator(
        "smallvit_tests::scale", scale, lambda x, factor: x * factor, save_factor, scale_backward
    )

    def multiply(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        calls.append("multiply")
        return x * y

    def save_both(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def multiply_backward(ctx, grad):
        x, y = ctx.saved_tensors
        for_x, for_y = ctx.needs_input_grad
        return product(grad, y) if for_x else None, product(grad, x) if for_y else None

    product = Operator(
        "smallvit_tests::multiply",
        multiply,
        lambda x, y: torch.empty_like(x),
        save_both,
        multiply_backward,
    )
    return product, scaled


def through_dispatcher(monkeypatch, operator):
    """Count the calls that reach the custom operator."""
    seen = []
    custom_op = operator.custom_op
    monkeypatch.setattr(operator, "custom_op", lambda *a: seen.append(a) or custom_op(*a))
    return seen


def test_eager_calls_bypass_the_dispatcher(cube, monkeypatch):
    product, _ = cube
    seen = through_dispatcher(monkeypatch, product)
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    y = product(product(x, x), x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert not seen
    torch.testing.assert_close(first, 3 * x**2)
    torch.testing.assert_close(second, 6 * x)


def test_arguments_that_are_no_tensors_have_no_gradient(cube):
    _, scaled = cube
    x = torch.ones(2, requires_grad=True)
    scaled(x, 4.0).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((2,), 4.0))


def test_only_inputs_that_require_a_gradient_get_one(cube, calls):
    product, _ = cube
    x, y = torch.ones(2, requires_grad=True), torch.ones(2)
    z = product(x, y).sum()
    calls.clear()
    z.backward()
    assert calls == ["multiply"]
    assert y.grad is None


def test_modes_see_the_operator(cube, monkeypatch):
    product, _ = cube
    seen = through_dispatcher(monkeypatch, product)
    with FlopCounterMode(display=False):
        product(torch.ones(2), torch.ones(2))
    assert len(seen) == 1


def test_tracing_sees_the_operator(cube):
    product, _ = cube
    traced = torch.jit.trace(lambda x: product(x, x), torch.ones(2))
    assert any(node.kind() == "smallvit_tests::multiply" for node in traced.graph.nodes())


def test_meta_tensors_need_no_kernel(cube, calls):
    product, _ = cube
    calls.clear()
    out = product(torch.ones(2, device="meta"), torch.ones(2, device="meta"))
    assert out.is_meta
    assert not calls


def test_compiled_code_has_one_node(cube):
    product, _ = cube
    nodes = []

    def backend(graph, inputs):
        nodes.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    compiled = torch.compile(lambda x: product(x, x) + 1, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(torch.ones(2)), torch.full((2,), 2.0))
    assert sum("smallvit_tests.multiply" in node for node in nodes) == 1


def test_without_gradients_the_implementation_is_called(cube, calls, monkeypatch):
    product, _ = cube
    applied = []
    monkeypatch.setattr(product.function, "apply", lambda *a: applied.append(a))
    x = torch.ones(2, requires_grad=True)
    calls.clear()
    with torch.no_grad():
        product(x, x)
    product(x.detach(), x.detach())
    assert calls == ["multiply"] * 2
    assert not applied
    product(x, x.detach())
    assert len(applied) == 1


def test_forward_mode_ad_does_not_bypass_the_dispatcher(cube):
    # It has no forward-mode formula and must raise: a result without tangent would be wrong.
    product, _ = cube
    with torch.autograd.forward_ad.dual_level():
        x = torch.autograd.forward_ad.make_dual(torch.ones(2), torch.ones(2))
        with pytest.raises((RuntimeError, NotImplementedError)):
            product(x, x)
