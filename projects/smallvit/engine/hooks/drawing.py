"""Visualization hooks that write predictions into one subfolder per image folder.

The hooks of the libraries write all images to one folder, so that 0.png of one class folder
overwrites 0.png of another.
"""

from __future__ import annotations

import os.path as osp
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.registry import HOOKS


class _Folders:
    """Find the output folder of each drawn image, below a root folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.drawn: set[str] = set()

    def of(self, sample: Any, dataset: Any) -> str:
        path = str(sample.get("img_path") or "")
        folder = osp.join(self.root, _below(path, dataset))
        number, free = 1, folder
        while osp.join(free, osp.basename(path)) in self.drawn:
            number += 1
            free = f"{folder}_{number}"
        if path:
            self.drawn.add(osp.join(free, osp.basename(path)))
        return free


def _below(path: str, dataset: Any) -> str:
    """Folder of an image relative to its dataset; "" if it has none."""
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    prefixes = getattr(dataset, "data_prefix", None) or {}
    for root in (*prefixes.values(), getattr(dataset, "data_root", "")):
        if root and osp.abspath(path).startswith(osp.join(osp.abspath(root), "")):
            return osp.dirname(osp.relpath(path, root))
    return ""


@HOOKS.register_module()
def ClassifierDrawingHook(**kwargs: Any) -> Hook:  # noqa: N802 the name of a type in configs
    """Build MMPretrain's ``VisualizationHook`` with one output subfolder per image folder.

    Args:
        **kwargs: Arguments of :class:`mmpretrain.engine.VisualizationHook`.

    Returns:
        Hook: Instance of a subclass of ``VisualizationHook``.
    """
    from mmpretrain.engine import VisualizationHook

    class DrawingHook(VisualizationHook):
        def after_test_iter(self, runner: Runner, batch_idx: int, data_batch, outputs) -> None:
            self._folders = getattr(self, "_folders", None) or _Folders(self.out_dir)
            dataset = runner.test_dataloader.dataset
            start = batch_idx * (runner.test_dataloader.batch_size or len(outputs))
            for number, (image, sample) in enumerate(
                zip(data_batch["inputs"], outputs, strict=True), start
            ):
                if self._folders.root is not None:
                    self.out_dir = self._folders.of(sample, dataset)
                self._draw_samples(number, {"inputs": [image]}, [sample])

    return DrawingHook(**kwargs)


@HOOKS.register_module()
def DetectorDrawingHook(**kwargs: Any) -> Hook:  # noqa: N802 the name of a type in configs
    """Build mmdet's ``DetVisualizationHook`` with one output subfolder per image folder.

    Args:
        **kwargs: Arguments of :class:`mmdet.engine.hooks.DetVisualizationHook`.

    Returns:
        Hook: Instance of a subclass of ``DetVisualizationHook``.
    """
    from mmdet.engine.hooks import DetVisualizationHook

    class DrawingHook(DetVisualizationHook):
        def after_test_iter(self, runner: Runner, batch_idx: int, data_batch, outputs) -> None:
            root = self.test_out_dir and osp.abspath(self.test_out_dir)
            self._folders = getattr(self, "_folders", None) or _Folders(root)
            for sample in outputs:
                if self._folders.root is not None:
                    folder = self._folders.of(sample, runner.test_dataloader.dataset)
                    self.test_out_dir = folder
                super().after_test_iter(runner, batch_idx, data_batch, [sample])

    return DrawingHook(**kwargs)
