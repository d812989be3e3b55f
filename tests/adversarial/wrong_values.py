"""Plain values that are invalid in checkpoints: code, paths, numbers out of range."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adversarial.hostile import Call

#: A module that creates a file when it is imported; :func:`write_traps` writes it.
MODULE = "imported_by_a_checkpoint"
#: Keys of checkpoints (ours, MMEngine's and official ones) whose values are read.
PLACES = (
    "meta",
    "meta.config",
    "meta.cfg",
    "meta.epoch",
    "meta.iter",
    "meta.seed",
    "meta.run_id",
    "meta.experiment_name",
    "meta.dataset_meta",
    "meta.dataset_meta.classes",
    "meta.dataset_meta.palette",
    "message_hub",
    "message_hub.log_scalars",
    "message_hub.log_scalars.train/loss",
    "message_hub.resumed_keys",
    "message_hub.runtime_info",
    "message_hub.runtime_info.cfg",
    "message_hub.runtime_info.best_ckpt",
    "message_hub.runtime_info.best_score",
    "message_hub.runtime_info.last_ckpt",
    "message_hub.runtime_info.keep_ckpt_ids",
    "optimizer",
    "optimizer.state",
    "optimizer.param_groups",
    "param_schedulers",
    "ema_state_dict",
    "smallvit",
    "smallvit.processes",
    "smallvit.position",
    "smallvit.modules",
    "smallvit_settings",
    "smallvit_settings.settings",
    "smallvit_settings.hooks",
    "training_state",
    "training_state.moments",
    "multi_exit",
    "multi_exit.policy",
    "multi_exit.flops",
    "multi_exit.thresholds",
    "multi_exit.evaluation",
    "flops",
    "dynamic_threshold",
    "state_dict",
    "state_dict._extra_state",
    "model",
    "model_state_dict",
)


def write_traps(room: Path, mark: Path) -> None:
    """Write a config and a module that create the marker file when they are executed.

    Args:
        room (Path): Output folder, which the caller adds to Python's module path.
        mark (Path): The marker file.
    """
    touch = f"open({str(mark)!r}, 'w').close()\n"
    (room / "evil.py").write_text(touch + "model = dict(type='ToyModel')\n")
    (room / f"{MODULE}.py").write_text(touch + "class Trap:\n    def __init__(self, **_): ...\n")


def wrong_values(room: Path, mark: Path) -> dict[str, Any]:
    """Return values that must at most lead to an error message.

    Args:
        room (Path): Folder of the traps, and of ``others`` with unrelated files.
        mark (Path): Marker file that is created if code is executed.

    Returns:
        dict: Values by description.
    """
    others = room / "others"
    touch = f"open({str(mark)!r}, 'w').close()"
    return {
        "a class to import": {"type": f"{MODULE}.Trap"},
        "a function to call": {"type": "os.system", "command": f"touch {mark}"},
        "a program": touch,
        "a config to inherit": f"_base_ = [{str(room / 'evil.py')!r}]",
        "a config file": str(room / "evil.py"),
        "imports": {"custom_imports": {"imports": [MODULE]}, "filename": str(room / "evil.py")},
        "weights of somebody": {"init_cfg": {"type": "Pretrained", "checkpoint": "http://[::1]/a"}},
        "a pickle": pickle.dumps(Call(eval, touch)),
        "a path of somebody": str(others / "best.pth"),
        "a folder of somebody": str(others),
        "paths of somebody": [str(others / "best.pth"), "../others", "others", 1, 2],
        "a tensor": torch.ones(3),
        "an empty dict": {},
        "an empty list": [],
        "a list of lists": [[None], ["a"], [{}]],
        "not a number": float("nan"),
        "a negative number": -1,
        "a huge number": 1 << 70,
        "a text": "x",
        "nothing": None,
        "a number as key": {1: {2: 3}},
    }


def put(content: Any, place: str, value: Any) -> Any:
    """Insert a value into a copy of nested dicts; non-dicts on the path are replaced by dicts.

    Args:
        content (Any): The dicts, which are not modified.
        place (str): Keys separated by dots; below ``state_dict``, only the first dot separates.
        value (Any): The value.

    Returns:
        Any: The copy.
    """
    key, _, rest = place.partition(".")
    copy = type(content)(content) if isinstance(content, Mapping) else {}
    copy[key] = put(copy.get(key), rest, value) if rest else value
    return copy
