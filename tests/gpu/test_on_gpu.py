"""GPU results compared with the CPU, and training on a GPU: python -m pytest -n 8 -m gpu"""

import copy
import os
import subprocess
import sys
import warnings

import pytest
import torch

from config_helpers import build, read_config
from smallvit.backbones import DWNet
from smallvit.engine.compiling import compile_networks
from smallvit.ops import dynamic_dwconv2d, inhomogeneous_dwconv2d
from tool_helpers import ROOT, load_tool, own_experiment, run_main

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
DIGITS = ROOT / "configs/dwnet/dwnet-mini_digits.py"
SHORT = ("train_cfg.max_epochs=1", "train_dataloader.dataset.indices=64")

OPS = {
    "dynamic": (dynamic_dwconv2d, (2, 8, 5, 5)),
    "inhomogeneous": (inhomogeneous_dwconv2d, (2, 4, 25, 14, 10)),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OPS)
def test_operators_and_their_gradients(name, memory_format):
    op, kernels = OPS[name]
    torch.manual_seed(0)
    inputs = [torch.randn(2, 8, 14, 10), torch.randn(kernels)]

    def results(device):
        x, weight = (each.to(device).requires_grad_() for each in inputs)
        out = op(x.contiguous(memory_format=memory_format), weight)
        return [out, *torch.autograd.grad(out.square().sum(), (x, weight))]

    for ours, expected in zip(results(DEVICE), results("cpu"), strict=True):
        torch.testing.assert_close(ours.cpu(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("conv", ["static", "dynamic", "inhomogeneous"])
def test_a_network(conv):
    torch.manual_seed(0)
    arch = dict(embed_dims=8, depths=(1, 1), group_channels=(2, 2))
    model = DWNet(arch, conv, kernel_size=3).eval()
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = model(images)[-1]
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        found = model.to(DEVICE)(images.to(DEVICE))[-1]
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)


def train(work_dir, *options, flags=()):
    """Train on a few digits and return the last checkpoint."""
    arguments = (DIGITS, *flags, "--work-dir", work_dir, "--cfg-options", *SHORT, own_experiment())
    assert run_main(load_tool("train.py").main, *arguments, *options) == 0
    return torch.load(work_dir / "epoch_1.pth", map_location="cpu", weights_only=True)


def test_training_and_test_through_the_tools(tmp_path):
    train(tmp_path / "run", flags=["--amp"])
    checkpoint = tmp_path / "run/epoch_1.pth"
    assert run_main(load_tool("test.py").main, DIGITS, checkpoint, "--work-dir", tmp_path) == 0


def test_float16_with_its_scaler(tmp_path):
    content = train(tmp_path, "optim_wrapper.type=AmpOptimWrapper", "optim_wrapper.dtype=float16")
    assert content["optimizer"]["loss_scaler"]["scale"] > 0
    assert all(value.isfinite().all() for value in content["state_dict"].values())


def test_compiled_training_through_the_tool(tmp_path):
    names = list(train(tmp_path / "eager")["state_dict"])
    assert list(train(tmp_path / "graphs", flags=["--compile"])["state_dict"]) == names


def test_one_process_with_nccl(tmp_path):
    script = ROOT / "tools/dist_train.sh"
    options = ("--no-validate", "--work-dir", tmp_path, "--cfg-options", *SHORT)
    done = subprocess.run(
        ["bash", script, DIGITS, "1", *options],
        env=dict(os.environ, PYTHON=sys.executable),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "epoch_1.pth").exists()
    assert "with gloo" not in done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_network(mode):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = build(read_config("dwnet/dwnet-mini_digits.py")).to(DEVICE)
    other = copy.deepcopy(model)
    compile_networks(other, mode)
    images = torch.randn(2, 3, 32, 32, device=DEVICE)
    for _ in range(4):  # graphs are recorded in the second and third call
        torch.compiler.cudagraph_mark_step_begin()
        results = []
        for net in (model, other):
            net.eval()
            with torch.no_grad():
                results.append([net.backbone(images)[-1].clone()])
        for net, found in zip((model, other), results, strict=True):
            net.zero_grad()
            net.backbone(images)[-1].square().sum().backward()
            found += [value.grad for value in net.backbone.parameters() if value.grad is not None]
        for one, two in zip(*results, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


def waits(call):
    """Count the device synchronizations of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(each.message) for each in caught)


@pytest.mark.parametrize("size", [1, 8])
def test_a_cascade_synchronizes_once_per_exit(size):
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = build(read_config("dvt/dvt-mini_digits.py")).eval()
    images = torch.randn(size, 3, 32, 32)
    with torch.no_grad():
        first, second = (each.softmax(1).amax(1).median() for each in model(images)[:2])
        # Between two images, so that rounding does not change the decision.
        thresholds = [float(first) + 1e-4, float(second) + 1e-4, 0.0]
        model.set_inference("budgeted", thresholds=thresholds)
        expected, exits = model.predict_budgeted(images)
        model, images = model.to(DEVICE), images.to(DEVICE)
        found, taken = model.predict_budgeted(images)
        assert taken.tolist() == exits.tolist()
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
        decisions = min(int(exits.max()) + 1, model.num_exits - 1)
        assert waits(lambda: model.predict_budgeted(images)) == decisions
