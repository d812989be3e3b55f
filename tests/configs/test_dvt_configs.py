"""DVT configs: model sizes, official checkpoints, and a training step."""

import re

import pytest
import torch

from config_helpers import LEAVES, build, read_config
from smallvit.converters import convert, get_system, identify, revert

DVT = [name for name in LEAVES if name.startswith("dvt/")]
# Numbers of trainable parameters of the references with 100 classes, from their state dicts.
REFERENCE = {"t2t-12": (21_666_240, 256), "t2t-14": (66_696_416, 384), "deit-s": (69_402_732, 384)}
# Parameters that T2T-12 has less without reuse: in each of the 24 blocks of the two later exits a
# norm, an MLP to 48 channels, and these channels in the norm and first layer of its own MLP; for
# each of these exits two convolutions over the 48 heads of the previous exit.
FEATURES = 24 * (2 * 256 + (256 * 128 + 128) + (128 * 48 + 48) + 48 * (2 + 512))
RELATIONS = 2 * ((48 * 144 + 144) + (144 * 48 + 48))
LACKING = {
    "t2t-12_nofeatures": FEATURES,
    "t2t-12_norelations": RELATIONS,
    "t2t-12_noreuse": FEATURES + RELATIONS,
}


def test_the_recipes_that_were_promised_are_there():
    names = {f"dvt/dvt-{model}_in1k.py" for model in REFERENCE}
    names |= {f"dvt/dvt-t2t-{size}_cifar{data}.py" for size in (12, 14) for data in (10, 100)}
    assert names | {"dvt/dvt-mini_digits.py"} <= set(DVT)


@pytest.mark.parametrize("name", [name for name in DVT if "digits" not in name])
def test_recipe_builds_at_the_size_of_the_reference(name):
    cfg = read_config(name)
    cfg.model.backbone.init_cfg = None
    with torch.device("meta"):  # shapes without memory
        model = build(cfg)
    network = re.search("dvt-(.+)_", name)[1]
    parameters, dims = REFERENCE[network.split("_")[0]]
    classes = cfg.model.head.num_classes
    expected = parameters + 3 * (classes - 100) * (dims + 1) - LACKING.get(network, 0)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    grids = [tuple(net.patch_resolution) for net in model.backbone.exits]
    assert grids == [(7, 7), (10, 10), (14, 14)]


@pytest.mark.parametrize("official", get_system("dvt").models)
def test_official_model_loads_into_its_config(official):
    record = get_system("dvt").models[official]
    with torch.device("meta"):
        model = build(read_config(record.config.split("/configs/")[1]))
    state = revert("dvt", model.state_dict())
    key_map, names = identify("dvt", {"model_state_dict": state})
    assert (key_map.name, names) == (record.architecture, [official])
    ours = convert("dvt", {"model_state_dict": state})
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize("name", [name for name in DVT if re.search("in1k|cifar", name)])
def test_calibrates_on_training_images_as_they_are_tested(name):
    cfg = read_config(name)
    calibration = cfg.calibration_dataloader
    assert calibration.dataset.split == "train"
    assert calibration.dataset.type == cfg.train_dataloader.dataset.type
    roots = [part.dataset.data_root for part in (calibration, cfg.train_dataloader)]
    assert len({root.rstrip("/") for root in roots}) == 1
    assert calibration.dataset.pipeline == cfg.val_dataloader.dataset.pipeline
    # The hook uses them too.
    assert cfg.custom_hooks[-1].type == "smallvit.CalibrationHook"
    assert "dataloader" not in cfg.custom_hooks[-1]


@pytest.mark.parametrize(
    "name", [name for name in DVT if "digits" in name and "guided" not in name]
)
def test_digits_recipe_trains_and_leaves_early(name):
    from smallvit.analysis.fake_data import fake_batch

    model = build(read_config(name)).train()
    batch = fake_batch(model, (32, 32), batch_size=4)
    data = model.data_preprocessor(batch, training=True)
    model.parse_losses(model(**data, mode="loss"))[0].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    model.eval().set_inference("budgeted", thresholds=[0.0, 0.0])
    with torch.no_grad():
        samples = model.predict(data["inputs"])
    assert [sample.exit_index for sample in samples] == [0] * 4
