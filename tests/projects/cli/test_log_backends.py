"""Experiment trackers added with ``--log-to``."""

import pytest
from mmengine.config import Config

from config_helpers import CONFIGS
from smallvit.cli import log_backends
from smallvit.cli.log_backends import log_to
from smallvit.errors import UserError
from tool_helpers import load_tool


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(log_backends, "find_spec", lambda name: None if name == "mlflow" else name)


def kinds(cfg):
    return [backend["type"] for backend in cfg.visualizer.vis_backends]


def test_trackers_are_added_to_the_local_logs():
    cfg = Config(dict())
    log_to(cfg, ["tensorboard", "wandb"])
    assert kinds(cfg) == ["LocalVisBackend", "TensorboardVisBackend", "WandbVisBackend"]
    log_to(cfg, ["wandb"])
    assert len(kinds(cfg)) == 3
    log_to(cfg, [])
    assert len(kinds(cfg)) == 3


def test_backends_of_a_config_are_kept():
    local = dict(type="mmpretrain.LocalVisBackend", img_save_dir="x")
    cfg = Config(dict(visualizer=dict(type="UniversalVisualizer", vis_backends=[local])))
    log_to(cfg, ["tensorboard"])
    assert cfg.visualizer.type == "UniversalVisualizer"
    assert cfg.visualizer.vis_backends[0] == local


def test_missing_trackers_are_named():
    with pytest.raises(UserError, match=r"--log-to mlflow requires .*pip install mlflow"):
        log_to(Config(dict()), ["mlflow"])


def test_training_has_the_flag():
    args = load_tool("train.py").parse_args(["c.py", "--log-to", "tensorboard", "wandb"])
    assert args.log_to == ["tensorboard", "wandb"]
    cfg = Config.fromfile(CONFIGS / "dwnet/dwnet-mini_digits-det.py")
    log_to(cfg, args.log_to)
    assert kinds(cfg)[-2:] == ["TensorboardVisBackend", "WandbVisBackend"]
