"""The test pipeline for images in memory, without the loading step."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from smallvit.errors import UserError


class Steps:
    """The test pipeline of a config, for images in memory.

    Args:
        cfg (Config): A config with ``test_dataloader`` or ``test_pipeline``; its default scope
            must be active.

    Attributes:
        color_type (str): Color type in which the pipeline reads images, as in
            :func:`mmcv.imfrombytes`.
        backend (str): Image decoding backend of the pipeline.

    Raises:
        UserError: If there is no pipeline, or a step reads annotations or several images.
    """

    def __init__(self, cfg: Config) -> None:
        self.color_type, self.backend, self._to_float = "color", "cv2", False
        self._steps = []
        for step in _pipeline(cfg):
            kind = str(step.get("type")).rpartition(".")[2]
            if kind == "LoadImageFromFile":
                self.color_type = step.get("color_type", "color")
                self.backend = step.get("imdecode_backend") or "cv2"
                self._to_float = step.get("to_float32", False)
            elif not kind.startswith("Load"):
                self._steps.append(TRANSFORMS.build(dict(step)))

    def __call__(self, image: np.ndarray, name: str = "") -> dict[str, Any]:
        """Preprocess an image.

        Args:
            image (np.ndarray): (H, W, C) or (H, W), BGR, uint8.
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
                raise UserError(f"{name}: {type(step).__name__} of the test pipeline drops it")
        return results


def _pipeline(cfg: Config) -> list:
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    steps = dataset.get("pipeline") or cfg.get("test_pipeline")
    if not steps:
        raise UserError("the config has no test pipeline, in test_dataloader or test_pipeline")
    return steps
