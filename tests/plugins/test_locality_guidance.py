"""Guided classifiers: additional losses, and unchanged students and checkpoints."""

import gc
import pickle
import shutil
from copy import deepcopy

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from mmpretrain.structures import DataSample

import fresh
from config_helpers import build, read_config
from smallvit.backbones import CifarResNet
from smallvit.errors import CheckpointError, FeatureStoreError
from smallvit.plugins.locality_guidance import Teacher
from smallvit.plugins.locality_guidance.classifier import attach_guidance
from smallvit.plugins.locality_guidance.fingerprint import file_sha256
from smallvit.plugins.locality_guidance.losses import feature_loss
from smallvit.plugins.locality_guidance.store import FeatureStore
from smallvit.plugins.locality_guidance.store_header import StoreHeader
from smallvit.plugins.locality_guidance.store_writer import FeatureStoreWriter
from smallvit.plugins.locality_guidance.windows import WHOLE, StoredSample
from smallvit.registry import MODELS

PLAIN = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
TEACHER = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.CifarResNet", depth=8),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=64),
)
PREPROCESSOR = dict(mean=[100.0, 110, 120], std=[50.0, 60, 70], num_classes=10)
STUDENTS = {
    "VisionTransformer": (
        dict(type="VisionTransformer", arch=PLAIN, img_size=32, patch_size=8),
        16,
    ),
    "SwinTransformer": (
        dict(
            type="SwinTransformer",
            arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
            img_size=64,
            window_size=2,
        ),
        64,
    ),
    "DWNet": (dict(type="smallvit.DWNet", arch="mini"), 256),
    "timm": (
        dict(type="smallvit.TimmBackbone", model_name="test_vit", img_size=32, patch_size=8),
        64,
    ),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(TEACHER)
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


def classifier(student="VisionTransformer", guidance=None, **kwargs):
    backbone, channels = STUDENTS[student]
    model = dict(
        type="ImageClassifier" if guidance is None else "smallvit.GuidedClassifier",
        backbone=deepcopy(backbone),
        neck=dict(type="GlobalAveragePooling") if student == "SwinTransformer" else None,
        head=dict(type="LinearClsHead", num_classes=10, in_channels=channels),
        **{"data_preprocessor": PREPROCESSOR, **kwargs},
    )
    if guidance is not None:
        model["guidance"] = guidance
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build(model)


def guided(checkpoint, teacher=None, student="VisionTransformer", **kwargs):
    options = {key: kwargs.pop(key) for key in ("data_preprocessor", "base") if key in kwargs}
    settings = dict(model=deepcopy(TEACHER), checkpoint=checkpoint) | (teacher or {})
    return classifier(student, guidance=dict(teacher=settings, **kwargs), **options)


def batch(size=(32, 32), count=4):
    torch.manual_seed(2)
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i % 10) for i in range(count)]
    return dict(inputs=list(images), data_samples=samples)


def losses_of(model, data):
    return model(**model.data_preprocessor(deepcopy(data), training=True), mode="loss")


@pytest.mark.parametrize("student", STUDENTS)
def test_guidance_reaches_every_student(student, checkpoint):
    model = guided(checkpoint, student=student).train()
    losses = losses_of(model, batch((64, 64) if student == "SwinTransformer" else (32, 32)))
    assert set(losses) == {"loss", "loss_guidance"}
    losses["loss_guidance"].backward()
    blocks = model.guidance.taps._blocks.values()
    for block in blocks:
        gradients = [p.grad for p in block.module.parameters() if p.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients)
    assert all(p.weight.grad.abs().sum() > 0 for p in model.guidance.projections)


def test_teacher_on_statistics_of_the_batch(checkpoint):
    """Normalization uses the statistics of the batch; the running statistics do not change."""
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + 1
    stored, own = (
        guided(checkpoint, teacher=dict(batch_statistics=on)).train().guidance.teacher
        for on in (False, True)
    )
    stored.load(), own.load()
    before = deepcopy(own.model.state_dict())
    maps = own.features(images)
    reference = deepcopy(stored.model).train()
    for found, expected in zip(maps, reference(images), strict=True):
        torch.testing.assert_close(found, expected)
    assert not torch.allclose(maps[0], stored.features(images)[0], atol=1e-3)
    after = own.model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if "running" in key)
    with pytest.raises(ValueError, match=r"batch_statistics=False"):
        guided(checkpoint, teacher=dict(batch_statistics=True), store="features")


