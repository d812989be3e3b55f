"""Configs stored in checkpoints: what is saved, and which values are never built."""

import json
import sys

import pytest
import torch
from mmengine.config import Config, ConfigDict

from config_helpers import CONFIGS, LEAVES, read_config
from smallvit.apis import load_model, load_trained
from smallvit.engine import known_types
from smallvit.engine.checkpoint.reading import trust_checkpoints
from smallvit.engine.stored_config import KEY, UnsuitedError, check, describe, read_stored
from smallvit.errors import CheckpointError
from tiny_runs import tiny_runner

CLASSES = {"classes": ["zero", "one"], "palette": [(0, 0, 0), (255, 0, 0)], "other": object()}
SMALL = dict(embed_dims=8, depths=[1, 1, 1, 1], group_channels=[1, 2, 4, 8])


@pytest.fixture(scope="module")
def digits():
    cfg = Config.fromfile(CONFIGS / "dwnet/dwnet-mini_digits.py")
    cfg.model.backbone.arch = ConfigDict(SMALL)
    cfg.model.head.update(in_channels=64, num_classes=2)
    return cfg


@pytest.fixture(scope="module")
def trained(digits):
    """Train a model of the config and return its checkpoint."""
    state = load_model(digits).state_dict()
    return {"state_dict": state, KEY: describe(digits, CLASSES), "meta": {}}


def save(path, trained, **changes):
    """Write the checkpoint with changed config values, given by their dotted keys."""
    stored = json.loads(trained[KEY])
    for place, value in changes.items():
        *way, last = place.split("__")
        node = stored
        for key in way:
            node = node[int(key) if isinstance(node, list) else key]
        node[last] = value
    torch.save({**trained, KEY: json.dumps(stored)}, path)
    return path


def test_a_checkpoint_is_enough(tmp_path, digits, trained):
    model = load_trained(save(tmp_path / "x.pth", trained))
    assert not model.training
    assert model.dataset_meta["classes"] == ["zero", "one"]
    reference = load_model(digits, tmp_path / "x.pth")
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(model(image), reference(image))
    steps = [step["type"] for step in model.cfg.test_pipeline]
    assert steps == ["Resize", "PackInputs"]


@pytest.mark.parametrize("path", ["dwnet-mini_digits-det.py", "dwnet-mini_digits-seg.py"])
def test_the_other_tasks(tmp_path, path):
    cfg = Config.fromfile(CONFIGS / "dwnet" / path)
    state = load_model(cfg).state_dict()
    text = describe(cfg, CLASSES)
    torch.save({"state_dict": state, KEY: text}, tmp_path / "x.pth")
    assert "LoadAnnotations" not in text
    model = load_trained(tmp_path / "x.pth")
    assert model.dataset_meta["palette"] == [[0, 0, 0], [255, 0, 0]]
    # MMDetection requires tuples and expects its own meta keys.
    assert isinstance(model.cfg.test_pipeline[-1].get("meta_keys", ()), tuple)


def test_a_teacher_is_left_out():
    cfg = Config.fromfile(CONFIGS / "locality_guidance/vit-mini_shortcut-guided_digits.py")
    stored = json.loads(describe(cfg, None))
    assert stored["model"]["type"] == "mmpretrain.ImageClassifier"
    assert "guidance" not in stored["model"]
    check(stored)


def test_training_stores_it(tmp_path):
    cfg = dict(model=dict(type="TestTinyModel"), default_scope="mmpretrain")
    tiny_runner(tmp_path, epochs=1, cfg=cfg).train()
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert json.loads(checkpoint[KEY])["model"]["type"] == "TestTinyModel"
    # User-defined models are not in the table.
    with pytest.raises(CheckpointError, match="with --config FILE"):
        load_trained(tmp_path / "epoch_1.pth")


def test_checkpoints_without_a_config(tmp_path, digits, trained):
    rest = {key: value for key, value in trained.items() if key != KEY}
    torch.save(rest, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"contains no config as data.*--config FILE$"):
        load_trained(tmp_path / "x.pth")
    assert load_trained(tmp_path / "x.pth", digits)
    marker = tmp_path / "ran"
    program = f"open({str(marker)!r}, 'w')\n{digits.pretty_text}"
    torch.save({**rest, "meta": {"cfg": program}}, tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="as code; --trust-checkpoint"):
        load_trained(tmp_path / "y.pth")
    assert not marker.exists()
    try:
        trust_checkpoints()
        load_trained(tmp_path / "y.pth")
    finally:
        trust_checkpoints(False)
    assert marker.exists()


