"""MimeticInit and StructuredInit: weight products and attention maps of several backbones."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from smallvit.errors import HostError
from smallvit.hosts import attention_projections, position_table, view_host
from smallvit.registry import MODELS

SDPA = torch.nn.functional.scaled_dot_product_attention

VIT = dict(
    type="mmpretrain.VisionTransformer",
    arch=dict(embed_dims=64, num_layers=2, num_heads=4, feedforward_channels=64),
    img_size=32,
    patch_size=4,
)
DHVT = dict(
    type="smallvit.DHVT",
    arch=dict(embed_dims=48, num_layers=2, num_heads=4, feedforward_channels=96),
    img_size=32,
    patch_size=4,
)
SWIN = dict(
    type="mmpretrain.SwinTransformer",
    arch=dict(embed_dims=24, depths=[2, 2], num_heads=[2, 4]),
    img_size=32,
    patch_size=2,
    window_size=4,
    out_indices=(1,),
)
TIMM = dict(
    type="smallvit.TimmBackbone",
    model_name="vit_tiny_patch16_224",
    img_size=32,
    patch_size=4,
    depth=2,
    embed_dim=64,
    num_heads=4,
)


def classifier(backbone, initializer, **options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="mmpretrain.ImageClassifier",
            backbone=backbone,
            init_cfg=dict(type=f"smallvit.{initializer}", **options),
        )
    )
    model.init_weights()
    model.eval()
    return model.backbone.requires_grad_(False)


def attentions(backbone):
    return [attention_projections(block.module) for block in view_host(backbone).blocks]


def correlation(product, sign):
    """Ratio of the mean of the diagonal to the standard deviation of the other entries."""
    rest = product[~torch.eye(len(product), dtype=torch.bool)]
    return sign * product.diagonal().mean() / rest.std()


@pytest.mark.parametrize("config", [VIT, DHVT, SWIN, TIMM], ids=["vit", "dhvt", "swin", "timm"])
def test_products_are_near_the_identity(config):
    for attention in attentions(classifier(config, "MimeticInit")):
        channels = attention.value.weight.shape[1]
        output = attention.output.weight @ attention.value.weight
        # 0.4 Z - 0.4 I, where Z has variance 1 / C.
        assert output.diagonal().mean() == pytest.approx(-0.4, abs=0.1)
        rest = output[~torch.eye(channels, dtype=torch.bool)]
        assert rest.std() * channels**0.5 == pytest.approx(0.4, rel=0.1)
        queries = attention.query.weight.chunk(attention.num_heads)
        keys = attention.key.weight.chunk(attention.num_heads)
        for query, key in zip(queries, keys, strict=True):
            product = query.T @ key
            assert torch.linalg.matrix_rank(product) == len(query)
            assert correlation(product, 1) > 1
        for part in (attention.query, attention.key, attention.value, attention.output):
            assert part.bias is None or not part.bias.any()


def test_full_rank_gives_the_numbers_of_the_paper():
    """With one head, nothing is truncated: the product is 0.7 Z + 0.7 I."""
    one = {**VIT, "arch": {**VIT["arch"], "num_heads": 1}}
    for attention in attentions(classifier(one, "MimeticInit")):
        product = attention.query.weight.T @ attention.key.weight
        assert product.diagonal().mean() == pytest.approx(0.7, abs=0.1)
        assert product[0, 1:].std() * 8 == pytest.approx(0.7, rel=0.3)


def test_positions_are_sinusoids_and_the_class_token_has_none():
    table = position_table(classifier(VIT, "MimeticInit"))
    assert table.grid == (8, 8)
    assert len(table.extra) == 1
    assert not table.extra.any()
    lengths = table.patches.square().sum(-1)
    assert torch.allclose(lengths, torch.full((64,), 32.0))
    # Closer positions are more similar, along a row of the grid.
    alike = table.patches[:1] @ table.patches[:4].T
    assert (alike.diff() < 0).all()


class Watch(TorchFunctionMode):
    """Record the attention maps of all calls of PyTorch's fused attention."""

    def __init__(self):
        super().__init__()
        self.maps = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is SDPA:
            query, key = args[:2]
            self.maps.append((query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1))
        return func(*args, **(kwargs or {}))


