"""Plain values that are no good where they stand: programs, paths, numbers too large."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adversarial.hostile import Call

#: A module that leaves a file behind where it is imported; :func:`write_traps` writes it.
MODULE = "imported_by_a_checkpoint"
#: Where checkpoints, ours, MMEngine's and the official ones, keep what somebody reads.
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
    """Write a config and a module into a folder which leave the mark where they are run.

    Args:
        room (Path): The folder, which the caller puts where Python finds modules.
        mark (Path): The file that appears.
    """
    touch = f"open({str(mark)!r}, 'w').close()\n"
    (room / "evil.py").write_text(touch + "model = dict(type='ToyModel')\n")
    (room / f"{MODULE}.py").write_text(touch + "class Trap:\n    def __init__(self, **_): ...\n")


def wrong_values(room: Path, mark: Path) -> dict[str, Any]:
    """Values of which nothing may come but a sentence.

    Args:
        room (Path): Where the traps are, and ``others`` with files of somebody else.
        mark (Path): The file that appears where something runs.

    Returns:
        dict: By what they are.
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
    """Put a value into a copy of nested dicts; what is no dict on the way becomes one.

    Args:
        content (Any): The dicts, not changed.
        place (str): Keys with dots between them; of the first dot only after ``state_dict``.
        value (Any): What is put there.

    Returns:
        Any: The copy.
    """
    key, _, rest = place.partition(".")
    copy = type(content)(content) if isinstance(content, Mapping) else {}
    copy[key] = put(copy.get(key), rest, value) if rest else value
    return copy
