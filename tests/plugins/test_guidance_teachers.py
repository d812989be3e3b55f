"""Guidance teachers of every kind: feature maps, input images and pretrained weights."""

from copy import deepcopy
from importlib import import_module

import pytest
import timm
import torch
from mmengine.registry import DefaultScope

from config_helpers import build as build_config
from config_helpers import read_config
from reduce_config import NARROW_TEACHERS
from smallvit.errors import CheckpointError
from smallvit.plugins.locality_guidance import Teacher
from smallvit.plugins.locality_guidance.teacher_network import OwnMaps, TappedMaps
from smallvit.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
VIT = dict(type="mmpretrain.VisionTransformer", arch=ARCH, img_size=32, patch_size=8)
SWIN = dict(
    type="mmpretrain.SwinTransformer",
    arch=dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2]),
    img_size=64,
    window_size=2,
)
CONVNEXT = dict(type="mmpretrain.ConvNeXt", arch=dict(depths=[1, 1, 2, 1], channels=[8, 8, 16, 32]))
CNN = dict(type="smallvit.CifarResNet", depth=8)
DINO = dict(
    type="smallvit.TimmBackbone",
    model_name="vit_small_patch14_dinov2.lvd142m",
    **NARROW_TEACHERS["vit_small_patch14_dinov2.lvd142m"],
)


def classifier(backbone, channels, neck=True):
    return dict(
        type="mmpretrain.ImageClassifier",
        backbone=backbone,
        neck=dict(type="mmpretrain.GlobalAveragePooling") if neck else None,
        head=dict(type="mmpretrain.LinearClsHead", num_classes=7, in_channels=channels),
    )


def build(config):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(deepcopy(config))
    model.eval()  # not returned by some of MMPretrain's backbones
    return model


def saved(tmp_path, config):
    """A classifier of that config, and its checkpoint."""
    model = build(config)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "teacher.pth")
    return model, str(tmp_path / "teacher.pth")


def stage_ends(swin, images):
    """Maps before downsampling between stages, as seen by hooks on the last blocks."""
    found = []
    handles = [
        stage.blocks[-1].register_forward_hook(lambda _, args, out: found.append((out, args[1])))
        for stage in swin.stages
    ]
    with torch.no_grad():
        swin(images)
    for handle in handles:
        handle.remove()
    return [out.transpose(1, 2).unflatten(2, hw) for out, hw in found]


def test_a_transformer_that_returns_vectors_is_asked_for_maps(tmp_path):
    config = classifier(VIT, 16, neck=False)
    model, path = saved(tmp_path, config)
    teacher = Teacher(config, path)
    images = torch.randn(2, 3, 32, 32)
    assert isinstance(teacher.reader, OwnMaps)
    assert teacher.shapes == ((16, 4, 4),) * 3
    model.backbone.out_type, model.backbone.out_indices = "featmap", [0, 1, 2]
    for found, expected in zip(teacher.features(images), model.backbone(images), strict=True):
        torch.testing.assert_close(found, expected)


def test_norms_missing_in_the_checkpoint_are_not_used(tmp_path):
    """MMPretrain's Swin and ConvNeXt have a norm per output, but only the last is trained."""
    model, path = saved(tmp_path, classifier(SWIN, 64))
    teacher = Teacher(classifier(SWIN, 64), path, size=64, stages=(0, 2, 3))
    images = torch.randn(2, 3, 64, 64)
    assert isinstance(teacher.reader, TappedMaps)
    expected = stage_ends(model.backbone, images)
    for found, stage in zip(teacher.features(images), (0, 2, 3), strict=True):
        torch.testing.assert_close(found, expected[stage])
    model, path = saved(tmp_path, classifier(CONVNEXT, 32, neck=False))
    teacher = Teacher(classifier(CONVNEXT, 32, neck=False), path, size=64, stages=(1, 2, 3))
    assert teacher.shapes == ((8, 8, 8), (16, 4, 4), (32, 2, 2))
    assert teacher.features(images)[1].abs().sum() > 0


@pytest.mark.parametrize("backbone", [VIT, SWIN], ids=["cls-token", "swin"])
def test_logits_and_maps_of_an_unmodified_teacher(backbone, tmp_path):
    plain = backbone is VIT
    config = classifier(backbone, 16 if plain else 64, neck=not plain)
    model, path = saved(tmp_path, config)
    size = 32 if plain else 64
    teacher = Teacher(config, path, size=size, stages=(0, 1, 2), with_logits=True)
    images = torch.randn(2, 3, size, size)
    maps, logits = teacher(images)
    assert [each.ndim for each in maps] == [4, 4, 4]
    torch.testing.assert_close(logits, model(images))


