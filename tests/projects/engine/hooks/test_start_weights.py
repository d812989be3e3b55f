"""Initial weights: full, partial and mismatched checkpoints."""

import pytest
import torch

from smallvit.engine import pretrained
from smallvit.engine.checkpoint.fit import measure_fit, require_fit, weights_of
from smallvit.errors import CheckpointError
from tiny_runs import TinyModel, cosine, tiny_runner


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(5)
    return TinyModel().state_dict()


def save(path, state):
    torch.save({"state_dict": state}, path)
    return str(path)


def load(tmp_path, path, **kwargs):
    settings = dict(epochs=1, lr=0.0, schedule=cosine(1))
    runner = tiny_runner(tmp_path / "run", load_from=path, **settings, **kwargs)
    runner.train()
    return runner


@pytest.fixture
def said(monkeypatch):
    from mmengine.logging import MMLogger

    lines = []
    monkeypatch.setattr(MMLogger, "warning", lambda self, text, *_: lines.append(str(text)))
    return lines


def test_matching_weights_are_loaded_silently(tmp_path, weights, said):
    runner = load(tmp_path, save(tmp_path / "a.pth", weights))
    assert torch.equal(runner.model.backbone.weight, weights["backbone.weight"])
    assert said == []


@pytest.mark.parametrize("prefix", ["encoder.", "model.", "student.module."])
def test_weights_under_another_prefix_are_refused_with_the_prefix(tmp_path, weights, prefix):
    path = save(tmp_path / "a.pth", {f"{prefix}{name}": value for name, value in weights.items()})
    with pytest.raises(CheckpointError, match=f"names start with '{prefix}'"):
        load(tmp_path, path)


def test_weights_of_a_part_are_refused_with_the_missing_prefix(tmp_path, weights):
    part = {"weight": weights["backbone.weight"], "bias": weights["backbone.bias"]}
    with pytest.raises(CheckpointError, match=r"names lack 'backbone\.'"):
        load(tmp_path, save(tmp_path / "a.pth", part))


def test_matching_only_the_head_is_an_error(tmp_path, weights):
    head = {name: value for name, value in weights.items() if name.startswith("head")}
    with pytest.raises(CheckpointError, match="contains no weight of"):
        load(tmp_path, save(tmp_path / "a.pth", head))


def test_a_head_for_other_classes_is_reinitialized_with_a_message(tmp_path, said):
    torch.manual_seed(6)
    other = TinyModel(classes=7).state_dict()
    runner = load(tmp_path, save(tmp_path / "a.pth", other))
    assert torch.equal(runner.model.backbone.weight, other["backbone.weight"])
    assert len(said) == 1
    assert "different number of classes, initialized: head.weight, head.bias" in said[0]


def test_partial_matches_are_reported(tmp_path, weights, said):
    del weights["backbone.bias"]
    weights["extra.weight"] = torch.ones(2)
    load(tmp_path, save(tmp_path / "a.pth", weights))
    assert "80.0% of the parameters without the heads" in said[0]
    assert "not in the file, initialized: backbone.bias" in said[0]
    assert "only in the file, ignored: extra.weight" in said[0]


def test_resuming_another_model_is_refused(tmp_path):
    tiny_runner(tmp_path, epochs=1).train()
    with pytest.raises(CheckpointError, match=r"(?s)cannot resume .*of another model.*--resume"):
        tiny_runner(tmp_path, epochs=2, resume=True, model=dict(classes=5)).train()


class TestInitCfg:
    @pytest.fixture(autouse=True)
    def installed(self):
        from mmengine.model.weight_init import PretrainedInit
        from mmengine.registry import WEIGHT_INITIALIZERS

        pretrained.install()
        yield
        WEIGHT_INITIALIZERS.register_module(name="Pretrained", module=PretrainedInit, force=True)

    def init(self, path, **kwargs):
        model = TinyModel(init_cfg=dict(type="Pretrained", checkpoint=path, **kwargs))
        model.init_weights()
        return model

    def test_loads_with_and_without_prefix(self, tmp_path, weights):
        plain = self.init(save(tmp_path / "a.pth", weights))
        assert torch.equal(plain.backbone.weight, weights["backbone.weight"])
        state = {f"net.{name}": value for name, value in weights.items()}
        for prefix in ("net", "net."):
            model = self.init(save(tmp_path / "b.pth", state), prefix=prefix)
            assert torch.equal(model.backbone.weight, weights["backbone.weight"])

    def test_rejects_mismatched_weights(self, tmp_path, weights):
        state = {f"net.{name}": value for name, value in weights.items()}
        path = save(tmp_path / "b.pth", state)
        with pytest.raises(CheckpointError, match=r"names start with 'net\.'"):
            self.init(path)
        with pytest.raises(CheckpointError, match="no weight starts with prefix='nett'"):
            self.init(path, prefix="nett")


def test_weights_under_another_key_are_found(tmp_path):
    model = torch.nn.Linear(2, 2)
    fit = measure_fit(model, weights_of({"model": model.state_dict(), "epoch": 3}))
    with pytest.raises(CheckpointError, match=r"weights under 'model': .*\['model'\], NEW"):
        require_fit(fit, "a.pth", "Linear")


def test_position_embeddings_that_are_dropped_are_refused(tmp_path):
    class Positions(TinyModel):
        def __init__(self, length):
            super().__init__()
            self.pos_embed = torch.nn.Parameter(torch.zeros(1, length, 4))

    from smallvit.engine.checkpoint.fit import require_resized, snapshot_resizable

    model, state = Positions(4), Positions(9).state_dict()
    before = snapshot_resizable(model, state)
    assert list(before) == ["pos_embed"]
    with pytest.raises(CheckpointError, match="pos_embed belongs to another image size"):
        require_resized(model, before, "a.pth")
    model.pos_embed.data.fill_(1.0)
    require_resized(model, before, "a.pth")


@pytest.mark.parametrize(
    ("shape", "found", "fits"),
    [
        ((1, 9, 4), (1, 4, 4), True),
        ((1, 9, 4), (1, 9, 8), False),
        ((1, 4, 3, 3), (1, 4, 2, 2), True),
        ((1, 3, 3, 4), (1, 2, 2, 4), True),
        ((1, 4, 3, 3), (1, 8, 2, 2), False),
        ((1, 9, 4), (1, 4, 3, 3), False),
    ],
)
def test_position_embeddings_of_another_width_are_of_another_architecture(shape, found, fits):
    from smallvit.engine.checkpoint.fit import measure_fit, require_fit

    model = TinyModel()
    model.pos_embed = torch.nn.Parameter(torch.zeros(shape))
    fit = measure_fit(model, {**model.state_dict(), "pos_embed": torch.zeros(found)})
    assert ("pos_embed" in fit.loaded) == fits
    if fits:
        require_fit(fit, "a.pth", "TinyModel")
        return
    with pytest.raises(CheckpointError, match=r"another architecture than TinyModel: pos_embed"):
        require_fit(fit, "a.pth", "TinyModel")