def test_images_need_not_be_square(checkpoint):
    model = guided(checkpoint, student="DWNet").train()
    assert torch.isfinite(losses_of(model, batch((64, 96)))["loss_guidance"])


def test_loss_by_hand(checkpoint):
    model = guided(checkpoint, loss_weight=0.7).train()
    data = model.data_preprocessor(batch(), training=True)
    with model.guidance.taps:
        plain = model.head.loss(model.extract_feat(data["inputs"]), data["data_samples"])["loss"]
        own = model.guidance.taps.maps()
    reference = CifarResNet(8, out_indices=(0, 1, 2)).eval()
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    reference.load_state_dict({k[9:]: v for k, v in state.items() if k.startswith("backbone.")})
    expected = 0
    for project, mine, target in zip(
        model.guidance.projections, own, reference(data["inputs"]), strict=True
    ):
        mine = F.interpolate(project(mine), target.shape[2:], mode="bilinear")
        expected = expected + (mine - target).square().mean()
    losses = model.loss(data["inputs"], data["data_samples"])
    torch.testing.assert_close(losses["loss"], plain)
    torch.testing.assert_close(losses["loss_guidance"], 0.7 * expected)


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 9), st.integers(1, 9))
)
@settings(max_examples=25)
def test_maps_are_compared_at_the_larger_of_their_sizes(student, teacher):
    torch.manual_seed(0)
    mine, target = torch.randn(2, 3, *student), torch.randn(2, 3, *teacher)
    size = [max(pair) for pair in zip(student, teacher, strict=True)]
    mine.requires_grad_()
    resized = (F.interpolate(each, size, mode="bilinear") for each in (mine, target))
    wanted = F.mse_loss(*resized)
    found = feature_loss(mine, target)
    # The loss resizes by matrix products: equal up to rounding, in PyTorch's default tolerance.
    torch.testing.assert_close(found, wanted)
    gradients = (torch.autograd.grad(loss, mine)[0] for loss in (found, wanted))
    torch.testing.assert_close(*gradients)


def test_checkpoints_are_those_of_the_plain_classifier(checkpoint):
    model, plain = guided(checkpoint), classifier()
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert get_state_dict(model).keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    model.load_state_dict(plain.state_dict())
    load_state_dict(model, plain.state_dict(), strict=True)
    load_state_dict(plain, get_state_dict(model), strict=True)


