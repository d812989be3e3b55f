"""Inference with trained classifiers, detectors and segmentors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from smallvit.apis.structures import (
    ClassPrediction,
    InstancePrediction,
    MapPrediction,
    Prediction,
)
from smallvit.apis.tiles import MapOfTiles, Tile, keep_of_tiles, tile_rows
from smallvit.compat import quiet_console
from smallvit.engine import install as installs
from smallvit.engine.precision import autocast_of, in_float32
from smallvit.engine.prediction_dump import rle, task_of
from smallvit.engine.predictions import CLASSIFICATION, DETECTION, SEGMENTATION
from smallvit.engine.steps import Steps
from smallvit.engine.trained_models import load_trained
from smallvit.errors import UserError

Image = Any


class Predictor:
    """Predictor for images with a trained classifier, detector or segmentor.

    Args:
        checkpoint (str | os.PathLike): Path or URL of a checkpoint. Checkpoints that smallvit
            trains contain their config, which is read as data, without running code.
        config (str | os.PathLike | Config, optional): Config for checkpoints without one.
            Defaults to None.
        device (str, optional): Device of the model. Defaults to None: a GPU if there is one, else
            the CPU.
        batch_size (int): Maximum batch size; images of different sizes are batched separately.
            Defaults to 8.
        score_thr (float, optional): Minimum score of detected objects, and of the classes of a
            multi-label classifier. Defaults to None: 0.3 for objects, and for classes the
            threshold of the model's head, or 0.5.
        tile (int, optional): Side of the tiles that larger images are split into, for detectors and
            segmentors. Defaults to None: images are not split.
        overlap (float): Overlap of neighboring tiles as a fraction of a tile. Defaults to 0.25.
        exits (dict, optional): Inference mode of a cascade: arguments of
            :meth:`smallvit.plugins.multi_exit.classifier.MultiExitClassifier.set_inference`, such
            as ``dict(max_gflops=0.6)``. Defaults to None.
        precision (str): "fp32", or "bf16" for autocast to bfloat16. Defaults to "fp32".

    Attributes:
        model (nn.Module): The model in evaluation mode.
        task (str): "classification", "detection" or "segmentation".
        classes (tuple[str, ...]): Class names.
        several (bool): Whether the model is a multi-label classifier.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or has no valid config.
        UserError: If an argument does not match the model.

    Examples:
        >>> predictor = Predictor("work_dirs/dwnet-mini_digits/epoch_20.pth")  # doctest: +SKIP
        >>> predictor("seven.png").name  # doctest: +SKIP
        '7'
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        config: str | os.PathLike | Config | None = None,
        device: str | None = None,
        batch_size: int = 8,
        score_thr: float | None = None,
        tile: int | None = None,
        overlap: float = 0.25,
        exits: dict[str, Any] | None = None,
        precision: str = "fp32",
    ) -> None:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.precision, self._autocast = precision, autocast_of(precision, device)
        quiet_console.install()  # before the model is built
        self.model = load_trained(checkpoint, config, device)
        self.scope = self.model.cfg.get("default_scope") or "mmengine"
        installs.install(self.scope)
        self.task = task_of(self.model)
        self.classes = tuple(map(str, self.model.dataset_meta.get("classes") or ()))
        self.palette = self.model.dataset_meta.get("palette")
        self.several = self.task == CLASSIFICATION and gives_several(self.model)
        default = (self.model.head.thr or 0.5) if self.several else 0.3
        self.batch_size = batch_size
        self.score_thr = default if score_thr is None else score_thr
        self.tile, self.overlap = tile, overlap
        with self._scope():
            self.steps = Steps(self.model.cfg)
        if tile is not None:
            if self.task == CLASSIFICATION:
                raise UserError(
                    "tiles are supported for detectors and segmentors, not for classifiers"
                )
            tile_rows((tile, tile), tile, overlap)  # validates tile and overlap
        if exits:
            set_exits(self.model, exits)

    def _scope(self) -> Any:
        return DefaultScope.overwrite_default_scope(self.scope)

    def __call__(self, images: Image | Iterable[Image]) -> Prediction | list[Prediction]:
        """Predict one image or several.

        Args:
            images (Image | Iterable[Image]): A path, a uint8 array (H, W, 3) in BGR order as read
                by OpenCV, or (H, W) for models of grayscale images, or a Pillow image;
                for models of bands an array of all bands of a file; or several of them.

        Returns:
            Prediction | list[Prediction]: A prediction for one image, else a list.

        Raises:
            ImageError: If a file is not a complete image.
        """
        if isinstance(images, (str, os.PathLike, np.ndarray)) or _is_of_pillow(images):
            return next(iter(self.stream([images])))
        return list(self.stream(images))

    def stream(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Predict an iterable of images lazily, in batches.

        Args:
            images (Iterable[Image]): Images, as for a call.

        Yields:
            Prediction: Prediction of each image, in order.
        """
        batch: list[np.ndarray] = []
        for image in images:
            batch.append(self.read(image))
            if len(batch) == self.batch_size:
                yield from self.predict_arrays(batch)
                batch = []
        if batch:
            yield from self.predict_arrays(batch)

    def read(self, image: Image) -> np.ndarray:
        """Read an image as the model's test pipeline does.

        Args:
            image (Image): A path, an array, or a Pillow image.

        Returns:
            np.ndarray: Image (H, W, C) in BGR order, or (H, W); bands as float32.

        Raises:
            ImageError: If the file is not a complete image.
            DataError: If it is not read as it is meant, such as another number of bands.
            UserError: If the file cannot be opened, or the argument is of another type.
        """
        if isinstance(image, (str, os.PathLike)):
            path = os.fspath(image)
            try:
                with open(path, "rb") as file:
                    content = file.read()
            except OSError as error:
                raise UserError(f"{path}: {error.strerror or error}") from error
            return self.steps.decode(content, path)
        if self.steps.bands is not None:
            return self.steps.bands.of_array(image)
        if _is_of_pillow(image):
            gray = self.steps.color_type == "grayscale"
            array = np.asarray(image.convert("L" if gray else "RGB"))
            return array if gray else np.ascontiguousarray(array[:, :, ::-1])
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
            raise UserError(
                f"expected a path, an array (H, W, C) or a Pillow image, got {type(image).__name__}"
            )
        if image.ndim == 2 and self.steps.color_type == "color":
            image = np.stack([image] * 3, axis=2)
        return image

    def predict_arrays(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images that are already read.

        Args:
            images (Sequence[np.ndarray]): Outputs of :meth:`read`.

        Returns:
            list[Prediction]: Prediction of each image.
        """
        if self.tile is not None:
            return [
                self._in_tiles(image, self.tile) if found is None else found
                for image, found in zip(images, self._whole_up_to(self.tile, images), strict=True)
            ]
        found = self._samples(images)
        return [
            self._prediction(sample, image.shape[:2])
            for sample, image in zip(found, images, strict=True)
        ]

    def _whole_up_to(self, side: int, images: Sequence[np.ndarray]) -> list[Prediction | None]:
        small = [image for image in images if max(image.shape[:2]) <= side]
        found = iter(self._samples(small))
        return [
            self._prediction(next(found), image.shape[:2]) if max(image.shape[:2]) <= side else None
            for image in images
        ]

    def features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Extract the backbone's last map or tokens, average-pooled to a vector.

        Args:
            images (Sequence[np.ndarray]): Outputs of :meth:`read`.

        Returns:
            np.ndarray: Feature vectors, float32 (N, C).

        Raises:
            UserError: If the model has no backbone, or the backbone returns neither maps, tokens
                nor vectors.
        """
        if getattr(self.model, "backbone", None) is None:
            raise UserError(f"{type(self.model).__name__} has no backbone to extract features with")
        return np.stack(self._in_batches(images, self._features))

    def _samples(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Run ``test_step`` of the model on images."""
        return self._in_batches(images, self.model.test_step)

    @torch.no_grad()
    def _in_batches(self, images: Sequence[np.ndarray], step: Callable) -> list[Any]:
        """Run a step on batches of equally sized images, so that no image is padded."""
        with self._scope(), self._autocast:
            packed = [self.steps(image) for image in images]
            found: list[Any] = [None] * len(packed)
            order = sorted(range(len(packed)), key=lambda i: tuple(packed[i]["inputs"].shape))
            for _, numbers in groupby(order, key=lambda i: tuple(packed[i]["inputs"].shape)):
                batch = list(numbers)
                for start in range(0, len(batch), self.batch_size):
                    part = batch[start : start + self.batch_size]
                    for number, one in zip(part, step(self._joined(packed, part)), strict=True):
                        found[number] = in_float32(one)
        return found

    def _joined(self, packed: Sequence[dict], numbers: Sequence[int]) -> dict[str, Any]:
        inputs = [packed[number]["inputs"] for number in numbers]
        samples = [packed[number]["data_samples"] for number in numbers]
        if self.task == CLASSIFICATION:
            inputs = torch.stack(inputs)
        return {"inputs": inputs, "data_samples": samples}

    def _features(self, batch: dict[str, Any]) -> Iterator[np.ndarray]:
        inputs = self.model.data_preprocessor(batch, False)["inputs"]
        of_neck = self.task == CLASSIFICATION and self.model.with_neck
        found = self.model.extract_feat(inputs) if of_neck else self.model.backbone(inputs)
        yield from pooled(found).float().cpu().numpy()

    def _prediction(self, sample: Any, shape: tuple[int, int]) -> Prediction:
        if self.task == CLASSIFICATION:
            scores = sample.pred_score.detach().float().cpu().numpy()
            exit_index, labels = sample.get("exit_index"), None
            if self.several:
                order = (-scores).argsort(kind="stable").tolist()
                labels = tuple(label for label in order if scores[label] >= self.score_thr)
            return ClassPrediction(
                self.classes, shape, scores, int(scores.argmax()), exit_index, labels
            )
        if self.task == SEGMENTATION:
            labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.int32)
            return MapPrediction(self.classes, shape, labels)
        return self._instances([(sample.pred_instances, None)], shape)

    def _in_tiles(self, image: np.ndarray, side: int) -> Prediction:
        shape = image.shape[:2]
        rows = tile_rows(shape, side, self.overlap)
        if self.task == DETECTION:
            tiles = [tile for row in rows for tile in row]
            found = self._samples([tile.crop(image) for tile in tiles])
            instances = [one.pred_instances for one in found]
            return self._instances(list(zip(instances, tiles, strict=True)), shape)
        whole = MapOfTiles(shape)
        for row in rows:
            logits = [one.seg_logits.data for one in self._samples([t.crop(image) for t in row])]
            whole.begin_row(row, logits[0].shape[0])
            for tile, each in zip(row, logits, strict=True):
                whole.add(tile, self._evidence(each).cpu().numpy())
        return MapPrediction(self.classes, shape, whole.finish())

    def _evidence(self, logits: torch.Tensor) -> torch.Tensor:
        if len(logits) > 1:
            return logits.float().softmax(dim=0)
        return logits.float() - self.model.decode_head.threshold  # these are already probabilities

    def _instances(self, parts: list[tuple[Any, Tile | None]], shape: tuple) -> InstancePrediction:
        box_lists, score_lists, label_lists = [], [], []
        origins: list[Tile] = []
        masks: list[tuple[Any, Tile | None]] = []
        for found, tile in parts:
            found = found[found.scores >= self.score_thr].cpu()
            shift = np.zeros(4) if tile is None else np.array([tile.left, tile.top] * 2)
            box_lists.append(found.bboxes.numpy().reshape(-1, 4) + shift)
            score_lists.append(found.scores.numpy())
            label_lists.append(found.labels.numpy())
            origins += [] if tile is None else [tile] * len(found)
            masks += [(mask, tile) for mask in found.get("masks", ())]
        boxes, scores, labels = map(np.concatenate, (box_lists, score_lists, label_lists))
        keep = np.argsort(-scores, kind="stable")
        if parts[0][1] is not None:
            keep = keep_of_tiles(boxes, scores, labels, origins, shape)
        whole = [_whole_mask(masks[i], shape) for i in keep] if "masks" in parts[0][0] else None
        boxes = boxes[keep].astype(np.float32)
        return InstancePrediction(self.classes, shape, boxes, scores[keep], labels[keep], whole)


