"""DynamicViT: feature and relationship reuse, the three inference modes, and training."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from smallvit.errors import HostError
from smallvit.hosts import Taps, view_host
from smallvit.plugins.multi_exit import DynamicViT, MultiExitHead, resize_matrix
from smallvit.plugins.multi_exit.reuse import keep_extra
from smallvit.plugins.multi_exit.thresholds import choose_exits
from smallvit.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
T2T = dict(type="smallvit.T2TViT", arch=ARCH, img_size=32, token_dims=8)


def grid(number):
    """Patch embedding that creates number x number tokens from a 32x32 image."""
    patch = 32 // number
    return dict(kernel_sizes=(patch // 2, 1), strides=(patch // 2, 2), paddings=(0, 0))


def exits(numbers=(2, 4, 8)):
    return [dict(T2T, token_grid=grid(number)) for number in numbers]


def classifier(seed=0, backbone=None, head=None, **kwargs):
    torch.manual_seed(seed)
    backbone = dict(type="smallvit.DynamicViT", exits=exits()) | (backbone or {})
    head = dict(type="smallvit.MultiExitHead", num_classes=5, in_channels=16) | (head or {})
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(
            dict(type="smallvit.MultiExitClassifier", backbone=backbone, head=head) | kwargs
        )
    model.init_weights()
    for fc in model.head.fcs:  # spread the confidences
        torch.nn.init.normal_(fc.weight)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return classifier()


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("old", "new"), [((7, 7), (10, 10)), ((3, 5), (4, 7)), ((4, 4), (8, 8))])
def test_resize_is_upsampling_and_pooling(old, new):
    values = torch.randn(2, 1, *old)
    factor = [-(-b // a) for a, b in zip(old, new, strict=True)]
    large = values.repeat_interleave(factor[0], 2).repeat_interleave(factor[1], 3)
    expected = torch.nn.functional.adaptive_avg_pool2d(large, new)
    matrix = resize_matrix(old, new)
    torch.testing.assert_close(
        (matrix @ values.flatten(2).transpose(1, 2)).flatten(), expected.flatten()
    )
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(new[0] * new[1]))


def test_a_graph_resizes_in_single_precision():
    """onnxruntime only resizes in float32, and resizing to other grids is part of the graph."""

    class Resize(torch.nn.Module):
        def forward(self, x):
            return resize_matrix((3, 5), (4, 7)) @ x

    x = torch.randn(15, 2)
    graph = torch.export.export(Resize(), (x,), strict=False)
    values = [node.meta["val"] for node in graph.graph.nodes if "val" in node.meta]
    assert not [value for value in values if getattr(value, "dtype", None) == torch.float64]
    torch.testing.assert_close(graph.module()(x), Resize()(x))


LEVELS = st.sampled_from([-1e8, 0.0, 0.4, 0.6, 0.8, 0.95, 1e8])


@torch.no_grad()
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    size=st.integers(1, 9),
    thresholds=st.lists(
        st.sampled_from([-1e8, 0.0, 0.4, 0.6, 0.8, 0.95, 1e8]), min_size=2, max_size=2
    ),
    policy=st.sampled_from(["max_softmax", "margin", "entropy"]),
    reuse=st.booleans(),
)
def test_budgeted_inference_is_the_decision_from_all_logits(seed, size, thresholds, policy, reuse):
    net = CASCADES[reuse]
    inputs = torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    temperatures = [0.7, 1.0, 1.3]
    net.set_inference("budgeted", thresholds=thresholds, policy=policy, temperatures=temperatures)
    everything = torch.stack(net(inputs))
    confidence = torch.stack(
        [net._confidence(index, logits) for index, logits in enumerate(everything)]
    )
    expected = choose_exits(confidence, thresholds)
    logits, taken = net.predict_budgeted(inputs)
    assert taken.tolist() == expected.tolist()
    chosen = everything[expected, torch.arange(size)]
    # Single precision: matrix products of smaller batches are summed in a different order.
    torch.testing.assert_close(logits, chosen, rtol=1e-5, atol=1e-5)
    samples = net.predict(inputs)
    assert [sample.exit_index for sample in samples] == expected.tolist()
    assert [int(sample.pred_label) for sample in samples] == chosen.argmax(1).tolist()


CASCADES = {
    True: classifier(1),
    False: classifier(1, backbone=dict(feature_reuse=False, relation_reuse=False)),
}


def count_images(net):
    """Count the images computed by each exit and each classifier from now on."""
    counts = {"exits": [0] * net.num_exits, "heads": [0] * net.num_exits}

    def hook(name, index):
        def add(module, args, output):
            counts[name][index] += len(args[0])

        return add

    for index in range(net.num_exits):
        net.backbone.exits[index].register_forward_hook(hook("exits", index))
        net.head.fcs[index].register_forward_hook(hook("heads", index))
    return counts


@torch.no_grad()
def test_no_unnecessary_computation(images):
    net = classifier(2)
    counts = count_images(net)

    def computed():
        result = {name: list(values) for name, values in counts.items()}
        for values in counts.values():
            values[:] = [0] * len(values)
        return result

    confidence = net(images)[0].softmax(1).amax(1).sort(descending=True).values
    computed()
    between = float(confidence[1:3].mean())  # two of six images leave at the first exit
    for thresholds, expected, heads in [
        ([0.0, 0.0], [6, 0, 0], [6, 0, 0]),
        ([between, 0.0], [6, 4, 0], [6, 4, 0]),
        ([between, 1e8], [6, 4, 4], [6, 0, 4]),
        ([1e8, 1e8], [6, 6, 6], [0, 0, 6]),
    ]:
        net.set_inference("budgeted", thresholds=thresholds)
        net.predict(images)
        assert computed() == {"exits": expected, "heads": heads}
    net.set_inference("fixed", exit_index=1)
    net.predict(images)
    assert computed() == {"exits": [6, 6, 0], "heads": [0, 6, 0]}

    alone = classifier(2, backbone=dict(feature_reuse=False, relation_reuse=False))
    counts = count_images(alone)
    alone.set_inference("fixed")
    alone.predict(images)
    assert computed() == {"exits": [0, 0, 6], "heads": [0, 0, 6]}
    alone.set_inference("budgeted", thresholds=[1e8, 0.0])
    alone.predict(images)
    assert computed() == {"exits": [0, 6, 0], "heads": [0, 6, 0]}


@torch.no_grad()
def test_fixed_exits_and_anytime_agree(model, images):
    everything = model(images)
    for index in range(3):
        model.set_inference("fixed", exit_index=index)
        torch.testing.assert_close(model.predict_fixed(images, index), everything[index])
        assert {sample.exit_index for sample in model.predict(images)} == {index}
    model.set_inference()
    samples = model.predict(images, [DataSample() for _ in images])
    stacked = torch.stack([sample.exit_logits for sample in samples], dim=1)
    torch.testing.assert_close(stacked, torch.stack(everything))
    assert model.predict(images[:1])[0].exit_logits.shape == (3, 5)


@torch.no_grad()
@pytest.mark.parametrize("switched_off", ["feature_reuse", "relation_reuse"])
def test_each_reuse_matters_and_can_be_switched_off(model, images, switched_off):
    other = classifier(backbone={switched_off: False})
    ours = model.state_dict()
    missing = set(ours) - set(other.state_dict())
    assert missing
    assert all(switched_off in key for key in missing)
    changed = copy.deepcopy(model)
    for parameter in getattr(changed.backbone, switched_off).parameters():
        parameter.add_(torch.randn(parameter.shape))
    first, *later = zip(model(images), changed(images), strict=True)
    torch.testing.assert_close(*first)
    assert all((a - b).abs().max() > 1e-4 for a, b in later)


@torch.no_grad()
def test_other_input_sizes(model):
    assert [len(each) for each in model(torch.randn(2, 3, 48, 64))] == [2, 2, 2]


DHVT = dict(type="smallvit.DHVT", arch=ARCH, img_size=32)
CAIT = dict(type="smallvit.CaiT", arch=dict(ARCH, num_cls_layers=1), img_size=32)
VIT = dict(type="mmpretrain.VisionTransformer", arch=ARCH, img_size=32)
DEIT = dict(VIT, type="mmpretrain.DistilledVisionTransformer", patch_size=8)


@pytest.mark.parametrize("network", [DHVT, CAIT, VIT], ids=["DHVT", "CaiT", "ViT"])
def test_any_plain_transformer_is_an_exit(network, images):
    nets = [dict(network, patch_size=patch) for patch in (16, 8, 4)]
    net = classifier(backbone=dict(exits=nets))
    net.train()
    loss = sum(logits.square().mean() for logits in net(images))
    loss.backward()
    for name, parameter in net.backbone.named_parameters():
        if "reuse" in name:
            assert parameter.grad is not None, name
    reused = [p.grad.abs().sum() for p in net.backbone.relation_reuse[1].parameters()]
    assert all(value > 0 for value in reused[:3])
    net.eval()
    copied = copy.deepcopy(net)  # no tensor of the forward pass is stored in the module
    with torch.no_grad():
        torch.testing.assert_close(copied(images), net(images))


def test_exits_of_different_kind_and_width(images):
    wide = dict(VIT, patch_size=8, arch=dict(ARCH, embed_dims=24, num_heads=3, num_layers=3))
    net = classifier(
        backbone=dict(exits=[dict(VIT, patch_size=16), wide, exits()[2]]),
        head=dict(in_channels=[16, 24, 16]),
    )
    assert [logits.shape for logits in net(images)] == [(6, 5)] * 3


def test_a_cascade_is_a_host(model, images):
    view = view_host(model.backbone)
    assert [len(stage) for stage in view.stages] == [2, 2, 2]
    taps = Taps(view, [1, 3, 5])
    with taps, torch.no_grad():
        model(images)
        assert [found.shape[1:] for found in taps.maps()] == [(16, 2, 2), (16, 4, 4), (16, 8, 8)]
    taps.remove()


@torch.no_grad()
@pytest.mark.parametrize("place", ["exits", "cascade"])
def test_exits_with_shortcuts(images, place):
    """The shortcut of the last block is part of the reused features, whenever it was attached."""
    name = "smallvit.DWConvShortcut"
    if place == "exits":
        nets = [dict(net, type=name, host="smallvit.T2TViT") for net in exits()]
        net = classifier(backbone=dict(exits=nets))
        first = net.backbone.exits[0].dw_shortcuts[0]
    else:
        net = classifier(backbone=dict(type=name, host="smallvit.DynamicViT"))
        first = net.backbone.dw_shortcuts[0]
    before = net(images)
    tokens = net.backbone.forward_exit(0, images)[1].tokens
    for parameter in first[-1].parameters():  # next to the last block of the first exit
        parameter.add_(torch.randn(parameter.shape))
    after = net(images)
    torch.testing.assert_close(after[0], before[0])  # the class token is not changed
    changed = net.backbone.forward_exit(0, images)[1].tokens
    torch.testing.assert_close(changed[:, 0], tokens[:, 0])
    assert (changed - tokens).abs().max() > 0.1
    net.set_inference("budgeted", thresholds=[0.6, 0.6])
    logits, taken = net.predict_budgeted(images)
    chosen = torch.stack(after)[taken, torch.arange(6)]
    torch.testing.assert_close(logits, chosen, rtol=1e-4, atol=1e-4)


def labeled(count, classes=5):
    return [DataSample().set_gt_label(index % classes) for index in range(count)]


def test_loss_is_the_weighted_sum(images):
    net = classifier(head=dict(loss_weights=[1.0, 0.5, 0.0]))
    losses = net.loss(images, labeled(6))
    logits = net(images)
    labels = torch.arange(6) % 5
    each = [torch.nn.functional.cross_entropy(one, labels) for one in logits]
    total, _ = net.parse_losses(losses)
    torch.testing.assert_close(total, each[0] + 0.5 * each[1])
    right = (logits[2].argmax(1) == labels).float().mean()
    assert losses["exit2.accuracy"].item() == pytest.approx(100 * right.item())


def test_mixup_and_label_smoothing(images):
    loss = dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original")
    augments = [dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]
    net = classifier(
        head=dict(loss=loss),
        train_cfg=dict(augments=augments),
        data_preprocessor=dict(mean=[0] * 3, std=[1] * 3, num_classes=5),
    ).train()
    data = net.data_preprocessor(dict(inputs=images, data_samples=labeled(6)), training=True)
    losses = net(**data, mode="loss")
    assert set(losses) == {"exit0.loss", "exit1.loss", "exit2.loss"}
    net.parse_losses(losses)[0].backward()


def test_recomputing_exits_gives_the_same_gradients(images):
    grads = []
    for with_cp in (False, True):
        net = classifier(backbone=dict(with_cp=with_cp)).train()
        net.parse_losses(net.loss(images, labeled(6)))[0].backward()
        grads.append([parameter.grad for parameter in net.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_moving_average_and_autocast(images):
    net = classifier().train()
    average = ExponentialMovingAverage(net)
    with torch.autocast("cpu", torch.bfloat16):
        net.parse_losses(net.loss(images, labeled(6)))[0].backward()
    average.update_parameters(net)
    net.eval()
    with torch.no_grad():  # before the first step, the average equals the model
        torch.testing.assert_close(average.module.eval()(images), net(images))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        net.set_inference("budgeted", thresholds=[0.5, 0.5])
        assert len(net.predict(images)) == 6


def test_the_last_exit_is_fused(model, images, monkeypatch):
    calls = []
    fused = torch.nn.functional.scaled_dot_product_attention

    def count(query, *args, **kwargs):
        calls.append(query.shape[2])
        return fused(query, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", count)
    with torch.no_grad():
        model(images)
    assert calls == [65, 65]  # two blocks on 8x8 tokens and the class token


def test_onnx_graph_of_one_exit(tmp_path, images):
    import onnxruntime

    class Exit(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net.predict_fixed(x, 1)

    net = Exit(classifier())
    path = tmp_path / "exit1.onnx"
    torch.onnx.export(net, (images,), str(path), dynamo=False, input_names=["images"])
    result = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(result), net(images), rtol=1e-4, atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match=r"expected 2 thresholds for 3 exits.*got 4"):
        classifier(inference=dict(mode="budgeted", thresholds=[0.1] * 4))
    with pytest.raises(ValueError, match=r"anytime, budgeted, fixed.*'lazy'"):
        classifier(inference=dict(mode="lazy"))
    with pytest.raises(ValueError, match=r"exit_index from 0 to 2 .*got 3"):
        classifier(inference=dict(mode="fixed", exit_index=3))
    with pytest.raises(ValueError, match="one of thresholds, max_gflops and min_accuracy"):
        classifier(inference=dict(mode="budgeted"))
    with pytest.raises(ValueError, match="expected 3 temperatures, got 2"):
        classifier(inference=dict(temperatures=[1, 1]))
    with pytest.raises(ValueError, match=r"3 exits.*classifiers for 2"):
        classifier(head=dict(num_exits=2))
    with pytest.raises(ValueError, match=r"expected 3 loss_weights"):
        MultiExitHead(5, 16, loss_weights=[1, 1])
    with pytest.raises(ValueError, match=r"2 exits.*classifiers for 3\. Set num_exits=2"):
        MultiExitHead(5, 16)([torch.zeros(1, 16)] * 2)
    with pytest.raises(ValueError, match="at least one backbone"):
        DynamicViT([])


def test_networks_that_cannot_reuse_are_refused(images):
    resnet = dict(type="smallvit.CifarResNet", depth=20)
    with pytest.raises(HostError, match=r"(?s)exits\[0\] \(CifarResNet\).*feature_reuse=False"):
        DynamicViT([resnet, exits()[2]])
    assert len(DynamicViT([resnet] * 2, feature_reuse=False, relation_reuse=False)(images)) == 2
    with pytest.raises(ValueError, match="with_cp=True of DynamicViT"):
        DynamicViT([dict(each, with_cp=True) for each in exits()])
    with pytest.raises(HostError, match=r"exits\[1\] \(CifarResNet\)"):
        DynamicViT([exits()[0], resnet], relation_reuse=False)


MIXED = {
    "no class token, then one": [dict(CAIT, patch_size=16), dict(VIT, patch_size=8)],
    "one, then none": [dict(VIT, patch_size=16), dict(CAIT, patch_size=8)],
    "class token, then heads' tokens": [dict(VIT, patch_size=16), dict(DHVT, patch_size=4)],
    "heads' tokens, then two in front": [dict(DHVT, patch_size=8), DEIT],
}


@pytest.mark.parametrize("which", MIXED)
def test_unlike_exits_reuse_each_other(which, images):
    """Relations that only one of the exits has are not biased."""
    net = DynamicViT(MIXED[which])
    net.init_weights()
    net.train()
    first, second = net(images)
    assert first.shape == second.shape == (6, 16)
    second.square().sum().backward()
    assert all(p.grad is not None for p in net.feature_reuse.parameters())
    assert all(p.grad.abs().sum() > 0 for p in net.relation_reuse[0].conv1.parameters())


def test_extra_tokens_without_a_counterpart_are_not_changed():
    matrix = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    found = keep_extra(matrix, before=(2, 1), behind=(0, 2))
    expected = torch.zeros(5, 5)
    expected[0, 0] = 1  # the class token; the second one has no counterpart
    expected[2:, 1:3] = matrix
    assert torch.equal(found, expected)


@pytest.mark.parametrize("size", [(32, 32), (40, 24), (37, 50)])
def test_image_sizes_need_not_be_divisible_by_the_patch_size(size):
    """MMPretrain pads them; the convolutions of T2T-ViT and DHVT round down."""
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    for first in (dict(VIT, patch_size=16), exits()[0], dict(DHVT, patch_size=8)):
        net = DynamicViT([first, dict(VIT, patch_size=8)]).eval()
        assert [each.shape for each in net(images)] == [(2, 16)] * 2


@pytest.mark.parametrize(
    "first",
    [
        dict(type="smallvit.CifarResNet", depth=8),
        dict(type="smallvit.DWNet", arch="mini"),
        dict(type="mmpretrain.ResNet", depth=18),
    ],
    ids=lambda first: first["type"],
)
def test_the_first_exit_may_be_any_host(first, images):
    """Its features are reused, and its map is pooled for its classifier."""
    net = DynamicViT([first, dict(VIT, patch_size=8)], relation_reuse=False)
    channels = net.exits[0](images)[-1].shape[1]
    assert net.out_channels == [channels, 16]
    net.train()
    first, second = net(images)
    assert first.shape == (6, channels)
    second.square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.exits[0].parameters())
    copied = copy.deepcopy(net).eval()
    torch.testing.assert_close(copied(images)[1], net.eval()(images)[1])


def test_outputs_of_exits_are_checked_at_build(images):
    plain = dict(feature_reuse=False, relation_reuse=False)
    maps = dict(VIT, patch_size=8, out_type="featmap")
    net = DynamicViT([maps, DEIT], **plain).eval()
    expected = net.exits[0](images)[-1].mean((2, 3)), torch.stack(net.exits[1](images)[-1]).mean(0)
    for found, wanted in zip(net(images), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    with pytest.raises(ValueError, match=r"exits\[1\] \(VisionTransformer\): .* got \(1, .*"):
        DynamicViT([maps, dict(VIT, patch_size=8, out_type="raw")], **plain)
    with pytest.raises(ValueError, match=r"\[16, 16, 16\] channels, .* expects \[16, 16, 24\]"):
        classifier(head=dict(in_channels=[16, 16, 24]))


def test_budget_needs_a_calibration(images):
    net = classifier(inference=dict(mode="budgeted", max_gflops=1.0))
    with pytest.raises(ValueError, match=r"requires a calibrated checkpoint.*calibrate\.py"):
        net.predict(images)


@pytest.mark.parametrize("thresholds", [[90, 80], [0.9, -0.1], [1.5, 0.5]])
def test_thresholds_outside_the_confidences_are_refused(thresholds):
    with pytest.raises(ValueError, match=r"between 0 and 1 \(0\.9, not 90\)"):
        classifier(inference=dict(mode="budgeted", thresholds=thresholds))


def test_thresholds_at_the_ends_of_the_confidences_are_taken():
    net = classifier(inference=dict(mode="budgeted", thresholds=[0.0, float("inf")]))
    assert net.thresholds[:2] == [0.0, float("inf")]
