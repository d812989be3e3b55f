"""Helpers for the repository's configs: cached reading, building in their scope, reduced sizes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from mmengine.config import Config
from mmengine.registry import DefaultScope

import smallvit  # noqa: F401  # provides mmcv's ops; must come before mmdet and mmseg

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
#: Every config that a user can run, relative to ``configs/``.
LEAVES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.glob("*/*.py")
    if path.parent.name != "_base_" and path.name != "__init__.py"
)


@cache
def _read(name: str) -> Config:
    with mock.patch.object(Config, "_file2dict", staticmethod(_file2dict)):
        return Config.fromfile(CONFIGS / name)


_parse = Config._file2dict
_bases: dict[str, tuple] = {}


def _file2dict(filename: str | Path, *args: Any, **kwargs: Any) -> tuple:
    """Parse each file only once, because many configs share base files."""
    key = str((filename, args, kwargs))
    if key not in _bases:
        _bases[key] = _parse(filename, *args, **kwargs)
    return deepcopy(_bases[key])


def read_config(name: str) -> Config:
    """Read a config of the repository; each caller gets its own copy."""
    return deepcopy(_read(name))


@contextmanager
def scope_of(cfg: Config | str) -> Iterator[None]:
    """Build in the default scope of a config, or in the given scope."""
    scope = cfg if isinstance(cfg, str) else cfg.default_scope
    with DefaultScope.overwrite_default_scope(scope):
        yield


def build(cfg: Config):
    """Build the model of a config in its scope, with SyncBN reverted."""
    from smallvit.engine.models import build_model

    with scope_of(cfg):
        return build_model(cfg)


#: Transform arguments that are lengths in pixels.
LENGTHS = ("scale", "scales", "crop_size", "size")


def shrink(node: Any, factor: float = 8) -> Any:
    """Divide the lengths in a pipeline or preprocessor in place; small numbers are not changed.

    Args:
        node (Any): A config, list or value.
        factor (float): Divisor. Defaults to 8.

    Returns:
        Any: The same object.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            node[key] = _divide(value, factor) if key in LENGTHS else shrink(value, factor)
    elif isinstance(node, list):
        node[:] = [shrink(child, factor) for child in node]
    return node


def flat_steps(pipeline: list[dict]) -> Iterator[dict]:
    """List the transforms of a pipeline, including those inside ``RandomChoice``."""
    for step in pipeline:
        if step["type"].split(".")[-1] == "RandomChoice":
            for branch in step["transforms"]:
                yield from flat_steps(branch)
        else:
            yield step


def _divide(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_divide(item, factor) for item in value)
    return max(int(value / factor), 1) if isinstance(value, int) else value


def use_mini(cfg: Config) -> Config:
    """Replace a DWNet with the smallest one in place, and adapt the widths after it.

    Args:
        cfg (Config): Config of a classifier, detector or segmentor.

    Returns:
        Config: The same config.
    """
    widths = [32, 64, 128, 256]
    model = cfg.model
    model.backbone.arch = "mini"
    if "decode_head" in model:
        model.decode_head.in_channels = widths
        model.auxiliary_head.in_channels = widths[2]
    elif "roi_head" in model:
        model.neck.in_channels = widths
    else:
        model.head.in_channels = widths[-1]
    return cfg
