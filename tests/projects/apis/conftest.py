"""Small checkpoints with stored configs: one for each of the three tasks, and a cascade."""

import json

import pytest
import torch
from mmengine.config import Config, ConfigDict

from config_helpers import CONFIGS
from smallvit.apis import load_model
from smallvit.engine.stored_config import KEY, describe

SMALL = dict(embed_dims=8, depths=[1, 1, 1, 1], group_channels=[1, 2, 4, 8])
EXIT = dict(
    type="smallvit.T2TViT",
    arch=dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8),
    img_size=32,
    token_dims=4,
)
CALIBRATION = {
    "version": 1,
    "flops": [1e6, 2e6, 3e6],
    "thresholds": [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]],
    "evaluation": {
        **{"anytime": [50.0, 60.0, 70.0], "num_images": 10},
        **{"accuracy": [60.0, 65.0], "flops": [1.5e6, 2.5e6]},
    },
}


def make_config(task):
    """Create a digits config whose network has eight channels."""
    if task == "cascade":
        cfg = Config.fromfile(CONFIGS / "dvt/dvt-mini_digits.py")
        splits = [((patch, 1), (patch, 2), (0, 0)) for patch in (16, 8, 4)]
        names = ("kernel_sizes", "strides", "paddings")
        exits = [dict(EXIT, token_grid=dict(zip(names, each, strict=True))) for each in splits]
        cfg.model.backbone.exits = [ConfigDict(each) for each in exits]
        cfg.model.head.in_channels = 8
        return cfg
    ending = {"classification": "", "detection": "-det", "segmentation": "-seg"}[task]
    cfg = Config.fromfile(CONFIGS / f"dwnet/dwnet-mini_digits{ending}.py")
    cfg.model.backbone.arch = ConfigDict(SMALL)
    if task == "classification":
        cfg.model.head.in_channels = 64
    elif task == "detection":
        cfg.model.neck.in_channels = [8, 16, 32, 64]
    else:
        cfg.model.decode_head.in_channels = [8, 16, 32, 64]
        cfg.model.auxiliary_head.in_channels = 32
    return cfg


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Paths of checkpoints with untrained weights, by task."""
    folder, found = tmp_path_factory.mktemp("checkpoints"), {}
    for task in ("classification", "detection", "segmentation", "cascade"):
        cfg = make_config(task)
        torch.manual_seed(1)
        model = load_model(cfg)
        model.init_weights()
        more = {"multi_exit": CALIBRATION} if task == "cascade" else {}
        found[task] = folder / f"{task}.pth"
        names = {key: model.dataset_meta.get(key) for key in ("classes", "palette")}
        text = describe(cfg, {key: value for key, value in names.items() if value})
        assert json.loads(text)["metainfo"]["classes"]
        torch.save({"state_dict": model.state_dict(), KEY: text, **more}, found[task])
    return found


@pytest.fixture
def small_config():
    """Return a function that creates the config of a task."""
    return make_config