def test_the_teacher_is_not_part_of_the_model(checkpoint):
    model = guided(checkpoint)
    model.init_weights()
    model.train()
    teacher = model.guidance.teacher.model
    own = {id(p) for p in teacher.parameters()}
    assert not own & {id(p) for p in model.parameters()}
    assert teacher not in set(model.modules())
    assert not any(m.training for m in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    before = deepcopy(teacher.state_dict())
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
    held = {id(p) for group in wrapper.optimizer.param_groups for p in group["params"]}
    assert not own & held
    assert {id(p) for p in model.guidance.projections.parameters()} <= held
    model.train_step(batch(), wrapper)
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_copy_has_the_same_teacher_and_taps_of_its_own(checkpoint):
    model = guided(checkpoint).train()
    copy = deepcopy(model)
    assert copy.guidance.teacher is model.guidance.teacher
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert losses_of(copy, batch())["loss_guidance"] != losses_of(model, batch())["loss_guidance"]


@pytest.mark.parametrize("augment", ["Mixup", "CutMix"])
def test_the_teacher_sees_the_mixed_image(augment, checkpoint, monkeypatch):
    mixing = dict(augments=[dict(type=augment, alpha=1.0)])
    model = guided(checkpoint, data_preprocessor=dict(PREPROCESSOR, batch_augments=mixing)).train()
    seen = []
    monkeypatch.setattr(
        model.guidance.teacher, "preprocess", lambda images, _: seen.append(images) or images
    )
    data = batch()
    losses_of(model, data)
    untouched = guided(checkpoint).data_preprocessor(data)["inputs"]
    assert seen[0].shape == untouched.shape
    assert not torch.equal(seen[0], untouched)


def test_soft_and_hard_logits_by_hand(checkpoint):
    plain = classifier().train()
    for kind in ("soft", "hard"):
        logit = dict(kind=kind, weight=0.3, temperature=2.0)
        model = guided(checkpoint, loss_weight=0, logit=logit).train()
        model.load_state_dict(plain.state_dict())
        data = model.data_preprocessor(batch(), training=True)
        losses = model.loss(data["inputs"], data["data_samples"])
        assert set(losses) == {"loss", "loss_logit_guidance"}
        student = model.head(model.extract_feat(data["inputs"]))
        teacher = model.guidance.teacher(data["inputs"])[1]
        if kind == "soft":
            p, q = (teacher / 2).softmax(1), (student / 2).softmax(1)
            expected = (p * (p / q).log()).sum() * 4 / p.numel()
        else:
            expected = -student.log_softmax(1)[range(4), teacher.argmax(1)].mean()
        torch.testing.assert_close(losses["loss_logit_guidance"], 0.3 * expected)
        whole = plain.loss(data["inputs"], data["data_samples"])["loss"]
        torch.testing.assert_close(losses["loss"], 0.7 * whole)


def test_both_guidance_losses_are_added(checkpoint):
    model = guided(checkpoint, logit=dict(weight=0.5)).train()
    assert set(losses_of(model, batch())) == {"loss", "loss_guidance", "loss_logit_guidance"}


def test_a_distillation_token_is_trained_on_the_teacher_s_logits(checkpoint):
    model = dict(
        type="smallvit.GuidedClassifier",
        backbone=dict(type="DistilledVisionTransformer", arch=PLAIN, img_size=32, patch_size=8),
        head=dict(type="smallvit.DistilledClsHead", num_classes=10, in_channels=16),
        guidance=dict(
            teacher=dict(model=deepcopy(TEACHER), checkpoint=checkpoint),
            logit=dict(module="head.layers.head_dist"),
        ),
    )
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(model).train()
    with torch.no_grad():  # MMPretrain's heads are initialized with zeros, which block the gradient
        for parameter in model.head.parameters():
            parameter.normal_(0, 0.1)
    images = torch.randn(2, 3, 32, 32)
    losses = model.loss(images, [DataSample().set_gt_label(i) for i in range(2)])
    losses["loss_logit_guidance"].backward(retain_graph=True)
    assert model.head.layers.head_dist.weight.grad.abs().sum() > 0
    assert model.head.layers.head.weight.grad is None
    losses["loss"].backward()
    assert model.head.layers.head.weight.grad.abs().sum() > 0
    training = model(images)
    assert not torch.equal(training, model.eval()(images))


def test_the_teacher_uses_its_own_normalization(checkpoint):
    own = dict(mean=[10.0, 20, 30], std=[5.0, 6, 7], to_rgb=True)
    teacher = Teacher(deepcopy(TEACHER), checkpoint, preprocessor=own)
    student = classifier().data_preprocessor
    raw = torch.rand(2, 3, 32, 32) * 255
    seen = teacher.preprocess((raw - student.mean) / student.std, student)
    mean, std = (torch.tensor(own[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(seen, (raw.flip(1) - mean) / std, rtol=1e-4, atol=1e-4)
    assert Teacher(deepcopy(TEACHER), size=16).preprocess(raw).shape == (2, 3, 16, 16)


def test_teacher_from_a_config_file_brings_its_normalization():
    teacher = Teacher("smallvit::locality_guidance/resnet-56_cifar100.py")
    cfg = read_config("locality_guidance/resnet-56_cifar100.py")
    assert teacher.preprocessor["mean"] == cfg.data_preprocessor.mean
    assert teacher.shapes == ((16, 32, 32), (32, 16, 16), (64, 8, 8))


def test_teacher_of_timm(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "timm.pth")
    teacher = Teacher("timm:test_resnet", str(tmp_path / "timm.pth"), size=64, stages=(1, 2, 3))
    images = torch.randn(1, 3, 64, 64)
    wanted = network.forward_intermediates(images, indices=[1, 2, 3], intermediates_only=True)
    for found, expected in zip(teacher.features(images), wanted, strict=True):
        torch.testing.assert_close(found, expected)


def test_missing_weights_are_named(checkpoint, tmp_path):
    model = guided(str(tmp_path / "absent.pth"))
    with pytest.raises(CheckpointError, match=r"absent\.pth.*Train the teacher"):
        model.init_weights()
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)  # not needed for testing
    with pytest.raises(CheckpointError, match="has no weights"):
        guided(None).init_weights()


def test_weights_of_another_network_are_refused(checkpoint, tmp_path):
    other = deepcopy(TEACHER)
    other["head"]["num_classes"] = 12
    Teacher(other, checkpoint).load()  # the head is not used
    teacher = Teacher(other, checkpoint, with_logits=True)
    with pytest.raises(
        CheckpointError, match=r"head\.fc\.weight of shape \(12, 64\), got \(10, 64\)"
    ):
        teacher.load()
    other["backbone"]["depth"] = 14
    with pytest.raises(CheckpointError, match=r"missing stages\.0\.1"):
        Teacher(other, checkpoint).load()


def test_code_in_a_teachers_checkpoint_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    torch.save({"state_dict": {}, "x": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(CheckpointError):
        Teacher(deepcopy(TEACHER), str(tmp_path / "harm.pth")).load()
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(transform="lineal"), "linear, attention, similarity.*lineal"),
        (dict(logit=dict(kind="warm")), "soft, hard.*warm"),
        (dict(logit=dict(module="tail")), "tail"),
        (dict(student_indices=[0, 1]), "one per stage of the teacher"),
        (dict(student_indices=[0, 1, 7]), "got 7"),
        (dict(student_indices=1), r"student_indices to be .* such as \(1,\), got 1"),
        (dict(store="x", logit={}), "contains no logits"),
    ],
)
def test_options_that_do_not_fit(options, message, checkpoint):
    with pytest.raises(ValueError, match=message):
        guided(checkpoint, **options)


def test_antialias_can_be_enabled(checkpoint):
    with pytest.raises(ValueError, match="antialias to be True or False, got 'yes'"):
        guided(checkpoint, teacher=dict(antialias="yes"))


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (2, r"stages to be a sequence such as \(2,\), got 2"),
        ((), r"stages=\(\) selects no features"),
    ],
)
def test_invalid_stages_are_rejected(stages, message, checkpoint):
    with pytest.raises(ValueError, match=message):
        guided(checkpoint, teacher=dict(stages=stages))