def neighbor(maps, grid):
    """For each head, find the offset at which most inner patches attend, and their fraction."""
    height, width = grid
    found = []
    for head in maps:
        looks = head.argmax(-1)
        place = torch.arange(height * width)
        offsets = torch.stack((looks // width - place // width, looks % width - place % width), -1)
        inner = offsets.reshape(height, width, 2)[1:-1, 1:-1].reshape(-1, 2)
        values, counts = inner.unique(dim=0, return_counts=True)
        found.append((tuple(values[counts.argmax()].tolist()), float(counts.max() / len(inner))))
    return found


@pytest.mark.parametrize("config", [VIT, TIMM], ids=["mmpretrain", "timm"])
def test_each_head_looks_at_a_neighbor_of_its_own(config):
    # With 32 channels per head, the rank is large enough for most of the 64 positions.
    wide = {**config, **_width(config, 256, 4)}
    backbone = classifier(wide, "StructuredInit")
    table, block = position_table(backbone), attentions(backbone)[0]
    tokens = torch.nn.functional.layer_norm(table.patches, (256,))
    query, key = (
        (tokens @ part.weight.T).unflatten(1, (4, -1)).transpose(0, 1)
        for part in (block.query, block.key)
    )
    maps = (query @ key.transpose(1, 2) / 8).softmax(-1)
    found = neighbor(maps, table.grid)
    offsets = [offset for offset, _ in found]
    assert len(set(offsets)) == 4
    assert all(abs(step) <= 1 for offset in offsets for step in offset)
    assert min(share for _, share in found) > 0.9
    for rows in block.query.weight.chunk(4):
        assert rows.norm() == pytest.approx(7, rel=1e-4)


def _width(config, channels, heads):
    if "arch" in config:
        return {"arch": {**config["arch"], "embed_dims": channels, "num_heads": heads}}
    return {"embed_dim": channels, "num_heads": heads}


def test_attention_of_the_whole_network():
    """The input of the first attention contains position embeddings in addition to the patches."""
    wide = {**VIT, **_width(VIT, 256, 4), "with_cls_token": False, "out_type": "avg_featmap"}
    backbone = classifier(wide, "StructuredInit")
    with Watch() as watch, torch.no_grad():
        backbone(0.1 * torch.randn(1, 3, 32, 32))
    found = neighbor(watch.maps[0][0], (8, 8))
    assert min(share for _, share in found) > 0.8


@pytest.mark.parametrize("library", ["mmpretrain", "mmdet", "timm"])
def test_swin_attends_by_its_relative_position_bias(library):
    other = dict(embed_dims=24, depths=[2, 2, 2, 2], num_heads=[2, 4, 4, 4], window_size=4)
    config = {
        "mmpretrain": SWIN,
        "mmdet": dict(type="mmdet.SwinTransformer", pretrain_img_size=32, **other),
        "timm": dict(
            type="smallvit.TimmBackbone",
            model_name="swin_tiny_patch4_window7_224",
            img_size=32,
            patch_size=2,
            window_size=4,
            embed_dim=24,
            depths=(2, 2),
            num_heads=(2, 4),
        ),
    }[library]
    backbone = classifier(config, "StructuredInit")
    module = attentions(backbone)[0].module
    index = module.relative_position_index.reshape(-1)
    bias = module.relative_position_bias_table[index].reshape(16, 16, -1).permute(2, 0, 1)
    found = neighbor(bias, (4, 4))
    assert [share for _, share in found] == [1.0, 1.0]
    assert len({offset for offset, _ in found}) == 2
    assert bias.max() == 5
    assert not bias[bias != 5].any()


def test_networks_without_positions_are_rejected():
    with pytest.raises(HostError, match=r"which DHVT does not have\. Use smallvit\.MimeticInit"):
        classifier(DHVT, "StructuredInit")


def test_a_backbone_without_attention_is_refused():
    with pytest.raises(HostError, match=r"(?s)has no supported attention.*register_att"):
        classifier(dict(type="smallvit.DWNet", arch="tiny"), "MimeticInit")


def test_init_cfg_of_a_backbone_names_the_right_place():
    backbone = MODELS.build({**VIT, "init_cfg": dict(type="smallvit.MimeticInit")})
    with pytest.raises(ValueError, match=r"model\.init_cfg = dict\(type=.smallvit\.MimeticInit"):
        backbone.init_weights()


def test_within_final_init():
    inner = dict(type="smallvit.MimeticInit")
    backbone = classifier(VIT, "FinalInit", modules=["backbone"], init_cfg=inner)
    assert not position_table(backbone).extra.any()


def test_pretrained_weights_are_rejected(tmp_path):
    torch.save(dict(state_dict=MODELS.build(VIT).state_dict()), tmp_path / "vit.pth")
    pretrained = dict(type="Pretrained", checkpoint=str(tmp_path / "vit.pth"))
    with pytest.raises(
        ValueError, match="would overwrite the weights that VisionTransformer loads"
    ):
        classifier({**VIT, "init_cfg": pretrained}, "MimeticInit")


def test_the_same_seed_gives_the_same_weights():
    one, two = (classifier(VIT, "StructuredInit").state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="odd window_size, got 2"):
        classifier(VIT, "StructuredInit", window_size=2)
