"""MMPretrain's self-supervised algorithms on every backbone: supported combinations and errors."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

from smallvit.engine.masked_models import check_masking
from smallvit.errors import HostError, UserError
from smallvit.registry import MODELS

SIZE, WIDTH = 32, 32
ARCH = dict(embed_dims=WIDTH, num_layers=2, num_heads=2, feedforward_channels=32)
BACKBONES = {
    "vit": dict(type="VisionTransformer", arch=ARCH, img_size=SIZE, patch_size=8),
    "dhvt": dict(type="smallvit.DHVT", arch=ARCH, img_size=SIZE, patch_size=8),
    "dwnet": dict(
        type="smallvit.DWNet",
        arch=dict(embed_dims=8, depths=[1, 1, 1, 1], group_channels=[8] * 4),
        out_indices=(3,),
    ),
    "swin": dict(
        type="SwinTransformer",
        arch=dict(embed_dims=4, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]),
        img_size=SIZE,
        patch_size=2,
        window_size=2,
    ),
    "timm": dict(
        type="smallvit.TimmBackbone",
        model_name="vit_tiny_patch16_224",
        img_size=SIZE,
        patch_size=8,
        depth=2,
        embed_dim=WIDTH,
        num_heads=2,
    ),
}
STRIDES = dict(vit=8, dhvt=8, dwnet=32, swin=16, timm=8)
ALGORITHMS = ("SimCLR", "BYOL", "MoCoV3", "MAE", "SimMIM")
REFUSED = {
    ("MAE", "dhvt"): r"cannot drop patches of DHVT: its blocks require all",
    (
        "MAE",
        "dwnet",
    ): r"cannot drop patches of DWNet: it has 4 stages.*Use masked pixels \(SimMIM\)",
    ("MAE", "swin"): r"cannot drop patches of SwinTransformer: it has 4 stages",
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmpretrain")


def projector(channels, of_maps):
    return dict(
        type="NonLinearNeck",
        in_channels=channels,
        hid_channels=32,
        out_channels=16,
        num_layers=2,
        with_avg_pool=of_maps,
    )


def algorithm(kind, name):
    backbone = copy.deepcopy(BACKBONES[name])
    masked = dict(type="smallvit.MaskedBackbone", backbone=backbone)
    contrastive = dict(type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"), temperature=0.1)
    latent = dict(type="LatentPredictHead", loss=dict(type="CosineSimilarityLoss"))
    stride = STRIDES[name]
    neck = projector(_last(name), name in ("dwnet", "swin"))
    predictor = projector(16, False)
    parts = {
        "SimCLR": dict(backbone=backbone, neck=neck, head=contrastive),
        "BYOL": dict(backbone=backbone, neck=neck, head={**latent, "predictor": predictor}),
        "MoCoV3": dict(
            backbone=backbone,
            neck=neck,
            head=dict(
                type="MoCoV3Head",
                predictor=predictor,
                loss=dict(type="CrossEntropyLoss", loss_weight=0.4),
                temperature=0.2,
            ),
        ),
        "MAE": dict(
            backbone=masked,
            neck=dict(
                type="MAEPretrainDecoder",
                num_patches=16,
                patch_size=8,
                embed_dim=WIDTH,
                decoder_embed_dim=16,
                decoder_depth=1,
                decoder_num_heads=2,
            ),
            head=dict(
                type="MAEPretrainHead",
                patch_size=8,
                loss=dict(type="PixelReconstructionLoss", criterion="L2"),
            ),
        ),
        "SimMIM": dict(
            backbone=masked,
            neck=dict(type="SimMIMLinearDecoder", in_channels=_last(name), encoder_stride=stride),
            head=dict(
                type="SimMIMHead",
                patch_size=8,
                loss=dict(type="PixelReconstructionLoss", criterion="L1", channel=3),
            ),
        ),
    }[kind]
    return MODELS.build(dict(type=kind, **parts))


def _last(name):
    return dict(dwnet=64, swin=32).get(name, WIDTH)


def inputs(kind):
    views = [torch.randn(4, 3, SIZE, SIZE) for _ in range(2)]
    samples = [DataSample() for _ in range(4)]
    for sample in samples:
        sample.set_field((torch.rand(4, 4) < 0.6).long(), "mask", dtype=torch.Tensor)
    return (views if kind in ("SimCLR", "BYOL", "MoCoV3") else views[0]), samples


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("name", BACKBONES)
def test_algorithms_on_backbones(kind, name):
    """As in the table of the documentation: each combination trains a step or raises its reason."""
    torch.manual_seed(0)
    model = algorithm(kind, name)
    views, samples = inputs(kind)
    if (kind, name) in REFUSED:
        with pytest.raises(HostError, match=f"(?s){REFUSED[kind, name]}"):
            model(views, samples, mode="loss")
        return
    loss = sum(model(views, samples, mode="loss").values())
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [
        p.grad is not None for n, p in model.named_parameters() if "blocks" in n or "layers" in n
    ]
    assert any(gradients)


@pytest.mark.parametrize(
    ("kind", "backbone", "words"),
    [
        ("SparK", "smallvit.DWNet", r"got smallvit\.DWNet.*MaskedBackbone"),
        ("MAE", "smallvit.DHVT", r"MAE calls its backbone with a mask, which smallvit\.DHVT does"),
        ("mmpretrain.SimMIM", "ResNet", r'SimMIM calls.*backbone=dict\(type="ResNet"'),
    ],
)
def test_backbones_without_a_mask_are_refused_before_they_are_built(kind, backbone, words):
    model = dict(type=kind, backbone=dict(type=backbone))
    with pytest.raises(UserError, match=words):
        check_masking(Config(dict(default_scope="mmpretrain", model=model)))


@pytest.mark.parametrize(
    ("kind", "backbone"),
    [
        ("MAE", "MAEViT"),
        ("SimMIM", "SimMIMSwinTransformer"),
        ("MAE", "smallvit.MaskedBackbone"),
        ("SparK", "SparseResNet"),
        ("ImageClassifier", "ResNet"),
    ],
)
def test_other_models_are_not_changed(kind, backbone):
    model = dict(type=kind, backbone=dict(type=backbone))
    check_masking(Config(dict(default_scope="mmpretrain", model=model)))


def instances(name, count=6, **options):
    loss = dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original")
    head = dict(type="LinearClsHead", num_classes=count, in_channels=_last(name), loss=loss)
    backbone = copy.deepcopy(BACKBONES[name])
    return MODELS.build(
        dict(type="smallvit.InstanceDiscrimination", backbone=backbone, head=head, **options)
    )


def views_of(name, **options):
    neck = dict(
        type="smallvit.PrototypeNeck",
        in_channels=_last(name),
        hid_channels=16,
        bottleneck=8,
        num_prototypes=12,
    )
    backbone = copy.deepcopy(BACKBONES[name])
    return MODELS.build(
        dict(type="smallvit.ViewPrediction", backbone=backbone, neck=neck, **options)
    )


def numbered(*numbers):
    return [DataSample(metainfo=dict(sample_idx=number)) for number in numbers]


@pytest.mark.parametrize("make", [instances, views_of])
@pytest.mark.parametrize("name", BACKBONES)
def test_own_algorithms_on_backbones(make, name):
    torch.manual_seed(0)
    model = make(name)
    crops = [torch.randn(4, 3, SIZE, SIZE) for _ in range(3)]
    loss = model(crops, numbered(5, 0, 2, 1), mode="loss")["loss"]
    loss.backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None for n, p in trained.items() if not n.startswith("teacher"))
    assert not [n for n, p in trained.items() if n.startswith("teacher")]


def test_small_crops_are_processed_at_their_own_size():
    model = instances("dhvt")
    crops = [torch.randn(4, 3, side, side) for side in (32, 16)]
    assert torch.isfinite(model(crops, numbered(0, 1, 2, 3), mode="loss")["loss"])


def test_instance_discrimination_learns_each_image():
    torch.manual_seed(0)
    model = instances("vit", cutmix_alpha=0)
    images, samples = torch.randn(4, 3, SIZE, SIZE), numbered(0, 1, 2, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(15):
        optimizer.zero_grad()
        model(images, samples, mode="loss")["loss"].backward()
        optimizer.step()
    model.eval()
    feature = model.backbone(images)
    assert model.head(feature).argmax(-1).tolist() == [0, 1, 2, 3]


def test_more_images_than_outputs_are_named():
    with pytest.raises(ValueError, match=r"image 6 .*num_classes, which is 6, to the number"):
        instances("vit")(torch.randn(1, 3, SIZE, SIZE), numbered(6), mode="loss")


def test_the_teacher_follows_the_student():
    torch.manual_seed(0)
    model = views_of("vit", momentum=0.5)
    before = model.teacher.module[0].patch_embed.projection.weight.clone()
    with torch.no_grad():
        model.backbone.patch_embed.projection.weight.add_(1)
    crops = [torch.randn(2, 3, SIZE, SIZE) for _ in range(2)]
    model(crops, numbered(0, 1), mode="loss")  # the first step copies the weights
    moved = model.teacher.module[0].patch_embed.projection.weight
    assert torch.allclose(moved, before + 1)
    assert model.center.abs().sum() > 0


@pytest.mark.parametrize("num_global", [1, 2])
def test_one_crop_is_too_few(num_global):
    model = views_of("vit", num_global=num_global)
    with pytest.raises(ValueError, match="ViewPrediction requires at least 2 crops"):
        model([torch.randn(2, 3, SIZE, SIZE)], numbered(0, 1), mode="loss")


@pytest.mark.parametrize("name", ["vit", "timm"])
def test_dropped_patches_have_no_effect(name):
    """The remaining tokens do not depend on the content of dropped patches."""
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type="smallvit.MaskedBackbone", backbone=BACKBONES[name]))
    backbone.eval()
    images = torch.randn(1, 3, SIZE, SIZE)
    torch.manual_seed(1)
    tokens, mask, places = backbone(images)
    assert tokens.shape == (1, 1 + 4, WIDTH)
    assert mask.sum() == 12
    hidden = mask.reshape(1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.manual_seed(1)
    others, _, _ = backbone(images + hidden)
    assert torch.allclose(tokens, others, atol=1e-5)
    torch.manual_seed(1)
    seen, _, _ = backbone(images + 1 - hidden)
    assert not torch.allclose(tokens, seen, atol=1e-2)
    # A remaining patch keeps its position among the four visible ones.
    assert sorted(places[mask == 0].tolist()) == [0, 1, 2, 3]
    plain = backbone(images, mask=None)
    assert torch.equal(plain[0], unmasked(name, backbone)(images)[0])


def unmasked(name, masked):
    plain = MODELS.build(copy.deepcopy(BACKBONES[name]))
    plain.load_state_dict(masked.state_dict())
    plain.eval()
    return plain


def test_a_ratio_outside_is_refused():
    with pytest.raises(ValueError, match=r"0 < mask_ratio < 1, got 1\.5"):
        MODELS.build(
            dict(type="smallvit.MaskedBackbone", backbone=BACKBONES["vit"], mask_ratio=1.5)
        )