HOSTILE = {
    "a function": {"model__type": "os.system", "model__command": "touch ran"},
    "a module that an import runs": {"model__type": "hostile_module"},
    "a module by its scope": {"model__type": "hostile_module.Model"},
    "a scope": {"default_scope": "hostile_module"},
    "a scope inside": {"model__head___scope_": "hostile_module"},
    "a type inside": {"model__backbone__norm_cfg": {"type": "hostile_module.Norm"}},
    "a word that MMCV evaluates": {"model__head__nms": {"type": "__import__('hostile_module')"}},
    "a host": {
        "model__backbone": {"type": "smallvit.DWConvShortcut", "host": "hostile_module"},
    },
    "a type where no key says so": {"model__backbone__conv": "hostile_module.f"},
    "a base of configs": {"model___base_": "hostile_module.py"},
    "imports": {"model__custom_imports": {"imports": ["hostile_module"]}},
    "another key": {"custom_imports": {"imports": ["hostile_module"]}},
    "weights from elsewhere": {
        "model__backbone__init_cfg": {"type": "Pretrained", "checkpoint": "x.pth"},
    },
    "a teacher": {
        "model": {"type": "mmdet.KnowledgeDistillationSingleStageDetector", "teacher_config": "x"},
    },
    "a guided model": {
        "model": {"type": "smallvit.GuidedClassifier", "guidance": {"teacher": {"model": "x"}}},
    },
    "a text model that is fetched": {"model__head": {"type": "mmdet.BertModel", "name": "x"}},
    "weights of classes in a pickle": {
        "model__head__loss": {"type": "mmseg.CrossEntropyLoss", "class_weight": "x.pkl"},
    },
    "weights of timm": {
        "model__backbone": {
            "type": "smallvit.TimmBackbone",
            "model_name": "resnet18",
            "checkpoint_path": "x.pth",
        },
    },
    "a folder for timm": {
        "model__backbone": {"type": "smallvit.TimmBackbone", "model_name": "local-dir:/tmp/x"},
    },
    "pretrained": {"model__backbone__pretrained": "https://example.org/x.pth"},
    "a step of one's own": {"pipeline__0__type": "mmdet.LoadProposals"},
    "a step with a module": {"pipeline__0__type": "torchvision.transforms.Lambda"},
    "a step's back end": {"pipeline__0__backend_args": {"backend": "petrel"}},
    "a huge image": {"pipeline__0__scale": 10**9},
    "a huge model": {"model__backbone__arch__embed_dims": 1 << 20},
    "a deep model": {"model__backbone__arch__depths": [1 << 20, 1, 1, 1]},
    "an infinite number": {"model__backbone__drop_path_rate": 1e999},
    "a made up tag": {"model__backbone__out_indices": {"__tuple__": 3}},
    "a list as its model": {"model": []},
    "no type": {"model": {"backbone": {}}},
    "classes that are none": {"metainfo": {"classes": [{"type": "x"}]}},
    "another version": {"version": 99},
}


@pytest.fixture
def hostile_module(tmp_path, monkeypatch):
    """A module that creates a file when it is imported."""
    (tmp_path / "hostile_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "ran"
    sys.modules.pop("hostile_module", None)


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_stored_configs_with_code_are_rejected(tmp_path, trained, hostile_module, changes):
    path = save(tmp_path / "x.pth", trained, **changes)
    with pytest.raises(CheckpointError, match=r"x\.pth: .*stored config.*--config FILE"):
        load_trained(path)
    assert not hostile_module.exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", 3, ["x"], "[" * 100_000, '{"version": 1}', "x" * (1 << 21)],
    ids=range(9),
)
def test_invalid_texts_are_rejected(tmp_path, trained, text):
    torch.save({**trained, KEY: text}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth: invalid stored config"):
        load_trained(tmp_path / "x.pth")


def test_the_white_level_of_deep_images_is_not_an_image_size(tmp_path, trained):
    def load(value):
        steps = [dict(type="smallvit.ToColor", max_value=value), dict(type="PackInputs")]
        return load_trained(save(tmp_path / "x.pth", trained, pipeline=steps))

    assert load(65535).cfg.test_pipeline[0].max_value == 65535
    for wrong in (1 << 33, [1] * 5000):
        with pytest.raises(CheckpointError, match="max_value"):
            load(wrong)


def test_deep_nesting_is_rejected(tmp_path, trained):
    nested = []
    for _ in range(200):
        nested = [nested]
    with pytest.raises(CheckpointError, match="nested too deep"):
        load_trained(save(tmp_path / "x.pth", trained, model__backbone__arch=nested))


def test_lookups_of_a_build_import_nothing(tmp_path, trained, hostile_module, monkeypatch):
    """Even if a value passed the check, the registries would not find a module to import."""
    monkeypatch.setattr("smallvit.engine.stored_config.check", lambda stored: None)
    for name in ("hostile_module", "hostile_module.Model", "builtins.print"):
        path = save(tmp_path / "x.pth", trained, model__head={"type": name})
        with pytest.raises(CheckpointError, match=r"cannot build the stored config: .*not allowed"):
            load_trained(path)
    assert not hostile_module.exists()


def test_non_json_values_are_rejected():
    cfg = Config(dict(model=dict(type="X", value=object())))
    with pytest.raises(UnsuitedError, match="not a plain value"):
        describe(cfg, None)
    assert read_stored({}, "x") is None


def test_numbers_are_restored():
    model = dict(type="mmpretrain.ImageClassifier", thresholds=[float("inf"), 0.5], size=(1, (2,)))
    text = describe(Config(dict(default_scope="mmpretrain", model=model)), None)
    assert dict(read_stored({KEY: text}, "x").model) == model


@pytest.mark.exhaustive
def test_configs_of_ours_are_in_the_table():
    for name in LEAVES:
        cfg = read_config(name)
        if cfg.get("model") is not None:
            check(json.loads(describe(cfg, CLASSES)))


def test_no_type_of_the_table_reads_or_fetches():
    """Compare the table with the sources: it has no constructor that loads or downloads files."""
    forbidden = {"GuidedClassifier", "LocalityGuidance", "BertModel", "CLIPTextEncoder", "VPD"}
    for names in (*known_types.MODELS.values(), *known_types.TRANSFORMS.values()):
        assert not forbidden & set(names.split())
