"""Check the pretrained checkpoints that a config's ``init_cfg`` entries name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from smallvit.converters.system import SYSTEM_NAMES, config_path
from smallvit.engine.checkpoint.official import split_official
from smallvit.errors import CheckpointError


def require_pretrained(cfg: Config) -> None:
    """Check that every checkpoint the model starts from exists, before it is built.

    Args:
        cfg (Config): The merged config.

    Raises:
        CheckpointError: If one is missing. The message says how to obtain it or start without it.
    """
    for key, path in pretrained_files(cfg.get("model"), "model"):
        place = (split_official(path) or ("", path))[1]
        if "://" in place or Path(place).expanduser().is_file():
            continue
        raise CheckpointError(
            f"{path}, the pretrained weights of this config ({key}.checkpoint), does not exist: "
            f"{_ways_to(path)}choose another file with --cfg-options {key}.checkpoint=FILE, or "
            f"start from random weights with --cfg-options {key}=None"
        )


def pretrained_files(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Find the entries of type "Pretrained" in a part of a config.

    Args:
        node (Any): The part to search.
        key (str): Its dotted name.

    Yields:
        tuple[str, str]: Dotted name of an ``init_cfg`` and the path of its checkpoint.
    """
    if isinstance(node, (list, tuple)):
        for number, child in enumerate(node):
            yield from pretrained_files(child, f"{key}.{number}")
        return
    if not isinstance(node, dict):
        return
    if node.get("type") == "Pretrained" and "checkpoint" in node:
        yield key, str(node["checkpoint"])
        return
    for name, child in node.items():
        yield from pretrained_files(child, f"{key}.{name}")


def _ways_to(path: str) -> str:
    """Explain how to get a checkpoint that is named after one of our configs."""
    for name in (Path(path).stem, Path(path).parent.name):
        for system in SYSTEM_NAMES:
            if Path(config_path(f"{system}/{name}.py")).is_file():
                return (
                    f"train configs/{system}/{name}.py, or convert the official checkpoint with "
                    f"tools/model_converters/convert.py {system} OFFICIAL {path}; "
                )
    return ""
