"""Visualization of a dataset: as stored, after its pipeline, or after each pipeline step."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from smallvit.analysis.annotations import (
    Annotations,
    annotations_of,
    annotations_of_sample,
    innermost,
    read_sample,
)
from smallvit.analysis.drawing import Style, as_rgb, draw, enlarge
from smallvit.analysis.pictures import Tile, labels_in, side_by_side
from smallvit.errors import UserError

MODES = ("transformed", "original", "concat", "pipeline")


class Browser:
    """Draw the images of a config's dataset with their ground truth.

    Args:
        cfg (Config): Resolved config.
        phase (str): ``"train"``, ``"val"`` or ``"test"``.
        mode (str): ``"original"`` for images as stored, ``"transformed"`` for the model's input,
            ``"concat"`` for both side by side, ``"pipeline"`` for the image after each step that
            changes it.
        size (int): Shorter side of the drawn images.
        **style (bool): Options of :class:`~smallvit.analysis.drawing.Style`.

    Raises:
        UserError: If the config has no dataset for the phase.
    """

    def __init__(self, cfg: Config, phase: str, mode: str, size: int, **style: bool) -> None:
        loader = cfg.get(f"{phase}_dataloader")
        if loader is None:
            raise UserError(f"the config has no {phase}_dataloader. Choose another --phase")
        init_default_scope(cfg.get("default_scope", "mmengine"))
        self.dataset = DATASETS.build(loader["dataset"])
        self.mode, self.size = mode, size
        self.style = Style.of(self.dataset.metainfo, **style)

    def __len__(self) -> int:
        return len(self.dataset)

    def tile(self, index: int) -> Tile:
        """Draw an image.

        Args:
            index (int): Index of the image in the dataset.

        Returns:
            Tile: The drawn image; with mode ``"pipeline"``, all steps side by side.
        """
        if self.mode == "pipeline":
            steps = list(self._steps(index))
            names = " | ".join(
                f"{name} {image.shape[1]}x{image.shape[0]}" for name, image, _ in steps
            )
            return self._tile([(image, known) for _, image, known in steps], names)
        parts = []
        if self.mode in ("original", "concat"):
            parts.append(read_sample(self.dataset, index))
        if self.mode in ("transformed", "concat"):
            parts.extend(self._transformed(index))
        return self._tile(parts, self._name(index))

    def _transformed(self, index: int) -> Iterator[tuple[np.ndarray, Annotations]]:
        packed = self.dataset[index]
        views = packed["inputs"]
        known = annotations_of_sample(packed["data_samples"])
        for view in views if isinstance(views, (list, tuple)) else [views]:
            yield as_array(view), known

    def _steps(self, index: int) -> Iterator[tuple[str, np.ndarray, Annotations]]:
        results, before = self.dataset.get_data_info(index), None
        if isinstance(results.get("img"), np.ndarray):
            before = results["img"].copy()
            yield "stored", before, annotations_of(results)
        for step in innermost(self.dataset).pipeline.transforms:
            results = step(results)
            image = results.get("img") if isinstance(results, dict) else None
            if not isinstance(image, np.ndarray):
                continue
            if before is None or image.shape != before.shape or (image != before).any():
                yield type(step).__name__, image.copy(), annotations_of(results)
            before = image.copy()

    def _tile(self, parts: list[tuple[np.ndarray, Annotations]], caption: str) -> Tile:
        drawn = [
            draw(*enlarge(as_rgb(image), known, self.size), self.style) for image, known in parts
        ]
        known = parts[-1][1]
        if known.boxes is None and known.label_map is None and known.labels:
            caption = f"{caption}\n{', '.join(map(self.style.name, known.labels))}"
            return Tile(side_by_side(drawn), caption, set())
        labels = set().union(*(labels_in(known, self.style) for _, known in parts))
        return Tile(side_by_side(drawn), caption, labels)

    def _name(self, index: int) -> str:
        path = self.dataset.get_data_info(index).get("img_path")
        return os.path.basename(path) if path else f"image {index}"


def as_array(inputs: torch.Tensor) -> np.ndarray:
    """Convert the input of a model to an image.

    Args:
        inputs (torch.Tensor): Input (C, H, W), BGR, before normalization.

    Returns:
        np.ndarray: Image (H, W, C), uint8.
    """
    image = inputs.permute(1, 2, 0).numpy()
    if image.dtype == np.uint8:
        return image
    # Resizing and color transforms in floating point may slightly exceed the range.
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
