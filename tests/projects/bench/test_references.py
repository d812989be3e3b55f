"""Pretrained timm networks in the bench: initial weights and training."""

import pytest
import timm
import torch
from mmengine.registry import MODELS, init_default_scope

from smallvit.bench.methods import is_pretrained, list_methods, parse_method
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.recipe import run_config
from smallvit.bench.references import check_timm, obtain, without_weights
from smallvit.bench.table import make_table
from smallvit.engine.install import install
from smallvit.errors import UserError

SETTINGS = BenchSettings("digits", 32, 16, False, "iters", 40)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Random weights under timm's names, as in timm's files, including the classifier."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "test_vit.pth"
    torch.save(timm.create_model("test_vit").state_dict(), path)
    return str(path)


def config(name):
    return run_config(SETTINGS, Run(name, None, 0, 1, 1), 10)


def built(name):
    cfg = config(name)
    init_default_scope(cfg.default_scope)
    install(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def test_names():
    tuned = parse_method("timm:resnet18:pretrained")
    assert (tuned.weights, tuned.pretrained, tuned.probe) == ("timm", True, False)
    probe = parse_method("timm:vit.in1k:pretrained=a/b.safetensors+probe")
    assert (probe.weights, probe.pretrained, probe.probe) == ("a/b.safetensors", True, True)
    assert probe.network == probe.name
    assert parse_method("timm:resnet18:pretrained+guidance").network == tuned.name
    assert not parse_method("timm:resnet18").pretrained
    assert is_pretrained(probe.name)
    assert not is_pretrained("vit")
    for part in (":pretrained", "+probe"):
        assert part in list_methods()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "vit+probe",
            "probe cannot be added to vit: a probe requires pretrained weights, timm:NAME",
        ),
        ("timm:resnet18+probe", "a probe requires pretrained weights"),
        ("timm:resnet18:pretrained+shortcut", "shortcut cannot be added to"),
        ("timm:resnet18:pretrained+probe+guidance", "trains only the classifier"),
    ],
)
def test_incompatible_options_are_rejected(name, said):
    with pytest.raises(UserError, match=said):
        parse_method(name)


def test_images_are_normalized_as_the_weights_require():
    cfg, plain = config("timm:test_vit:pretrained"), config("timm:test_vit")
    assert cfg.model.backbone.img_size == 160
    assert cfg.train_dataloader.dataset.pipeline[0].scale == 160
    assert cfg.data_preprocessor.mean == cfg.data_preprocessor.std == [127.5] * 3
    assert plain.model.backbone.img_size == 32
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(plain.optim_wrapper.optimizer.lr / 10)
    large = config("timm:vit_small_patch14_dinov2.lvd142m:pretrained+probe")
    assert large.model.backbone.img_size == 224
    assert large.optim_wrapper.optimizer.lr == plain.optim_wrapper.optimizer.lr
    assert "pretrained" not in without_weights(large).model.backbone


@pytest.mark.parametrize("addition", ["", "+probe"])
def test_a_network_begins_with_the_weights_of_a_file(file, addition):
    model = built(f"timm:test_vit:pretrained={file}{addition}").train()
    state = torch.load(file)
    found = model.backbone.timm_model.state_dict()
    assert len(found) == len(state) - 2  # without the classifier of timm
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    trained = {key for key, each in model.named_parameters() if each.requires_grad}
    if addition:
        assert trained == {"head.fc.weight", "head.fc.bias"}
        assert not model.backbone.timm_model.training
    else:
        assert model.backbone.timm_model.training
        assert len(trained) == len(list(model.parameters()))


def test_missing_weights_are_named(file, tmp_path, monkeypatch):
    def fail(*args, pretrained=False, **kwargs):
        if pretrained:
            raise ConnectionError("no network\nat all")
        return create(*args, pretrained=pretrained, **kwargs)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", fail)
    torch.save(create("test_resnet").state_dict(), tmp_path / "other.pth")
    whole = f"timm:test_vit:pretrained={file}"
    other = f"timm:test_vit:pretrained={tmp_path / 'other.pth'}+probe"
    gone = f"timm:test_vit:pretrained={tmp_path / 'gone.pth'}"
    names = [whole, "timm:test_vit:pretrained", other, gone]
    missing = obtain(SETTINGS, names, 10, None)
    assert list(missing) == names[1:]
    assert "(ConnectionError: no network)" in missing[names[1]]
    assert "other.pth" in missing[other]
    assert "gone.pth" in missing[gone]
    rows = make_table({}, [None], {}, missing).rows
    assert [row[0].text for row in rows] == names[1:]
    assert {row[1].text for row in rows} == {"not measured"}


def test_models_that_timm_does_not_have():
    for name in ("vit", "timm:resnet18", "timm:vit_tiny_patch16_224.augreg_in21k:pretrained"):
        check_timm(parse_method(name))
    for name in ("timm:resnet81", "timm:resnet81:pretrained+probe"):
        with pytest.raises(UserError, match=r"has no model 'resnet81'; did you mean .*resnet18"):
            check_timm(parse_method(name))