def test_logits_need_a_teacher_of_the_same_classes(checkpoint, tmp_path):
    other = deepcopy(TEACHER)
    other["head"]["num_classes"] = 12
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        torch.save(MODELS.build(other).state_dict(), tmp_path / "other.pth")
    model = guided(str(tmp_path / "other.pth"), teacher=dict(model=other), logit={})
    with pytest.raises(ValueError, match=r"got 12 of the teacher .* and 10 of the student"):
        model.init_weights()
    with pytest.raises(ValueError, match="requires a classifier as teacher"):
        guided(checkpoint, teacher=dict(model=TEACHER["backbone"]), logit={})


@pytest.fixture(scope="module")
def store(checkpoint, tmp_path_factory):
    """Features of two samples, with the shapes of the teacher."""
    teacher = Teacher(deepcopy(TEACHER), checkpoint)
    header = StoreHeader(
        {"length": 2}, {**teacher.describe(), "sha256": file_sha256(checkpoint)}, teacher.shapes
    )
    path = tmp_path_factory.mktemp("store") / "features"
    writer = FeatureStoreWriter(path, header, np.array([10, 11], dtype=np.uint64))
    draw = np.random.RandomState(0)
    writer.append([draw.rand(3, *shape).astype(np.float32) for shape in header.shapes])
    writer.close()
    return str(path)