def _whole_mask(part: tuple[torch.Tensor, Tile | None], shape: tuple) -> dict[str, Any]:
    mask, tile = part
    if tile is None:
        return rle(mask)
    whole = np.zeros(shape, dtype=np.uint8)
    whole[tile.top : tile.bottom, tile.left : tile.right] = mask.numpy()
    return rle(whole)


def pooled(found: Any) -> torch.Tensor:
    """Average the output of a backbone over positions.

    Args:
        found (Any): A vector (B, C), tokens (B, N, C) or a map (B, C, H, W); of a sequence, the
            last item is used.

    Returns:
        torch.Tensor: Pooled vector, (B, C).

    Raises:
        UserError: If the output is of another type or shape.
    """
    while isinstance(found, (tuple, list)) and found:
        found = found[-1]
    if isinstance(found, torch.Tensor) and found.ndim == 2:
        return found
    if isinstance(found, torch.Tensor) and found.ndim == 3:
        return found.mean(dim=1)
    if isinstance(found, torch.Tensor) and found.ndim == 4:
        return found.mean(dim=(2, 3))
    raise UserError(
        f"expected maps, tokens or vectors from the backbone, got {type(found).__name__}"
    )


def _is_of_pillow(image: Any) -> bool:
    return hasattr(image, "convert") and hasattr(image, "getbands")


def gives_several(model: nn.Module) -> bool:
    """Check whether a model is a multi-label classifier.

    Args:
        model (nn.Module): Model with or without a ``head``.

    Returns:
        bool: Whether its head is a multi-label head of MMPretrain.
    """
    from mmpretrain.models.heads import MultiLabelClsHead

    return isinstance(getattr(model, "head", None), MultiLabelClsHead)


def set_exits(model: nn.Module, exits: dict[str, Any]) -> None:
    """Set a cascade to predict within a budget, with thresholds or at one exit.

    Args:
        model (nn.Module): A cascade.
        exits (dict): Arguments of ``set_inference``; the mode is inferred if it is not given.

    Raises:
        UserError: If the model is not a cascade, or the arguments do not match it.
    """
    if not hasattr(model, "set_inference"):
        raise UserError(
            f"{', '.join(exits)} requires a model with exits, got {type(model).__name__}"
        )
    mode = "fixed" if "exit_index" in exits else "budgeted"
    try:
        model.set_inference(**{"mode": mode, **exits})
        if model.mode == "budgeted":
            len(model.thresholds)  # raises an error if the calibration does not meet the budget
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
