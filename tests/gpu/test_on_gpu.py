"""What a GPU computes against the CPU, and a training there: python -m pytest -n 8 -m gpu"""

import pytest
import torch

from smallvit.backbones import DWNet
from smallvit.ops import dynamic_dwconv2d, inhomogeneous_dwconv2d
from tool_helpers import ROOT, load_tool, run_main

pytestmark = pytest.mark.gpu

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

    for ours, expected in zip(results("cuda"), results("cpu"), strict=True):
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
        found = model.cuda()(images.cuda())[-1]
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)


def test_training_and_test_through_the_tools(tmp_path):
    config = ROOT / "configs/dwnet/dwnet-mini_digits.py"
    options = ("--cfg-options", "train_cfg.max_epochs=1", "train_dataloader.dataset.indices=64")
    arguments = (config, "--amp", "--work-dir", tmp_path / "run")
    assert run_main(load_tool("train.py").main, *arguments, *options) == 0
    (checkpoint,) = (tmp_path / "run").glob("epoch_1.pth")
    assert run_main(load_tool("test.py").main, config, checkpoint, "--work-dir", tmp_path) == 0
