"""Shortcuts and guidance on hosts found by a dry run: distributed training, EMA, compilation."""

import multiprocessing
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from mmengine.model import ExponentialMovingAverage
from mmpretrain.structures import DataSample
from torch.nn.parallel import DistributedDataParallel

from config_helpers import build as build_config
from config_helpers import read_config
from smallvit.plugins.dw_shortcut import attach_dw_shortcuts
from smallvit.plugins.locality_guidance import attach_guidance
from smallvit.registry import MODELS

TEACHER = dict(model=dict(type="smallvit.CifarResNet", depth=8))


def classifier():
    torch.manual_seed(0)
    backbone = dict(type="smallvit.DWConvShortcut", host="smallvit.CifarResNet", depth=14)
    model = MODELS.build(
        dict(
            type="mmpretrain.ImageClassifier",
            backbone=dict(backbone, shortcut=dict(bypass=2)),
            neck=dict(type="mmpretrain.GlobalAveragePooling"),
            head=dict(type="mmpretrain.LinearClsHead", num_classes=3, in_channels=64),
        )
    )
    attach_guidance(model, dict(teacher=TEACHER))
    return ready(model)


def detector():
    torch.manual_seed(0)
    return ready(build_config(read_config("locality_guidance/cvt-mini_guided_digits-det.py")))


def ready(model):
    model.guidance.teacher.loaded = model.guidance.is_ready = True
    return model.train()


def scenes(images):
    from mmdet.testing import demo_mm_inputs

    sizes, boxes = [tuple(each.shape) for each in images], [1] * len(images)
    data = demo_mm_inputs(len(images), sizes, num_items=boxes, num_classes=3, with_mask=True)
    for sample in data["data_samples"]:
        size = tuple(images.shape[2:])
        sample.set_metainfo(dict(pad_shape=size, batch_input_shape=size))
    return data["data_samples"]


def labels(images):
    return [DataSample().set_gt_label(i % 3) for i in range(len(images))]


def steps(model, images, samples, number=2):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
    for _ in range(number):
        losses = model(images, samples, mode="loss")
        assert losses["loss_guidance"] > 0
        optimizer.zero_grad()
        values = [value for key, value in losses.items() if "loss" in key]
        sum(sum(value) if isinstance(value, list) else value for value in values).backward()
        missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert missing == []
        optimizer.step()


def train_on_half(rank, store, out, images, build, samples):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )
    half = images[rank::2]
    model = build()
    steps(DistributedDataParallel(model), half, samples(half))
    torch.save(dict(model.named_parameters()), f"{out}/{rank}.pth")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "samples", "changed"),
    [
        (classifier, labels, "backbone.dw_shortcuts.0.0.branches.0.conv.weight"),
        (detector, scenes, "backbone.stages.0.proj.weight"),
    ],
    ids=["classifier", "detector"],
)
def test_two_processes_train_every_parameter_and_stay_in_sync(build, samples, changed, tmp_path):
    images = torch.randn(8 if build is classifier else 4, 3, 32, 48)
    begun = dict(build().named_parameters())
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(
            target=train_on_half,
            args=(rank, tmp_path / "store", tmp_path, images, build, samples),
        )
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in range(2))
    for name, parameter in first.items():
        assert torch.equal(parameter, second[name])
    assert not torch.equal(first[changed], begun[changed])


def test_averaged_models_have_their_own_shortcuts():
    model = classifier()
    images = torch.randn(4, 3, 16, 24)
    average = ExponentialMovingAverage(model, momentum=0.5)
    steps(model, images, labels(images))
    average.update_parameters(model)
    copied = average.module.eval()
    before = copied(images, mode="tensor")
    before = before[0] if isinstance(before, tuple) else before
    torch.nn.init.constant_(copied.backbone.dw_shortcuts[0][0].branches[0].conv.bias, 3.0)
    after = copied(images, mode="tensor")
    after = after[0] if isinstance(after, tuple) else after
    assert (after - before).abs().max() > 0.01
    assert model.backbone.dw_shortcuts[0][0].branches[0].conv.bias.abs().max() < 1


PLAIN = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
STAGES = dict(
    embed_dims=(16, 32),
    depths=(1, 1),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    kernel_sizes=(7, 3),
    strides=(4, 2),
    paddings=(2, 1),
)
OURS = {
    "DHVT": dict(type="smallvit.DHVT", arch=PLAIN, num_heads=2, img_size=32),
    "CvT": dict(type="smallvit.CvT", arch=STAGES),
    "DWNet": dict(
        type="smallvit.DWNet",
        arch=dict(embed_dims=16, depths=(1, 1), group_channels=(4, 4)),
        kernel_size=3,
    ),
    "DVT": dict(
        type="smallvit.DynamicViT",
        exits=[dict(type="smallvit.T2TViT", arch=PLAIN, img_size=size) for size in (32, 48)],
        feature_reuse=False,
        relation_reuse=False,
    ),
    "ResNet": dict(type="smallvit.CifarResNet", depth=8),
}


class Tuple(torch.nn.Module):
    def __init__(self, host):
        super().__init__()
        self.host = host

    def forward(self, images):
        return tuple(self.host(images))


def with_shortcuts(name):
    torch.manual_seed(0)
    return Tuple(attach_dw_shortcuts(MODELS.build(OURS[name]))).eval()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OURS)
def test_inductor_gives_the_same(name):
    model = with_shortcuts(name)
    images = torch.randn(2, 3, 32, 48)
    expected = model(images)
    actual = torch.compile(model, backend="inductor")(images)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)
    actual[-1].square().mean().backward()
    assert any(p.grad is not None for p in model.host.dw_shortcuts.parameters())


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OURS)
def test_export_gives_the_same(name, tmp_path):
    model = with_shortcuts(name).requires_grad_(False)
    images = torch.randn(2, 3, 32, 48)
    program = torch.export.export(model, (images,), strict=False)
    torch.testing.assert_close(program.module()(images), model(images), rtol=1e-3, atol=1e-4)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OURS)
def test_onnx_gives_the_same(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = with_shortcuts(name).requires_grad_(False)
    images = torch.randn(2, 3, 32, 48)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (images,), path, dynamo=True)
    session = runtime.InferenceSession(path)
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    expected = [each.numpy() for each in model(images)]
    for actual, wanted in zip(outputs, expected, strict=True):
        torch.testing.assert_close(torch.tensor(actual), torch.tensor(wanted), rtol=1e-3, atol=1e-4)
