"""DWNet: parity with the reference numbers, output formats and argument checks."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from goldens import (
    assert_features_close,
    assert_outputs_close,
    assert_train_matches,
    load_golden,
    load_reference,
    reference_input,
)
from smallvit.backbones import DWNet
from smallvit.layers.dw_block import DWBlock
from smallvit.registry import MODELS

CONVS = ("static", "dynamic", "inhomogeneous")
ALL_STAGES = (0, 1, 2, 3)
CLASSIFIERS = {
    "dwnet_tiny_static": "static",
    "dwnet_tiny_static_256": "static",
    "dwnet_tiny_dynamic": "dynamic",
    "dwnet_tiny_inhomogeneous": "inhomogeneous",
}
MULTISCALE = {
    "dwnet_tiny_static_multiscale": "static",
    "dwnet_tiny_dynamic_multiscale": "dynamic",
}


class Classifier(nn.Module):
    """Classifier with the parameter names of MMPretrain's ImageClassifier, without importing it."""

    def __init__(self, **backbone):
        super().__init__()
        self.backbone = DWNet(**backbone)
        self.head = nn.ModuleDict({"fc": nn.Linear(self.backbone.embed_dims[-1], 100)})

    def forward(self, x):
        return self.head["fc"](self.backbone(x)[-1])


def mini(conv="static", **kwargs):
    torch.manual_seed(0)
    model = DWNet("mini", conv, **kwargs)
    model.init_weights()
    return model


def official_block_outputs(backbone):
    """Collect the output tokens of the last block of each stage, by their reference names."""
    features = {}
    for i, stage in enumerate(backbone.stages):
        name = f"output of layers.{i}.blocks.{len(stage.blocks) - 1}"

        def keep(module, args, output, name=name):
            features[name] = output.flatten(1, 2)

        stage.blocks[-1].register_forward_hook(keep)
    return features


@pytest.mark.parametrize(
    ("name", "conv"),
    [
        # 256 pixels for 224; the maps of the same network are compared at a third size.
        pytest.param(*item, marks=pytest.mark.exhaustive) if item[0].endswith("256") else item
        for item in CLASSIFIERS.items()
    ],
)
def test_classifier_matches_reference(name, conv):
    record = load_golden(name)
    model = Classifier(arch="tiny", conv=conv).eval()
    load_reference(model, record, "dwnet")
    features = official_block_outputs(model.backbone)
    with torch.no_grad():
        assert_outputs_close(model(reference_input(record["eval"])), record)
    assert_features_close(features, record)
    assert_train_matches(model, record, "dwnet", forward=model)


@pytest.mark.parametrize(
    ("name", "conv"),
    [
        # The static convolution is covered by the classifier above.
        pytest.param(*item, marks=pytest.mark.exhaustive) if item[1] == "static" else item
        for item in MULTISCALE.items()
    ],
)
def test_maps_match_reference(name, conv):
    record = load_golden(name)
    model = DWNet("tiny", conv, out_indices=ALL_STAGES).eval()
    load_reference(model, record, "dwnet", prefix="backbone.")
    with torch.no_grad():
        assert_outputs_close(model(reference_input(record["eval"])), record)
    assert_train_matches(model, record, "dwnet", forward=model, prefix="backbone.")


@pytest.mark.parametrize(
    ("arch", "conv", "published"),
    [
        ("tiny", "static", 23_480_644),
        ("tiny", "dynamic", 50_439_652),
        ("tiny", "inhomogeneous", 25_552_180),
        ("base", "static", 73_424_612),
        ("base", "dynamic", 160_675_428),
        ("base", "inhomogeneous", 79_331_108),
    ],
)
def test_parameter_count(arch, conv, published):
    with torch.device("meta"):
        model = Classifier(arch=arch, conv=conv)
    assert sum(p.numel() for p in model.parameters()) == published


def test_is_registered_and_found_from_other_scopes():
    config = dict(type="smallvit.DWNet", arch="mini")
    assert isinstance(MODELS.build(config), DWNet)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(arch="tyni"), ["tyni", "tiny", "base", "mini"]),
        (dict(arch=dict(embed_dims=8, depths=(1,))), ["group_channels"]),
        (dict(arch="mini", conv="dynamik"), ["dynamik", "inhomogeneous"]),
        (dict(arch="mini", out_indices=(4,)), ["out_indices", "0 to 3"]),
        (dict(arch="mini", out_type="map"), ["'map'", "featmap"]),
        (dict(arch="mini", out_indices=(0, 3), out_type="avg_featmap"), ["avg_featmap", "(-1,)"]),
        (dict(arch="mini", kernel_size=4), ["kernel_size", "got 4"]),
        (dict(arch="mini", frozen_stages=4), ["frozen_stages", "-1 to 3", "got 4"]),
        (
            dict(
                arch=dict(embed_dims=8, depths=(1, 1), group_channels=(3, 4)),
                conv="inhomogeneous",
            ),
            ["8 channels", "got 3"],
        ),
    ],
)
def test_wrong_settings_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"\w") as error:
        DWNet(**kwargs)
    for word in words:
        assert word in str(error.value)