def stored_sample(flip=False, window=WHOLE, index=0):
    sample = DataSample(metainfo=dict(flip=flip)).set_gt_label(0)
    sample.set_field(StoredSample(index, 10 + index, window), "teacher_features")
    return sample


def test_mismatched_stored_features_are_rejected(checkpoint, store):
    mixing = dict(augments=[dict(type="Mixup", alpha=1.0)])
    model = guided(
        checkpoint, data_preprocessor=dict(PREPROCESSOR, batch_augments=mixing), store=store
    )
    model.train()

    def losses(*samples):
        images = [torch.zeros(3, 32, 32, dtype=torch.uint8)] * len(samples)
        return losses_of(model, dict(inputs=images, data_samples=list(samples)))

    assert "loss_guidance" in losses(stored_sample(), stored_sample(True, WHOLE.flip("horizontal")))
    with pytest.raises(FeatureStoreError, match="GuidedRandomFlip"):
        losses(stored_sample(), stored_sample(flip=True))
    with pytest.raises(FeatureStoreError, match="LoadTeacherFeatures"):
        losses(DataSample().set_gt_label(0), DataSample().set_gt_label(1))
    other = stored_sample()
    other.set_field(StoredSample(1, 10), "teacher_features")
    with pytest.raises(FeatureStoreError, match="sample 1 of the dataset differs"):
        losses(other)
    model.data_preprocessor.batch_augments = lambda images, scores: (images, scores.float())
    with pytest.raises(FeatureStoreError, match="changed during training"):
        losses(stored_sample())


def test_features_may_come_with_the_samples(checkpoint, store):
    """They are loaded along with the images by a transform that is given the store."""
    model = guided(checkpoint, store=store).train()
    noted, read = stored_sample(), stored_sample()
    read.set_field(FeatureStore(store).maps(noted.teacher_features), "teacher_features")
    images = [torch.zeros(3, 32, 32, dtype=torch.uint8)]
    losses = [losses_of(model, dict(inputs=images, data_samples=[each])) for each in (noted, read)]
    assert torch.equal(losses[0]["loss_guidance"], losses[1]["loss_guidance"])


def test_with_a_store_no_teacher_is_built(checkpoint, store, monkeypatch):
    online = guided(checkpoint)

    def built(*args, **kwargs):
        raise AssertionError("a teacher was built")

    monkeypatch.setattr(CifarResNet, "__init__", built)
    model = guided(checkpoint, store=store)
    model.init_weights()
    model.train()
    images = [torch.zeros(3, 32, 32, dtype=torch.uint8)]
    assert "loss_guidance" in losses_of(model, dict(inputs=images, data_samples=[stored_sample()]))
    assert "reader" not in vars(model.guidance.teacher)
    # The same parameters are trained as with an online teacher.
    shapes = [{n: p.shape for n, p in each.named_parameters()} for each in (online, model)]
    assert shapes[0] == shapes[1]
    with DefaultScope.overwrite_default_scope("mmpretrain"):  # not needed either
        alone = attach_guidance(classifier(), dict(store=store))
    alone.init_weights()
    assert len(alone.guidance.projections) == 3


@pytest.mark.parametrize(
    "name", ["deit-ti_guided-offline_cifar100", "vit-mini_guided-offline_digits"]
)
def test_the_store_is_given_once_in_a_config(name):
    cfg = read_config(f"locality_guidance/{name}.py")
    assert cfg.pretty_text.count("data/teacher_features") == 1
    cfg.merge_from_dict({"model.guidance.store": "elsewhere"})
    assert build(cfg).guidance.stored.path == "elsewhere"


def test_a_missing_store_only_affects_training(checkpoint, store, tmp_path):
    path = tmp_path / "features"
    model = guided(checkpoint, store=str(path))
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    with pytest.raises(FeatureStoreError, match="no such store"):
        model.init_weights()
    shutil.copytree(store, path)
    with pytest.raises(FeatureStoreError, match="Build the model again"):
        losses_of(model.train(), batch())


