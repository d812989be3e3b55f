"""Patches that a run of smallvit installs; importing smallvit installs none of them."""

from __future__ import annotations

from smallvit.compat import drawn_texts, quiet_console
from smallvit.datasets.io import images
from smallvit.engine import pretrained
from smallvit.engine.checkpoint import reading


def install(scope: str | None = None) -> None:
    """Install the checked readers of checkpoints, images and LMDB stores in this process.

    This is a step of :mod:`smallvit.engine.pipeline`, and may be called more than once.

    Args:
        scope (str, optional): The library of the config, which may have image transforms
            in a separate registry. Defaults to None.
    """
    reading.install()
    pretrained.install()
    images.install(scope)
    drawn_texts.install()
    quiet_console.install()
    if scope == "mmdet":
        # Needs pycocotools, which the other tasks do not.
        from smallvit.datasets import coco

        coco.install()