def test_arch_and_depths_may_differ_from_the_named_ones():
    arch = dict(embed_dims=8, depths=(1, 2, 1), group_channels=(1, 2, 4))
    model = DWNet(arch, "inhomogeneous", patch_size=2, kernel_size=5, mlp_ratio=2.0, in_channels=1)
    assert len(model.stages) == 3
    assert model.stages[1].blocks[1].mlp.fc1.out_features == 32
    maps = DWNet(arch, out_indices=range(3), in_channels=1)(torch.randn(2, 1, 33, 40))
    assert [tuple(m.shape) for m in maps] == [(2, 8, 9, 10), (2, 16, 5, 5), (2, 32, 3, 3)]
    assert model(torch.randn(2, 1, 8, 8))[0].shape == (2, 32)


class TestSizes:
    model = None

    @classmethod
    def setup_class(cls):
        cls.model = mini("dynamic", out_indices=ALL_STAGES).eval()

    @settings(max_examples=15)
    @given(H=st.integers(1, 90), W=st.integers(1, 90), B=st.integers(1, 2))
    def test_any_size(self, H, W, B):
        with torch.no_grad():
            maps = self.model(torch.randn(B, 3, H, W))
        expected = []
        h, w = -(-H // 4), -(-W // 4)
        for dims in self.model.embed_dims:
            expected.append((B, dims, h, w))
            h, w = -(-h // 2), -(-w // 2)
        assert [tuple(m.shape) for m in maps] == expected

    def test_samples_are_independent_in_evaluation(self):
        x = torch.randn(2, 3, 50, 37)
        with torch.no_grad():
            together, alone = self.model(x), self.model(x[1:])
        for many, one in zip(together, alone, strict=True):
            torch.testing.assert_close(many[1:], one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("conv", CONVS)
def test_classifier_takes_batch_of_one_and_odd_sizes(conv):
    model = mini(conv).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 41, 30))[0].shape == (1, 256)


class TestOutputs:
    def test_last_stage_alone_is_pooled(self):
        x = torch.randn(2, 3, 32, 32)
        pooled = mini().eval()
        last = mini(out_indices=-1, out_type="featmap", pad_to_kernel=False).eval()
        assert pooled(x)[0].shape == (2, 256)
        assert last(x)[0].shape == (2, 256, 1, 1)

    @pytest.mark.parametrize(
        ("parts", "shape"),
        [
            (dict(head=1), (2, 256)),
            (dict(neck=dict(type="ChannelMapper")), (2, 256, 1, 1)),
            (dict(decode_head=1), (2, 256, 1, 1)),
            (dict(bbox_head=1, neck=None), (2, 256, 1, 1)),
        ],
    )
    @pytest.mark.parametrize("indices", [-1, (3,)])
    def test_last_stage_is_a_map_where_the_model_builds_on_maps(self, parts, shape, indices):
        class Model:
            def __init__(self, backbone, neck=None, decode_head=None, bbox_head=None, head=None):
                self.backbone = MODELS.build(backbone)

        config = dict(type="smallvit.DWNet", arch="mini", out_indices=indices)
        backbone = Model(config, **parts).backbone
        assert backbone.eval()(torch.randn(2, 3, 32, 32))[0].shape == shape

    def test_several_stages_come_as_maps_in_order(self):
        x = torch.randn(2, 3, 64, 64)
        every = mini(out_indices=ALL_STAGES).eval()
        some = mini(out_indices=(2, 0)).eval()
        state = every.state_dict()
        some.load_state_dict({key: state[key] for key in some.state_dict()})
        for ours, reference in zip(some(x), (every(x)[0], every(x)[2]), strict=True):
            assert torch.equal(ours, reference)

    def test_padding_is_tied_to_maps_and_can_be_chosen(self):
        x = torch.randn(2, 3, 40, 40)
        padded, plain = (
            mini(out_indices=ALL_STAGES, pad_to_kernel=pad).eval() for pad in (None, False)
        )
        # Zeros would remain zeros after the first norm, whose bias is zero.
        nn.init.constant_(padded.stages[0].blocks[0].mixer.norm_in.bias, 0.5)
        plain.load_state_dict(padded.state_dict())
        assert not torch.allclose(padded(x)[0], plain(x)[0])
        x = torch.randn(2, 3, 224, 224)
        torch.testing.assert_close(padded(x)[0], plain(x)[0], rtol=0, atol=1e-5)

    def test_classifier_weights_do_not_reach_the_norms_of_maps(self):
        loaded = mini(out_indices=ALL_STAGES).load_state_dict(mini().state_dict(), strict=False)
        assert sorted(loaded.unexpected_keys) == ["norm.bias", "norm.weight"]
        assert {key.split(".")[0] for key in loaded.missing_keys} == {
            f"norm{i}" for i in ALL_STAGES
        }


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_frozen_stages_stay_frozen():
    model = mini("dynamic", frozen_stages=1, out_indices=ALL_STAGES, use_abs_pos_embed=True)
    model.train()
    frozen = ("patch_embed", "absolute_pos_embed", "stages.0", "stages.1", "norm0", "norm1")
    everything = {name for name, _ in model.named_parameters()}
    assert everything - trainable(model) == {n for n in everything if n.startswith(frozen)}
    before = {name: b.clone() for name, b in model.named_buffers()}
    sum(m.sum() for m in model(torch.randn(2, 3, 32, 32))).backward()
    moved = {n for n, b in model.named_buffers() if not torch.equal(b, before[n])}
    assert moved
    assert not [name for name in moved if name.startswith(frozen)]


def test_norm_eval_keeps_statistics():
    model = mini("dynamic", norm_eval=True).train()
    before = {name: b.clone() for name, b in model.named_buffers()}
    model(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())


@pytest.mark.parametrize("conv", CONVS)
def test_checkpointing_changes_no_gradient(conv):
    x = torch.randn(2, 3, 32, 32)
    grads = []
    for with_cp in (False, True):
        model = mini(conv, with_cp=with_cp, norm_eval=True).double().train()
        model(x.double())[0].square().sum().backward()
        grads.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_drop_path_grows_linearly():
    model = mini(drop_path_rate=0.4)
    rates = [block.drop_path.drop_prob for stage in model.stages for block in stage.blocks]
    np.testing.assert_allclose(rates, np.linspace(0, 0.4, 5), rtol=1e-6)


class TestPositionEmbedding:
    def test_resized_to_the_image(self):
        model = mini(img_size=32, use_abs_pos_embed=True).eval()
        assert model.absolute_pos_embed.shape == (1, 32, 8, 8)
        assert model.absolute_pos_embed.std() > 0.01
        without = mini(img_size=32).eval()
        without.load_state_dict(model.state_dict(), strict=False)
        for size in ((32, 32), (48, 20)):
            x = torch.randn(1, 3, *size)
            assert model(x)[0].shape == (1, 256)
            assert not torch.allclose(model(x)[0], without(x)[0])

    def test_resized_when_loaded(self):
        small = mini(img_size=32, use_abs_pos_embed=True)
        large = mini(img_size=(64, 48), use_abs_pos_embed=True)
        large.load_state_dict(small.state_dict())
        assert large.absolute_pos_embed.shape == (1, 32, 16, 12)
        torch.testing.assert_close(
            large.absolute_pos_embed.mean(), small.absolute_pos_embed.mean(), rtol=0, atol=1e-3
        )


def test_pretrained_checkpoint_of_a_classifier(tmp_path):
    source = Classifier(arch="mini")
    path = tmp_path / "classifier.pth"
    torch.save({"state_dict": source.state_dict()}, path)
    init_cfg = dict(type="Pretrained", checkpoint=str(path), prefix="backbone.")
    model = DWNet("mini", out_indices=ALL_STAGES, init_cfg=init_cfg)
    model.init_weights()
    for key, value in source.backbone.stages.state_dict().items():
        assert torch.equal(value, model.stages.state_dict()[key])


def test_norm_cfg_reaches_every_batch_norm():
    model = mini("dynamic", norm_cfg=dict(type="SyncBN"), out_indices=ALL_STAGES)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(m, nn.SyncBatchNorm) for m in norms)