def test_a_store_of_another_teacher_is_refused(checkpoint, store, tmp_path):
    guided(checkpoint, store=store).init_weights()
    guided(str(tmp_path / "gone.pth"), store=store).init_weights()
    with pytest.raises(
        FeatureStoreError,
        match=r"another teacher.*\n  input_size: expected \[64, 64\], got \[32, 32\]",
    ):
        guided(checkpoint, dict(size=64), store=store).init_weights()
    with pytest.raises(FeatureStoreError, match=r"stages: expected \[0, 2, 1\], got \[0, 1, 2\]"):
        guided(checkpoint, dict(stages=(0, 2, 1)), store=store).init_weights()
    deeper = deepcopy(TEACHER)
    deeper["backbone"]["depth"] = 14
    with pytest.raises(
        FeatureStoreError, match=r"expected .*'depth': 14.*, got .*'depth': 8.* in the store"
    ):
        guided(None, dict(model=deeper), store=store).init_weights()
    with pytest.raises(ValueError, match="expected 3 student_indices"):
        guided(checkpoint, store=store, student_indices=[0, 1])
    with pytest.raises(TypeError, match="stagse"):
        guided(checkpoint, dict(stagse=(0, 1)), store=store)


@pytest.mark.parametrize("form", ["online", "logits", "store", "cascade"])
def test_a_guided_classifier_keeps_its_class_and_can_be_saved(form, checkpoint, store):
    options = dict(logits=dict(logit={}), store=dict(store=store)).get(form, {})
    model = cascade(checkpoint) if form == "cascade" else guided(checkpoint, **options)
    kind = "MultiExitClassifier" if form == "cascade" else "ImageClassifier"
    assert type(model).__name__ == kind
    data = dict(batch(), data_samples=[stored_sample(index=i % 2) for i in range(4)])

    def losses(model):
        torch.manual_seed(0)  # because of stochastic depth
        return losses_of(model.train(), data)

    expected = losses(model)
    average = ExponentialMovingAverage(model).module
    for other in (pickle.loads(pickle.dumps(model)), deepcopy(model), average):
        assert type(other) is type(model)
        assert other.loss.classifier is other
        found = losses(other)
        assert found.keys() == expected.keys()
        # Inference without gradients uses different kernels, and an average has no gradients.
        exact = {} if other is average else dict(rtol=0, atol=0)
        torch.testing.assert_close(found, expected, **exact)
        if other is not average:
            sum(value for key, value in found.items() if "loss" in key).backward()
            assert any(p.grad is not None for p in other.parameters())
        assert all(p.grad is None for p in model.parameters())


def test_unknown_base_is_named(checkpoint):
    with pytest.raises(KeyError, match="Nothing"):
        guided(checkpoint, base="smallvit.Nothing")


def test_the_graph_dies_with_the_step(checkpoint):
    model = guided(checkpoint, logit={}).train()

    def live():
        gc.collect()
        return sum(isinstance(each, torch.Tensor) for each in gc.get_objects())

    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=1e-3)))
    data = batch()
    model.train_step(data, wrapper)
    wrapper.zero_grad()
    before = live()
    for _ in range(20):
        model.train_step(data, wrapper)
    wrapper.zero_grad()
    assert live() <= before
    assert model.guidance.logit.found is None


def test_unsupported_students_are_named(checkpoint):
    guidance = dict(teacher=dict(model=deepcopy(TEACHER), checkpoint=checkpoint))
    with pytest.raises(TypeError, match=r"a model of MMPretrain, mmdet or mmseg .*got Linear"):
        attach_guidance(torch.nn.Linear(1, 1), guidance)
    with pytest.raises(ValueError, match="already has guidance"):
        attach_guidance(guided(checkpoint), guidance)


def test_guided_detectors_do_not_import_mmpretrain():
    code = "import smallvit.plugins.locality_guidance, sys; assert 'mmpretrain' not in sys.modules"
    fresh.run(code).check_returncode()


def test_autocast(checkpoint):
    model = guided(checkpoint).train()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses_of(model, batch())["loss_guidance"]
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, losses_of(model, batch())["loss_guidance"], rtol=0.05, atol=0)


