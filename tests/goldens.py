"""Compare models with the reference numbers in ``tests/data/goldens``.

A test builds a model, loads the reference weights through the converter and compares::

    record = load_golden("dwnet_tiny_static")
    load_reference(model, record, "dwnet")
    assert_outputs_close(model(reference_input(record["eval"])), record)
    assert_train_matches(model, record, "dwnet", forward=model)
"""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.converters import convert, revert

GOLDENS = Path(__file__).parent / "data" / "goldens"
EVAL_TOLERANCE = 1e-5
GRAD_TOLERANCE = 1e-4


def _load_fill():
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDENS / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = _load_fill()


@cache
def load_golden(name: str) -> dict:
    """Load a record; it is shared between tests and must not be modified."""
    return json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))


def reference_state(record: Mapping, entries: str = "state_dict") -> dict[str, Tensor]:
    """Return the reference weights under their official keys, without those of kind ``keep``."""
    listed = tuple((key, tuple(shape), dtype, kind) for key, shape, dtype, kind in record[entries])
    return {key: value.clone() for key, value in _filled(listed, record["seed"]).items()}


@lru_cache(maxsize=1)
def _filled(entries: tuple, seed: int) -> dict[str, Tensor]:
    """Draw weights; cached, because each test requests them twice and drawing is slow."""
    filled = fill.fill_state(entries, seed)
    return {key: torch.from_numpy(np.asarray(value)) for key, value in filled.items()}


def reference_input(part: Mapping) -> Tensor:
    """Return the input of ``record["eval"]`` or ``record["train"]``."""
    return torch.from_numpy(fill.make_input(part["input_shape"], part["input_seed"]))


def load_reference(
    model: nn.Module, record: Mapping, system: str, *, prefix: str = "", entries: str = "state_dict"
) -> None:
    """Load the reference weights into a model.

    Entries that the reference model computes itself keep the values of the new model.

    Args:
        model: A model whose keys, after ``prefix``, are those that the converter returns.
        record: The golden record.
        system: Name of the system for the converter.
        prefix: ``backbone.`` if the model is a bare backbone.
        entries: Field of the record that lists the weights.
    """
    weights = reference_state(record, entries)
    computed = {key for key, _, _, kind in record[entries] if kind == "keep"}
    if computed:
        own = revert(system, _prefixed(model.state_dict(), prefix))
        weights |= {key: own[key] for key in computed if key in own}
    converted = convert(system, weights)
    strange = [key for key in converted if not key.startswith(prefix)]
    assert not strange, f"keys outside of {prefix!r}: {strange[:5]}"
    model.load_state_dict({key[len(prefix) :]: value for key, value in converted.items()})


def _prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def _as_tuple(outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def assert_tensor_close(actual: Tensor, stored: Mapping, tolerance: float = EVAL_TOLERANCE) -> None:
    """Compare a tensor with a stored full or summarized tensor, relative to its scale."""
    assert list(actual.shape) == stored["shape"]
    actual = actual.detach().double().cpu()
    if "values" in stored:
        expected = torch.tensor(stored["values"], dtype=torch.float64).reshape(actual.shape)
        limit = tolerance * expected.abs().max().item()
        torch.testing.assert_close(actual, expected, rtol=0, atol=limit)
        return
    flat = actual.flatten()
    head = torch.tensor(stored["head"], dtype=torch.float64)
    limit = tolerance * max(head.abs().max().item(), stored["std"])
    torch.testing.assert_close(flat[: len(head)], head, rtol=0, atol=limit)
    for name, value in (("mean", flat.mean()), ("std", flat.std(correction=0))):
        assert abs(value.item() - stored[name]) <= limit, f"{name}: {value} != {stored[name]}"
    assert flat.norm().item() == _close(stored["l2"], tolerance)


def _close(expected: float, relative: float, absolute: float = 0.0):
    import pytest

    return pytest.approx(expected, rel=relative, abs=absolute)


def assert_outputs_close(
    outputs: Tensor | Sequence[Tensor], record: Mapping, tolerance: float = EVAL_TOLERANCE
) -> None:
    """Compare the outputs in eval mode, one for each exit or scale."""
    outputs, expected = _as_tuple(outputs), record["eval"]["outputs"]
    assert len(outputs) == len(expected)
    for output, stored in zip(outputs, expected, strict=True):
        assert_tensor_close(output, stored, tolerance)


def assert_features_close(
    features: Mapping[str, Tensor], record: Mapping, tolerance: float = EVAL_TOLERANCE
) -> None:
    """Compare all stored features; the keys are their names in the reference."""
    assert set(features) == set(record["features"])
    for name, stored in record["features"].items():
        assert_tensor_close(features[name], stored, tolerance)


def reference_loss(outputs: Tensor | Sequence[Tensor], record: Mapping) -> Tensor:
    """Compute the training loss of a record according to its ``loss_rule``."""
    outputs = _as_tuple(outputs)
    if "cross-entropy" in record["train"]["loss_rule"]:
        labels = torch.arange(len(outputs[0]), device=outputs[0].device)
        return sum(F.cross_entropy(logits, labels) for logits in outputs)
    weights = [
        torch.from_numpy(fill.make_input(output.shape, 1000 + i + record["seed"])).to(output)
        for i, output in enumerate(outputs)
    ]
    return sum((output * weight).mean() for output, weight in zip(outputs, weights, strict=True))


def assert_train_matches(
    model: nn.Module,
    record: Mapping,
    system: str,
    *,
    forward: Callable[[Tensor], Tensor | Sequence[Tensor]],
    prefix: str = "",
) -> None:
    """Compare loss, batch norm statistics and gradient norms of one training step.

    Runs in float64 with newly loaded reference weights, and leaves the model in that state.

    Args:
        model: The model, whose keys after ``prefix`` are the converter's.
        record: The golden record.
        system: Name of the system for the converter.
        forward: Maps the input to logits, one tensor for each exit or scale.
        prefix: ``backbone.`` if the model is a bare backbone.
    """
    load_reference(model, record, system, prefix=prefix)
    model.double().train()
    model.zero_grad()
    loss = reference_loss(forward(reference_input(record["train"]).double()), record)
    assert loss.item() == _close(record["train"]["loss"], 1e-5, 1e-6)
    loss.backward()
    state = _prefixed(model.state_dict(), prefix)
    _assert_statistics(revert(system, state), record)
    # The converter only rearranges values, so it can convert gradients as well.
    state |= {
        prefix + name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }
    _assert_grad_norms(revert(system, state), record)


def _assert_statistics(state: Mapping[str, Tensor], record: Mapping) -> None:
    for module, stored in record["train"]["batchnorm_after"].items():
        for name in ("running_mean", "running_var"):
            norm = state[f"{module}.{name}"].norm().item()
            assert norm == _close(stored[f"{name}_l2"], GRAD_TOLERANCE), f"{module}.{name}"
        tracked = state[f"{module}.num_batches_tracked"].item()
        assert tracked == stored["num_batches_tracked"], f"{module}.num_batches_tracked"


def _assert_grad_norms(grads: Mapping[str, Tensor], record: Mapping) -> None:
    expected = record["train"]["grad_norms"] | record["fp64_check"]["grad_norms_where_off"]
    zero = set(record["train"]["zero_grad_keys"])
    largest = max(expected.values())
    wrong = {}
    for key, norm in expected.items():
        actual = grads[key].norm().item()
        off = actual > 1e-8 * largest if key in zero else actual != _close(norm, GRAD_TOLERANCE)
        if off:
            wrong[key] = (actual, norm)
    assert not wrong, f"{len(wrong)} gradient norms differ (ours, stored): {wrong}"