@pytest.mark.parametrize("conv", CONVS)
def test_bfloat16_autocast(conv):
    model = mini(conv)
    x = torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        model(x)[0].float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        exact = model(x)[0]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(x)[0].float()
    assert (exact - rounded).abs().max() < 0.05 * exact.abs().max()


def test_block_can_be_used_alone():
    block = DWBlock(24, "inhomogeneous", group_channels=3, kernel_size=3)
    x = torch.randn(2, 9, 7, 24, requires_grad=True)
    block(x).sum().backward()
    assert x.grad.shape == x.shape


ONE_BLOCK = dict(embed_dims=8, depths=(1,), group_channels=(2,))


@pytest.mark.parametrize("conv", CONVS)
def test_compiles_without_graph_breaks(conv):
    model = DWNet(ONE_BLOCK, conv, kernel_size=3, norm_eval=True)
    x = torch.randn(2, 3, 16, 16)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0], model(x)[0])


@pytest.mark.exhaustive
def test_inductor_gives_the_same():
    model = DWNet(ONE_BLOCK, "dynamic", kernel_size=3).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model)(x)[0], model(x)[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("conv", CONVS)
def test_onnx_parity(conv):
    ort = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    arch = dict(embed_dims=8, depths=(1, 1), group_channels=(2, 2))
    model = DWNet(arch, conv, kernel_size=3).eval()
    x = torch.randn(2, 3, 28, 36)
    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, dynamo=False, input_names=["image"])
    session = ort.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {"image": x.numpy()})
    with torch.no_grad():
        expected = model(x)[0].numpy()
    np.testing.assert_allclose(exported, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