def test_a_timm_classifier_teaches_maps_and_logits(tmp_path):
    config = dict(type="mmpretrain.TimmClassifier", model_name="test_resnet", num_classes=7)
    model, path = saved(tmp_path, config)
    images = torch.randn(2, 3, 64, 64)
    wanted = model.model.forward_intermediates(images, indices=[1, 2, 3], intermediates_only=True)
    teacher = Teacher(config, path, size=64, stages=(1, 2, 3))
    for found, expected in zip(teacher.features(images), wanted, strict=True):
        torch.testing.assert_close(found, expected)
    both = Teacher(
        {**config, "model_name": "test_vit", "img_size": 32, "patch_size": 8},
        saved(tmp_path, {**config, "model_name": "test_vit", "img_size": 32, "patch_size": 8})[1],
        with_logits=True,
    )
    maps, logits = both(images[..., :32, :32])
    assert [tuple(each.shape) for each in maps] == [(2, 64, 4, 4)] * 3
    assert logits.shape == (2, 7)


def test_a_backbone_without_out_indices_is_read_through_hosts(tmp_path):
    config = {**VIT, "type": "mmpretrain.DistilledVisionTransformer"}
    model, path = saved(tmp_path, config)
    teacher = Teacher(config, path, stages=(0, 1, -1))
    seen = []
    model.layers[-1].register_forward_hook(lambda *call: seen.append(call[-1]))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        model(images)
    last = teacher.features(images)[-1]
    torch.testing.assert_close(last.flatten(2).transpose(1, 2), seen[0][:, 2:])
    assert isinstance(teacher.reader, TappedMaps)


@pytest.mark.parametrize("kind", ["mmpretrain.TIMMBackbone", "mmseg.TIMMBackbone"])
def test_building_a_teacher_downloads_nothing(kind, tmp_path):
    """Regardless of the default of its class, weights are only loaded when training starts."""
    config = dict(type=kind, model_name="test_resnet", pretrained=False)
    _, path = saved(tmp_path, config)
    for pretrained in (True, False):
        teacher = Teacher({**config, "pretrained": pretrained}, path, size=64, stages=(0,))
        assert teacher.pretrained is pretrained
        assert len(teacher.features(torch.randn(1, 3, 64, 64))) == 1


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (dict(type="mmpretrain.HuggingFaceClassifier", model_name="x"), {}, "timm:NAME"),
        (dict(type="mmpretrain.AlexNet"), dict(size=224), "AlexNet returns no maps of the stages"),
        (CNN, dict(stages=(0, 7)), r"got .7.\. Set guidance.teacher.stages"),
        (dict(type="smallvit.DHVT", arch=ARCH), dict(stages=(0, 7)), "3 blocks, got .7."),
        (DINO, {}, "for images of 32 x 32: .*518.*its blocks are not supported either"),
        (CNN, dict(dtype="half"), "guidance.teacher.dtype .* got 'half'"),
        (CNN, dict(channels="gray"), "'repeat', 'average', or indices"),
        ("timm:test_resnet", dict(with_logits=True), "requires a classifier as teacher"),
    ],
)
def test_unsupported_teachers_are_rejected_at_build(model, options, message):
    with pytest.raises(ValueError, match=message):
        _ = Teacher(deepcopy(model), **options).shapes


def guided(in_channels, teacher):
    model = classifier(dict(VIT, in_channels=in_channels), 16, neck=False)
    normalized = dict(mean=[100.0] * in_channels, std=[50.0] * in_channels)
    model.update(
        type="smallvit.GuidedClassifier",
        guidance=dict(teacher=teacher),
        data_preprocessor=dict(num_classes=7, **normalized),
    )
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build(model)


