"""Checks that every backbone passes, so that each test file states its own only."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from goldens import (
    assert_features_close,
    assert_outputs_close,
    assert_train_matches,
    load_golden,
    load_reference,
    reference_input,
)
from smallvit.converters import convert, revert
from smallvit.utils.versions import release

SYSTEM = "locality_guidance"


class Classifier(nn.Module):
    """The parameter names of MMPretrain's ImageClassifier, without importing it."""

    def __init__(self, backbone: nn.Module, channels: int, num_classes: int = 100):
        super().__init__()
        self.backbone = backbone
        self.head = nn.ModuleDict({"fc": nn.Linear(channels, num_classes)})

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)[-1]
        if features.ndim == 4:
            features = features.mean(dim=(2, 3))
        return self.head["fc"](features)


def as_map(output: Tensor, grid: int | None) -> Tensor:
    """Patch tokens of a block as a map (B, C, H, W); maps stay."""
    if output.ndim == 4:
        return output
    count = grid * grid
    return output[:, output.shape[1] - count :].transpose(1, 2).unflatten(2, (grid, grid))


@contextmanager
def collected_maps(
    blocks: Iterable[tuple[nn.Module, int | None]], names: Iterable[str]
) -> Iterator[dict]:
    """Fill a dict with the maps that blocks put out, under the reference's names."""
    found, handles = {}, []
    for index, (block, grid) in enumerate(blocks):
        name = f"features[{index}]"
        if name in names:

            def keep(module, args, output, name=name, grid=grid):
                found[name] = as_map(output, grid)

            handles.append(block.register_forward_hook(keep))
    yield found
    for handle in handles:
        handle.remove()


def keep_outputs(modules: Mapping[str, nn.Module], found: dict) -> None:
    """Fill a dict with what modules put out next, tokens without their grid."""

    def keep(name):
        def hook(module, args, output):
            found[name] = output[0] if isinstance(output, tuple) else output
            handles[name].remove()

        return hook

    handles = {name: part.register_forward_hook(keep(name)) for name, part in modules.items()}


def assert_golden(
    name: str,
    model: nn.Module,
    blocks: Iterable[tuple[nn.Module, int | None]],
    system: str = SYSTEM,
    tokens: Mapping[str, nn.Module] | None = None,
) -> None:
    """Logits, features, training loss and gradient norms of a golden, and the way back.

    Args:
        name: The golden.
        model: A classifier with our keys.
        blocks: Blocks with the sides of their grids, whose outputs are compared as maps.
        system: System of the converter.
        tokens: Modules whose outputs are compared as they are, by the reference's names.
    """
    record = load_golden(name)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == record["num_params"]["trainable"]
    load_reference(model.eval(), record, system)
    with torch.no_grad(), collected_maps(blocks, record["features"]) as features:
        keep_outputs(tokens or {}, features)
        assert_outputs_close(model(reference_input(record["eval"])), record)
    assert_features_close(features, record)
    official = revert(system, model.state_dict())
    assert {key: list(value.shape) for key, value in official.items()} == {
        key: shape for key, shape, _, _ in record["state_dict"]
    }
    restored = convert(system, official)
    for key, value in model.state_dict().items():
        assert torch.equal(restored[key], value), key
    assert_train_matches(model, record, system, forward=model)


def skip_unless_scaled_attention_exports() -> None:
    """Leave a test of a graph of TorchScript whose attention is scaled by another number."""
    if release(torch.__version__) < (2, 5):
        pytest.skip("the exporter of torch 2.4 takes no scale of attention")


def assert_exports(model: nn.Module, x: Tensor) -> None:
    """The ONNX graph computes what the model does."""
    runtime = pytest.importorskip("onnxruntime")
    file = io.BytesIO()
    torch.onnx.export(model.eval(), (x,), file, dynamo=False, input_names=["image"])
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    exported = session.run(None, {"image": x.numpy()})
    with torch.no_grad():
        expected = model(x)
    for actual, output in zip(exported, expected, strict=True):
        limit = 1e-5 * output.abs().max().item()
        np.testing.assert_allclose(actual, output.numpy(), rtol=0, atol=limit)


def assert_compiles(model: nn.Module, x: Tensor) -> None:
    """The captured graph, without a break, computes what the model does."""
    with torch.no_grad():
        # The default backend would spend minutes in the C++ compiler on the same graph.
        compiled = torch.compile(model.eval(), fullgraph=True, backend="aot_eager")(x)
        for actual, output in zip(compiled, model(x), strict=True):
            limit = 1e-4 * output.abs().max().item()
            torch.testing.assert_close(actual, output, rtol=0, atol=limit)


def assert_autocast(model: nn.Module, x: Tensor) -> None:
    """In bfloat16 the outputs stay near and gradients reach every trained parameter."""
    with torch.no_grad():
        expected = [output.clone() for output in model.eval()(x)]
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(x)
    for actual, output in zip(outputs, expected, strict=True):
        error = (actual.float() - output).abs().max() / output.abs().max()
        assert error < 0.1
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(output.float().square().mean() for output in model(x))
    loss.backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def assert_batch_of_one(model: nn.Module, x: Tensor) -> None:
    """An image alone gives what it gives in a batch, with its batch axis."""
    with torch.no_grad():
        whole, alone = model.eval()(x), model(x[:1])
    for one, many in zip(alone, whole, strict=True):
        torch.testing.assert_close(one, many[:1], rtol=0, atol=1e-5 * many.abs().max().item())


def assert_checkpointing(build: Callable[..., nn.Module], x: Tensor) -> None:
    """Gradient checkpointing changes no gradient."""
    plain, saving = build(with_cp=False), build(with_cp=True)
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        sum(output.square().mean() for output in model.train()(x)).backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, msg=name)


def assert_frozen(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Frozen parts stay in evaluation and get no gradient; all else is trained."""
    model.train()
    still = {id(p) for part in frozen for p in part.parameters()}
    assert still
    assert not any(part.training for part in frozen)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (id(parameter) not in still), name
