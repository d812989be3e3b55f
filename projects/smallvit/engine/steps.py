"""Test pipeline for images in memory, without the loading step."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from smallvit.datasets.io.bands import Bands, visible
from smallvit.datasets.io.images import decode
from smallvit.errors import UserError


class Steps:
    """Test pipeline of a config for images in memory.

    Args:
        cfg (Config): A config with ``test_dataloader`` or ``test_pipeline``; its default scope
            must be active.

    Attributes:
        color_type (str): Color type in which the pipeline reads images, as in
            :func:`mmcv.imfrombytes`.
        backend (str): Image decoding backend of the pipeline.
        bands (Bands, optional): Bands that the pipeline reads; None for color images.

    Raises:
        UserError: If there is no pipeline, or a step reads annotations or several images.
    """

    def __init__(self, cfg: Config) -> None:
        self.color_type, self.backend, self._to_float = "color", "cv2", False
        self.bands: Bands | None = None
        self._steps = []
        for step in _pipeline(cfg):
            kind = str(step.get("type")).rpartition(".")[2]
            if kind == "LoadImageBands":
                self.bands = TRANSFORMS.build(dict(step)).reader
            elif kind == "LoadImageFromFile":
                self.color_type = step.get("color_type", "color")
                self.backend = step.get("imdecode_backend") or "cv2"
                self._to_float = step.get("to_float32", False)
            elif not kind.startswith("Load"):
                self._steps.append(TRANSFORMS.build(dict(step)))

    def decode(self, content: bytes, path: str) -> np.ndarray:
        """Decode the content of a file as the pipeline does.

        Args:
            content (bytes): Content of the file.
            path (str): Path of the file, for messages.

        Returns:
            np.ndarray: (H, W, C) or (H, W); BGR and uint8, or bands as float32.

        Raises:
            ImageError: If the image is damaged or incomplete.
            DataError: If the image does not match the settings, such as the number of bands.
        """
        if self.bands is not None:
            return self.bands.decode(content, path)
        return decode(content, path, self.color_type, self.backend)

    def shown(self, image: np.ndarray) -> np.ndarray:
        """Convert an image to one that can be drawn on.

        Args:
            image (np.ndarray): Output of :meth:`decode`.

        Returns:
            np.ndarray: The image; for multispectral images the first three bands, as BGR uint8.
        """
        return image if self.bands is None else visible(image)

    def __call__(self, image: np.ndarray, name: str = "") -> dict[str, Any]:
        """Preprocess an image.

        Args:
            image (np.ndarray): (H, W, C) or (H, W), as returned by :meth:`decode`.
            name (str): Path to store in the sample. Defaults to "".

        Returns:
            dict: ``inputs`` and ``data_samples`` as packed by the library.
        """
        shape = image.shape[:2]
        results = {
            "img": image.astype(np.float32) if self._to_float else image,
            "img_path": name,
            "img_id": 0,
            "img_shape": shape,
            "ori_shape": shape,
        }
        for step in self._steps:
            results = step(results)
            if results is None:
                raise UserError(f"{name}: dropped by {type(step).__name__} of the test pipeline")
        return results


def _pipeline(cfg: Config) -> list:
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    steps = dataset.get("pipeline") or cfg.get("test_pipeline")
    if not steps:
        raise UserError("the config has no test pipeline, in test_dataloader or test_pipeline")
    return steps
