"""Compilation: every network gives a single graph for training and one for inference."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch._dynamo.utils import counters

from config_helpers import build, read_config, scope_of
from reduce_config import reduce_config
from smallvit.analysis.benchmark import fake_batch
from smallvit.engine import compiling
from smallvit.engine.compiling import compile_networks, compiled_parts, use_compilation
from smallvit.engine.hooks import CompileHook
from smallvit.errors import UserError
from smallvit.explain import explain

#: One network of each kind and of each plugin, with its reduced image size.
NETWORKS = {
    "dw_shortcut/vit-mini_shortcut_digits.py": 32,
    "dw_shortcut/cait-xxs12_shortcut_cifar100.py": 64,
    "dw_shortcut/swin-mini_shortcut_digits.py": 32,
    "dw_shortcut/swin-mini_shortcut_digits-det.py": 64,
    "dw_shortcut/swin-mini_shortcut_digits-seg.py": 64,
    "dhvt/dhvt-mini_digits.py": 32,
    "dvt/dvt-mini_digits.py": 32,
    "dwnet/dwnet-mini_digits.py": 32,
    "dwnet/dwnet-t_dynamic_in1k.py": 64,
    "dwnet/dwnet-t_inhomogeneous_in1k.py": 64,
    "locality_guidance/convit-ti_cifar100.py": 64,
    "locality_guidance/cvt-13_cifar100.py": 64,
    "locality_guidance/deit-ti_guided_cifar100.py": 64,
    "locality_guidance/pit-ti_cifar100.py": 64,
    "locality_guidance/pvt-ti_cifar100.py": 64,
    "locality_guidance/pvtv2-b0_guided_cifar100.py": 64,
    "locality_guidance/resnet-56_cifar100.py": 32,
    "locality_guidance/t2t-vit-7_guided_cifar100.py": 64,
}
#: MMPretrain's ViT computes its stochastic depth rates with NumPy.
EVERYWHERE = ("dw_shortcut/vit-mini_shortcut_digits.py",)


def steps(model, size):
    """Return losses, gradients and predictions for two passes over some images."""
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        data = model.data_preprocessor(fake_batch(model, (size, size), 2), training=True)
        losses = model.train()(**data, mode="loss")
        flat = flatten(losses.values())
        model.zero_grad()
        sum(value.sum() for value in flat if value.requires_grad).backward()
        norm = sum(p.grad.double().square().sum() for p in model.parameters() if p.grad is not None)
        with torch.no_grad():
            feats = model.eval()(data["inputs"], data["data_samples"], mode="tensor")
        found.append((flat[0].detach(), norm.sqrt(), feats))
    return found[-1]


def flatten(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [each for one in value for each in flatten(one)]


@pytest.mark.skipif(
    torch.__version__.startswith("2.4."), reason="torch 2.4 breaks the graph at each hook"
)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in EVERYWHERE else pytest.mark.exhaustive)
        for name in NETWORKS
    ],
)
def test_a_network_is_one_graph_in_training_and_one_in_inference(name):
    torch._dynamo.reset()
    counters.clear()
    cfg = reduce_config(read_config(name))
    model = build(cfg)
    for module in model.modules():  # random draws differ inside a graph
        for rate in ("p", "drop_prob"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    if "guidance" in cfg.model:
        model.guidance.teacher.loaded = True
    state = deepcopy(model.state_dict())
    size = NETWORKS[name]
    with scope_of(cfg):
        expected = steps(model, size)
        model.load_state_dict(state)
        graphs = []

        def backend(module, example):
            graphs.append(module)
            return module.forward

        hook = CompileHook(backend=backend)
        hook.before_train(SimpleNamespace(model=model))
        hook.before_test(SimpleNamespace(model=model))
        actual = steps(model, size)
    assert len(graphs) == 2 * len(list(compiled_parts(model)))
    assert not counters["graph_break"]
    assert list(model.state_dict()) == list(state)
    for one, other in zip(flatten(actual), flatten(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_flag_adds_a_hook_once():
    cfg = Config(dict(custom_hooks=[dict(type="EMAHook")]))
    use_compilation(cfg, "default")
    use_compilation(cfg, "reduce-overhead")
    hooks = [each.to_dict() for each in cfg.custom_hooks]
    assert hooks == [
        dict(type="EMAHook"),
        dict(type="smallvit.CompileHook", mode="reduce-overhead"),
    ]
    with pytest.raises(UserError, match="compile=True of the config"):
        use_compilation(Config(dict(compile=True)), "default")


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 2))
        self.backbone.backbone = nn.Identity()
        self.neck = nn.Identity()


def test_parts_are_the_outermost_networks():
    wrapped = nn.Module()
    wrapped.module = Model()
    assert [name for name, _ in compiled_parts(wrapped)] == ["module.backbone"]


@pytest.mark.parametrize(
    ("model", "mode", "message"),
    [
        (nn.Linear(1, 1), "default", "Linear has no backbone to compile"),
        (Model(), "fast", "one of default, reduce-overhead"),
    ],
)
def test_unsupported_networks_are_rejected(model, mode, message):
    with pytest.raises(UserError, match=message):
        compile_networks(model, mode)


def test_missing_compilers_are_reported(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.setenv("CXX", "none++")
    with pytest.raises(UserError, match=r"found\. Install one"):
        compile_networks(Model())
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="requires Triton"):
        compiling.check_compiler(is_cuda=True)


@pytest.mark.parametrize(("mode", "marked"), [("default", 0), ("reduce-overhead", 3)])
def test_each_iteration_marks_a_cudagraph_step(mode, marked, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: calls.append(1))
    hook = CompileHook(mode)
    hook.before_train_iter(None, batch_idx=0, data_batch=None)
    hook.before_val_iter(None, batch_idx=0, data_batch=None)
    hook.before_test_iter(None, batch_idx=0, data_batch=None)
    assert len(calls) == marked


def test_numpy_scalars_become_python_numbers():
    model = Model()
    model.backbone.rate = np.float64(0.1)
    compiling.use_plain_numbers(model)
    assert type(model.backbone.rate) is float


def test_failing_backends_are_reported_in_a_sentence():
    def backend(module, example):
        raise RuntimeError("no kernel image")

    with pytest.raises(Exception, match="no kernel image") as caught:
        torch.compile(lambda x: x + 1, backend=backend)(torch.ones(2))
    message = explain(caught.value)
    assert message.startswith("torch.compile failed, BackendCompilerFailed: ")
    assert "no kernel image" in message
    assert "Remove --compile" in message
