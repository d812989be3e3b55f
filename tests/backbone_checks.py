"""Checks that every backbone must pass; the test files of backbones only add specific ones."""

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
    """Classifier with the parameter names of MMPretrain's ImageClassifier, without importing it."""

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
    """Convert patch tokens of a block to a map (B, C, H, W); maps are returned unchanged."""
    if output.ndim == 4:
        return output
    count = grid * grid
    return output[:, output.shape[1] - count :].transpose(1, 2).unflatten(2, (grid, grid))


@contextmanager
def collected_maps(
    blocks: Iterable[tuple[nn.Module, int | None]], names: Iterable[str]
) -> Iterator[dict]:
    """Store the output maps of blocks in a dict, under the names of the reference."""
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
    """Store the next outputs of modules in a dict, tokens without their grid."""

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
    """Compare logits, features, training loss and gradient norms with a golden, then convert back.

    Args:
        name: Name of the golden.
        model: Classifier with our keys.
        blocks: Blocks whose outputs are compared as maps, with the side lengths of their grids.
        system: System of the converter.
        tokens: Modules whose outputs are compared unchanged, by the names in the reference.
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
    """Skip a TorchScript export if the exporter does not support the ``scale`` of attention."""
    if release(torch.__version__) < (2, 5):
        pytest.skip("the exporter of torch 2.4 does not support the scale argument of attention")


def assert_exports(model: nn.Module, x: Tensor) -> None:
    """Check that the ONNX graph computes the same outputs as the model."""
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
    """Check that the graph is captured without breaks and computes the outputs of the model."""
    with torch.no_grad():
        # The default backend would spend minutes in the C++ compiler on the same graph.
        compiled = torch.compile(model.eval(), fullgraph=True, backend="aot_eager")(x)
        for actual, output in zip(compiled, model(x), strict=True):
            limit = 1e-4 * output.abs().max().item()
            torch.testing.assert_close(actual, output, rtol=0, atol=limit)


def assert_autocast(model: nn.Module, x: Tensor) -> None:
    """Check that bfloat16 outputs are close and every trainable parameter receives a gradient."""
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
    """Check that a batch of one image gives the same output as that image in a larger batch."""
    with torch.no_grad():
        whole, alone = model.eval()(x), model(x[:1])
    for one, many in zip(alone, whole, strict=True):
        torch.testing.assert_close(one, many[:1], rtol=0, atol=1e-5 * many.abs().max().item())


def assert_checkpointing(build: Callable[..., nn.Module], x: Tensor) -> None:
    """Check that gradient checkpointing does not change gradients."""
    plain, saving = build(with_cp=False), build(with_cp=True)
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        sum(output.square().mean() for output in model.train()(x)).backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, msg=name)


def assert_frozen(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Check that frozen parts stay in eval mode without gradients and the others are trained."""
    model.train()
    still = {id(p) for part in frozen for p in part.parameters()}
    assert still
    assert not any(part.training for part in frozen)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (id(parameter) not in still), name
