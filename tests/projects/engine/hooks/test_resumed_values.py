"""Invalid values in a resumed checkpoint: the error names the file and the key."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from smallvit.errors import CheckpointError
from toy_runs import toy_config, toy_train

CONFIG = """
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[1])]
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=0.01))
custom_hooks = [dict(type="EarlyStoppingHook", monitor="toy/score", rule="greater")]
"""


@HOOKS.register_module()
class RefusingHook(Hook):
    """A hook that rejects any state."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        raise ValueError("not so")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    cfg = toy_config(folder, epochs=1)
    cfg.merge_from_dict(cfg.fromstring(CONFIG, ".py").to_dict())
    toy_train(cfg)
    return cfg, torch.load(folder / "epoch_1.pth", weights_only=True)


def change(node, path, value):
    """Return a copy with one value replaced; only the containers on the path are copied."""
    key, *rest = path
    copy = list(node) if isinstance(node, (list, tuple)) else dict(node)
    copy[key] = change(copy[key], rest, value) if rest else value
    return copy


INFO, GROUP = ("message_hub", "runtime_info"), ("optimizer", "param_groups", 0)
PROCESS, STORED = ("smallvit", "processes", 0), ("smallvit_settings",)
VALUES = {
    ("meta", "iter"): (1 << 62, -1, "2", 10**400, None, True),
    ("meta", "epoch"): (1 << 62, "1"),
    ("meta", "seed"): ("0", 1 << 70, [1]),
    (*INFO, "best_score"): ("0.5", None, [0.5], {}, float("nan"), 10**5000),
    (*PROCESS, "data_seed"): ("0, 0", [-1, 0], ["0", 0], [0], None, [0.5, 0]),
    (*PROCESS, "sampler_seed"): ("0", 1 << 70, [0]),
    STORED: ("text", [1]),
    (*STORED, "hooks"): ("text", [1], 7),
    (*STORED, "settings"): ("text", [1]),
    (*STORED, "settings", "batch_size"): ("2", -2, 0, [2]),
    (*STORED, "settings", "iterations"): ("2", -2, 0.5),
    (*GROUP, "lr"): ("fast", [0.1], float("nan"), 10**400, {}),
    (*GROUP, "initial_lr"): ("fast",),
    (*GROUP, "weight_decay"): ("much", float("inf")),
    (*GROUP, "betas"): ("0.9, 0.999", [0.9, "0.999"], 0.9),
    (*GROUP, "params"): ("all", None),
    GROUP: ("text", None),
    GROUP[:2]: ("text", 7),
    ("optimizer",): ("text", [1]),
    ("param_schedulers",): ({"a": {}, "b": {}}, "text", 7),
    ("param_schedulers", 0): ("text", 7),
    ("param_schedulers", 0, "last_step"): ("1", [1]),
    ("param_schedulers", 0, "base_values"): ("0.01", ["0.01"]),
}


def name(path):
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]


def loaded(runner, checkpoint):
    for hook in runner.hooks:
        hook.after_load_checkpoint(runner, checkpoint)


@pytest.mark.parametrize("path", VALUES, ids=name)
def test_invalid_values_are_named(trained, tmp_path, path):
    from smallvit.engine.pipeline import adapt_config, build_runner

    cfg, content = trained
    cfg = cfg.copy()
    cfg.work_dir = str(tmp_path)
    cfg.train_cfg.max_epochs = 2
    cfg.experiment_name = tmp_path.name
    adapt_config(cfg)
    runner = build_runner(cfg)
    runner._load_from, runner._resume = "odd.pth", True
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    for value in VALUES[path]:
        odd = change(content, path, value)
        with pytest.raises(CheckpointError) as refused:
            loaded(runner, odd)
        message = str(refused.value)
        assert message.startswith(f"odd.pth: expected {name(path)} to be "), (value, message)
        assert len(message) < 300


def test_valid_checkpoints_are_resumed(trained, tmp_path):
    cfg, content = trained
    cfg = cfg.copy()
    cfg.work_dir, cfg.train_cfg.max_epochs = str(tmp_path / "more"), 2
    # A best score may be a tensor with one element.
    content = change(content, (*INFO, "best_score"), torch.tensor(0.5))
    torch.save(content, tmp_path / "epoch_1.pth")
    assert toy_train(cfg, tmp_path / "epoch_1.pth").epoch == 2


def test_a_hook_that_refuses_its_state_names_the_file(trained, tmp_path):
    cfg, content = trained
    cfg = cfg.copy()
    cfg.work_dir, cfg.train_cfg.max_epochs = str(tmp_path / "more"), 2
    odd = change(content, ("smallvit_settings", "hooks"), {"RefusingHook": {"a": 1}})
    torch.save(odd, tmp_path / "odd.pth")
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type="RefusingHook")]
    with pytest.raises(CheckpointError, match=r"odd\.pth: .*ValueError: not so"):
        toy_train(cfg, tmp_path / "odd.pth")