@pytest.mark.parametrize(
    ("channels", "how", "expected"),
    [
        (1, "repeat", lambda raw: raw.expand(-1, 3, -1, -1)),
        (4, "average", lambda raw: raw.mean(1, keepdim=True).expand(-1, 3, -1, -1)),
        (4, (2, 1, 0), lambda raw: raw[:, [2, 1, 0]]),
        (4, (3, 3, 0), lambda raw: raw[:, [3, 3, 0]]),
    ],
)
def test_image_channels_are_converted_for_the_teacher(channels, how, expected, tmp_path):
    _, path = saved(tmp_path, CNN)
    own = dict(mean=[10.0, 20, 30], std=[5.0, 6, 7], to_rgb=True)
    teacher = dict(model=CNN, checkpoint=path, channels=how, preprocessor=own)
    model = guided(channels, teacher).train()
    raw = torch.rand(2, channels, 32, 32) * 255
    seen = model.guidance.teacher.preprocess((raw - 100) / 50, model.data_preprocessor)
    mean, std = (torch.tensor(own[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(seen, (expected(raw) - mean) / std, rtol=1e-4, atol=1e-4)
    data = dict(inputs=list(raw.byte()), data_samples=samples(2))
    losses = model(**model.data_preprocessor(data, training=True), mode="loss")
    assert losses["loss_guidance"] > 0


def samples(count):
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(index) for index in range(count)]


def test_equal_channels_need_no_conversion(tmp_path):
    config = dict(CNN, in_channels=4)
    _, path = saved(tmp_path, config)
    model = guided(4, dict(model=config, checkpoint=path))
    assert model.guidance.teacher.preprocess(torch.zeros(1, 4, 8, 8)).shape == (1, 4, 32, 32)


@pytest.mark.parametrize(
    ("channels", "how", "message"),
    [
        (
            1,
            None,
            r"images have 1 channel, but the teacher requires 3\. Set .*channels to 'repeat'",
        ),
        (4, None, "images have 4 channels, but the teacher requires 3"),
        (4, "repeat", "'repeat' requires gray images"),
        (1, (0, 1, 2), "channel 2 is selected"),
        (4, (0, 1), "2 channels are selected, but the teacher requires 3"),
    ],
)
def test_mismatched_channels_are_rejected_at_build(channels, how, message):
    with pytest.raises(ValueError, match=message):
        guided(channels, dict(model=CNN, channels=how))


LARGE = ("dinov2", "dinov3", "convnext")


def official(name, network):
    """Rename the state dict to the names of its authors where they differ from timm's."""
    state = network.state_dict()
    if name == "dinov2":  # at 518 pixels, with the mask token of its pretraining
        return {**state, "mask_token": torch.zeros(1, 24)}
    if name == "dinov3":
        renamed = {key.replace("reg_token", "storage_tokens"): state[key] for key in state}
        return {**renamed, "mask_token": torch.zeros(1, 32)}
    return state


@pytest.mark.parametrize("name", LARGE)
def test_a_large_pretrained_teacher_is_loaded_from_the_official_file(name, tmp_path):
    """A narrow version of the recipe's network, with the same keys and random values."""
    guidance = read_config(f"locality_guidance/deit-ti_guided-{name}_folder.py").model.guidance
    settings = guidance.teacher.to_dict()
    model_name = settings["model"]["model_name"]
    torch.manual_seed(0)
    narrow = NARROW_TEACHERS[model_name]
    options = {} if name == "convnext" else dict(img_size=518 if name == "dinov2" else 256)
    network = timm.create_model(model_name, **narrow, **options).eval()
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.1)
    torch.save(official(name, network), tmp_path / "official.pth")
    settings["model"].update(narrow)
    teacher = Teacher(**settings, checkpoint=str(tmp_path / "official.pth"))
    teacher.load()
    assert {p.dtype for p in teacher.model.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in teacher.model.parameters())
    mean = 255 * torch.tensor(network.pretrained_cfg["mean"])
    torch.testing.assert_close(torch.tensor(teacher.preprocessor["mean"]), mean)
    images = torch.randn(1, 3, 224, 224)
    options = {} if name == "convnext" else dict(img_size=224)
    same = timm.create_model(model_name, **narrow, **options).eval()
    read = import_module(type(same).__module__).checkpoint_filter_fn
    same.load_state_dict(read(network.state_dict(), same))
    wanted = same.forward_intermediates(
        images,
        indices=list(settings["stages"]),
        norm=settings["model"].get("out_norm", False),
        intermediates_only=True,
    )
    for found, expected in zip(teacher.features(images), wanted, strict=True):
        assert found.dtype == torch.bfloat16
        scale = expected.abs().max()
        torch.testing.assert_close(found.float() / scale, expected / scale, rtol=0.1, atol=0.05)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint of"):
        Teacher("timm:test_resnet", str(tmp_path / "official.pth"), stages=(1, 2, 3)).load()


@pytest.mark.parametrize("task", ["det", "seg"])
def test_detectors_and_segmentors_are_guided_by_maps_alone(task):
    cfg = read_config(f"locality_guidance/cvt-mini_guided_digits-{task}.py")
    model, plain = (
        build_config(cfg),
        build_config(read_config(f"locality_guidance/cvt-mini_digits-{task}.py")),
    )
    assert type(model) is type(plain)
    assert model.state_dict().keys() == plain.state_dict().keys()
    for key, value in (("store", "features"), ("logit", {})):
        cfg.model.guidance[key] = value
        with pytest.raises(ValueError, match=rf"guidance.{key}: only classifiers are supported"):
            build_config(cfg)
        del cfg.model.guidance[key]
