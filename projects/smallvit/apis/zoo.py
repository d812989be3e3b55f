"""List and build models by the names of their configs."""

from __future__ import annotations

import os
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger, print_log
from torch import nn

from smallvit.engine.config_files import read_config
from smallvit.engine.model_settings import set_channels, set_classes
from smallvit.engine.models import load_model
from smallvit.errors import UserError
from smallvit.utils.configs import walk

#: Folders of configs that are not models: base configs and methods of the bench.
NOT_MODELS = ("_base_", "bench")
CONFIGS = Path(__file__).parents[1] / ".mim/configs"
#: Task by the dataset suffix of a config's name; all others are classification.
ENDINGS = {
    "coco": "detection",
    "det": "detection",
    "boxes": "detection",
    "ade20k": "segmentation",
    "seg": "segmentation",
    "masks": "segmentation",
}
TASKS = ("classification", "detection", "segmentation")


def list_models(pattern: str = "*", task: str | None = None) -> list[str]:
    """List the model names for :func:`get_model`: config file names without ``.py``.

    Args:
        pattern (str): A shell pattern, such as ``"dhvt*"``. Defaults to all.
        task (str, optional): "classification", "detection" or "segmentation". Defaults to
            None, which lists all tasks.

    Returns:
        list[str]: Names in alphabetical order.

    Raises:
        UserError: If ``task`` is unknown.
    """
    if task not in (None, *TASKS):
        raise UserError(f"expected a task of {', '.join(TASKS)}, got {task!r}")
    names = (name for name in _configs() if fnmatch(name, pattern))
    return sorted(name for name in names if task in (None, task_of(name)))


def get_model(
    name: str,
    pretrained: str | os.PathLike | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: str = "cpu",
) -> nn.Module:
    """Build a model by the name of its config, and load a checkpoint if one is given.

    Args:
        name (str): A name from :func:`list_models`, such as ``"dhvt-t_in1k"``.
        pretrained (str | os.PathLike, optional): Path or URL of a checkpoint of this
            model, read without running code. Defaults to None: the weights are randomly
            initialized.
        num_classes (int, optional): Number of classes. Defaults to that of the config.
        in_channels (int, optional): Channels of the images. Defaults to that of the config.
        device (str): Device of the model. Defaults to "cpu".

    Returns:
        nn.Module: The model in evaluation mode, as returned by :func:`smallvit.apis.load_model`.

    Raises:
        UserError: If the name is unknown, or the model does not support ``in_channels``.
        CheckpointError: If the checkpoint is missing, damaged, or of another model.

    Examples:
        >>> import smallvit
        >>> import torch
        >>> model = smallvit.get_model("dhvt-t-p4_cifar100", num_classes=5)
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """
    cfg = read_config(str(find_config_of(name)))
    if num_classes is not None:
        set_classes(cfg, num_classes)
    if in_channels is not None:
        set_channels(cfg, in_channels)
    _forget_start_weights(cfg, name, told=pretrained is None)
    model = load_model(cfg, pretrained, device)
    if pretrained is None:
        _initialize(model)
    return model


def _forget_start_weights(cfg: Config, name: str, told: bool) -> None:
    """Remove pretrained weights that training with the config would start from."""
    for _, node in walk(cfg.model):
        init_cfg = node.get("init_cfg") if hasattr(node, "get") else None
        if not init_cfg:
            continue
        steps = init_cfg if isinstance(init_cfg, list) else [init_cfg]
        for step in steps:
            if step["type"] == "Pretrained" and told:
                print_log(f"{name} has random weights; training starts from {step['checkpoint']}")
        node.init_cfg = [step for step in steps if step["type"] != "Pretrained"] or None


def _initialize(model: nn.Module) -> None:
    """Initialize the weights without MMEngine's log line per parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)


def task_of(name: str) -> str:
    """Infer the task of a model from its name.

    Args:
        name (str): Config file name without ``.py``.

    Returns:
        str: "classification", "detection" or "segmentation".
    """
    return ENDINGS.get(name.replace("-", "_").rpartition("_")[2], TASKS[0])


def _configs() -> dict[str, Path]:
    paths = CONFIGS.glob("*/*.py")
    return {path.stem: path for path in paths if path.parent.name not in NOT_MODELS}


def find_config_of(name: str) -> Path:
    """Find the config of a model.

    Args:
        name (str): A name from :func:`list_models`.

    Returns:
        Path: Path of the config.

    Raises:
        UserError: If the name is unknown.
    """
    configs = _configs()
    if name not in configs:
        near = get_close_matches(name, configs, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UserError(f"no model {name!r}.{hint} See smallvit.list_models()")
    return configs[name]