def test_a_student_cast_as_a_whole_keeps_a_float32_teacher(checkpoint):
    model = guided(checkpoint, logit=dict(kind="soft")).train()
    data = model.data_preprocessor(deepcopy(batch()), training=True)
    expected = model(**data, mode="loss")
    model.to(torch.bfloat16)
    losses = model(data["inputs"].bfloat16(), data["data_samples"], mode="loss")
    for name in ("loss_guidance", "loss_logit_guidance"):
        torch.testing.assert_close(losses[name].float(), expected[name], rtol=0.1, atol=1e-3)
    sum(losses.values()).backward()
    assert {p.dtype for p in model.guidance.teacher.model.parameters()} == {torch.float32}


def test_a_photograph_is_shrunk_as_pillow_does_if_asked():
    rows = torch.linspace(0, 60, 224).sin()
    images = (rows[:, None] * rows).expand(1, 3, -1, -1)
    expected = F.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    smooth = Teacher(deepcopy(TEACHER), antialias=True)
    plain = Teacher(deepcopy(TEACHER))
    torch.testing.assert_close(smooth.preprocess(images), expected)
    assert (plain.preprocess(images) - expected).abs().max() > 0.1
    assert smooth.describe() == {**plain.describe(), "antialias": True}


def cascade(checkpoint, **guidance):
    cfg = read_config("dvt/dvt-mini_digits.py")
    cfg.model.update(
        type="smallvit.GuidedClassifier",
        base="smallvit.MultiExitClassifier",
        guidance=dict(teacher=dict(model=deepcopy(TEACHER), checkpoint=checkpoint), **guidance),
    )
    return build(cfg)


def test_a_cascade_is_guided_by_config_alone(checkpoint):
    model = cascade(checkpoint).train()
    assert (
        model.state_dict().keys()
        == build(read_config("dvt/dvt-mini_digits.py")).state_dict().keys()
    )
    losses = losses_of(model, batch())
    assert {"loss_guidance"} < set(losses)
    assert model.eval().predict(torch.zeros(2, 3, 32, 32))[0].exit_index == 2


def test_logits_guide_the_last_exit_of_a_cascade(checkpoint):
    losses = []
    for module in ("head", "head.fcs.2", "head.fcs.0"):
        torch.manual_seed(0)
        model = cascade(checkpoint, logit=dict(kind="soft", module=module), loss_weight=0.0)
        model.train(False)
        model.head.train()  # only its training mode is read, and nothing is random
        losses.append(losses_of(model, batch())["loss_logit_guidance"])
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


class TestBalancedWeight:
    def gradients(self, model, data):
        """Gradient norms in the backbone: of the weighted guidance and of the classification."""
        losses = losses_of(model, data)
        parameters = [each for each in model.backbone.parameters() if each.requires_grad]
        norms = {}
        for key in ("loss", "loss_guidance"):
            found = torch.autograd.grad(
                losses[key], parameters, retain_graph=True, allow_unused=True
            )
            norms[key] = torch.stack([each.norm() for each in found if each is not None]).norm()
        return losses, norms

    def test_adaptive_weights_balance_the_gradient_norms(self, checkpoint):
        model = guided(checkpoint, loss_weight="balanced").train()
        losses, norms = self.gradients(model, batch())
        torch.testing.assert_close(norms["loss_guidance"], norms["loss"], rtol=1e-3, atol=0)
        _, plain = self.gradients(guided(checkpoint, loss_weight=1.0).train(), batch())
        expected = plain["loss"] / plain["loss_guidance"]
        torch.testing.assert_close(losses["guidance_weight"], expected, rtol=1e-3, atol=0)

    def test_the_weight_is_constant_between_measurements(self, checkpoint):
        model = guided(checkpoint, loss_weight="balanced").train()
        first = losses_of(model, batch())["guidance_weight"]
        with torch.no_grad():
            model.head.fc.weight.mul_(100.0)
        assert losses_of(model, batch())["guidance_weight"] == first
        for _ in range(18):
            losses_of(model, batch())
        assert losses_of(model, batch())["guidance_weight"] > first

    def test_unknown_weight_modes_are_rejected(self, checkpoint):
        with pytest.raises(
            ValueError, match=r"expected a loss_weight of balanced, .*got 'balance'"
        ):
            guided(checkpoint, loss_weight="balance")
