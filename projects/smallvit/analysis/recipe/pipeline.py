"""Effects of a recipe's augmentations, measured on a test image."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope

from smallvit.datasets.in_memory.settings import kind_of

#: Number of samples of a random augmentation, over which its effect is averaged.
DRAWS = 24
#: Default side length of the test image, and that of CIFAR images.
HEIGHT, WIDTH, CIFAR = 240, 320, 32
#: Steps that read files or pack tensors, which the test image does not need.
SKIPPED = ("LoadImageFromFile", "LoadImageBands", "LoadTeacherFeatures", "Pack", "ToTensor")


def stored_image(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Draw the test image for measuring effects: two color gradients, disks and a grid.

    Args:
        height (int): Height of the image. Defaults to 240.
        width (int): Width of the image. Defaults to 320.

    Returns:
        np.ndarray: RGB image (height, width, 3), uint8, whose channels differ, so that swapped
        channels have an effect.
    """
    y, x = np.mgrid[0:height, 0:width] / (np.array([height, width]).reshape(2, 1, 1) - 1)
    image = np.stack([40 + 180 * x, 200 - 150 * y, 90 + 60 * x * y], axis=-1)
    colors = ((230, 60, 40), (40, 90, 210), (240, 220, 60))
    for (top, left, radius), color in zip(
        ((0.3, 0.25, 0.16), (0.65, 0.6, 0.22), (0.25, 0.8, 0.1)), colors, strict=True
    ):
        inside = (y - top) ** 2 + (x - left) ** 2 < radius**2
        image[inside] = color
    image[(np.sin(40 * x) > 0.97) | (np.sin(30 * y) > 0.97)] *= 0.5
    return np.clip(image, 0, 255).round().astype(np.uint8)


def channel_order(cfg: Config) -> str:
    """Determine the channel order in a config's training pipeline.

    Args:
        cfg (Config): Resolved training config.

    Returns:
        str: "BGR" if OpenCV reads the files, else "RGB".
    """
    for step in training_pipeline(cfg):
        if _short(step["type"]) == "LoadImageFromFile":
            return "RGB" if step.get("color_type") == "color_rgb" else "BGR"
    return "RGB"


def build_steps(cfg: Config, pipeline: list[dict]) -> list[Any]:
    """Build the pipeline steps that change images.

    Args:
        cfg (Config): Config that defines the default scope.
        pipeline (list[dict]): Configs of the transforms.

    Returns:
        list[BaseTransform]: Transforms without those that read files or pack tensors.
    """
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        return [
            TRANSFORMS.build(deepcopy(dict(settings)))
            for settings in pipeline
            if not _short(settings["type"]).startswith(SKIPPED)
        ]


def training_pipeline(cfg: Config) -> list[dict]:
    """Return the pipeline of the training images.

    Args:
        cfg (Config): Resolved training config.

    Returns:
        list[dict]: Steps of the pipeline; empty if the dataset has none.
    """
    return cfg.train_dataloader.dataset.get("pipeline") or []


def test_pipeline(cfg: Config) -> list[dict]:
    """Return the pipeline of the test images, or of the validation images if there is no test.

    Args:
        cfg (Config): Resolved training config.

    Returns:
        list[dict]: Steps of the pipeline; empty if there are none.
    """
    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader")
    return (loader.dataset.get("pipeline") or []) if loader else []


def describe_training_images(cfg: Config, draws: int = DRAWS) -> dict[str, Any]:
    """Apply each step of the training pipeline to the test image.

    Args:
        cfg (Config): Resolved training config.
        draws (int): Number of samples of each step. Defaults to 24.

    Returns:
        dict: Settings and effect of each step. The effect is the output size; if that equals the
        input size, also the fraction of samples in which the image changed, and the mean
        difference of the values, out of 255.
    """
    return _describe(cfg, training_pipeline(cfg), draws)


def describe_test_images(cfg: Config) -> dict[str, Any]:
    """Apply each step of the test pipeline to the test image.

    Args:
        cfg (Config): Resolved training config.

    Returns:
        dict: See :func:`describe_training_images`; empty if there is no test pipeline.
    """
    return _describe(cfg, test_pipeline(cfg), 1)


def describe_normalization(cfg: Config) -> dict[str, Any]:
    """Describe mean, standard deviation and channel order of the normalization.

    Args:
        cfg (Config): Resolved training config.

    Returns:
        dict: Settings of the preprocessor.
    """
    settings = dict(cfg.get("data_preprocessor") or {})
    settings.update(cfg.model.get("data_preprocessor") or {})
    kept = ("mean", "std", "to_rgb", "bgr_to_rgb")
    order = {"channel order of the pipeline": channel_order(cfg)}
    return {**order, **{key: settings[key] for key in kept if key in settings}}


def describe_mixing(cfg: Config) -> dict[str, Any]:
    """Describe the batch augmentations and label smoothing.

    Args:
        cfg (Config): Resolved training config.

    Returns:
        dict: Alpha and probability of each augmentation, and the label smoothing.
    """
    train_cfg = cfg.model.get("train_cfg") or {}
    augments = train_cfg.get("augments") or [] if isinstance(train_cfg, Mapping) else []
    augments = [augments] if isinstance(augments, Mapping) else augments
    shares = train_cfg.get("probs") or [1 / len(augments)] * len(augments) if augments else []
    found: dict[str, Any] = {
        _short(one["type"]): {"alpha": one.get("alpha"), "share of batches": share}
        for one, share in zip(augments, shares, strict=True)
    }
    head = cfg.model.get("head") or {}
    loss = head.get("loss") or {} if isinstance(head, Mapping) else {}
    return {**found, "label smoothing": loss.get("label_smooth_val", 0.0)}


def _describe(cfg: Config, pipeline: list[dict], draws: int) -> dict[str, Any]:
    sample = _stored_sample(cfg)
    found: dict[str, Any] = {}
    for number, step in enumerate(build_steps(cfg, pipeline)):
        name = type(step).__name__
        if name == "LoadAnnotations" and "gt_seg_map" in sample:
            continue
        found[f"{number} {name}"], sample = _effect(step, sample, draws)
    return found


def settings_of(step: Any) -> dict[str, Any]:
    """Describe the settings of a built transform, including defaults.

    Args:
        step (BaseTransform): Transform whose settings are read.

    Returns:
        dict: Its plain attributes.
    """
    return {key: value for key, value in vars(step).items() if _is_plain(key, value)}


def _is_plain(key: str, value: Any) -> bool:
    if key.startswith("_") or key == "policies":
        return False
    if isinstance(value, Mapping):
        return all(_is_plain(str(name), child) for name, child in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain("", child) for child in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _stored_sample(cfg: Config) -> dict[str, Any]:
    """Sample of the test image as after loading."""
    is_cifar = _short(kind_of(cfg.train_dataloader.dataset)).startswith("CIFAR")
    image = stored_image(*((CIFAR, CIFAR) if is_cifar else (HEIGHT, WIDTH)))
    image = image if channel_order(cfg) == "RGB" else np.ascontiguousarray(image[..., ::-1])
    image = _with_channels(image, _channels_of(cfg))
    shape = image.shape[:2]
    sample: dict[str, Any] = dict(img=image, img_shape=shape, ori_shape=shape, sample_idx=0)
    scope = cfg.get("default_scope")
    if scope == "mmseg":
        labels = (image.reshape(*shape, -1)[..., 0] // 64).astype(np.uint8)
        return dict(sample, gt_seg_map=labels, seg_fields=["gt_seg_map"], reduce_zero_label=False)
    if scope == "mmdet":
        return dict(sample, instances=_instances(*shape), height=shape[0], width=shape[1])
    return dict(sample, gt_label=0)


def _channels_of(cfg: Config) -> int:
    """Number of channels of the images after loading."""
    steps = training_pipeline(cfg)
    loaders = [one for one in steps if _short(one["type"]) in SKIPPED[:2]]
    bands = bool(loaders) and _short(loaders[0]["type"]) == "LoadImageBands"
    color_type = loaders[0].get("color_type", "color") if loaders else "color"
    color_type = "unchanged" if bands else color_type
    mean = describe_normalization(cfg).get("mean")
    if color_type == "unchanged" and mean is not None:
        return len(mean)
    return 1 if color_type.startswith("grayscale") else 3


def _with_channels(image: np.ndarray, count: int) -> np.ndarray:
    if count == 1:
        return image.mean(-1).round().astype(np.uint8)
    further = np.repeat(image.max(-1, keepdims=True), max(0, count - 3), axis=-1)  # such as alpha
    return np.concatenate([image[..., :count], further], axis=-1)


def _instances(height: int, width: int) -> list[dict]:
    boxes = ((0.1, 0.1, 0.4, 0.5), (0.4, 0.4, 0.8, 0.9))
    found = []
    for left, top, right, bottom in boxes:
        x1, y1, x2, y2 = left * width, top * height, right * width, bottom * height
        mask = [[x1, y1, x2, y1, x2, y2, x1, y2]]
        found.append(dict(bbox=[x1, y1, x2, y2], bbox_label=0, mask=mask, ignore_flag=0))
    return found


def _effect(step: Any, sample: dict[str, Any], draws: int) -> tuple[dict, dict]:
    """Settings and effect of a step, and its first output sample."""
    measured, first = _measure(step, sample, draws)
    entry = {**settings_of(step), **measured}
    inner = getattr(step, "transforms", None)
    if not isinstance(inner, list):
        return entry, first
    if all(hasattr(one, "prob") for one in inner):
        return {**entry, "operations": _operations(inner, sample, draws)}, first
    for number, branch in enumerate(inner):
        state = sample
        for one in branch.transforms:
            name = f"choice {number} {type(one).__name__}"
            entry[name], state = _effect(one, state, draws)
    return entry, first


def _operations(operations: list[Any], sample: dict[str, Any], draws: int) -> dict[str, Any]:
    found = {}
    for operation in operations:
        operation = deepcopy(operation)
        chance, operation.prob = operation.prob, 1.0
        name = getattr(operation, "name", type(operation).__name__)
        if getattr(operation, "direction", None):
            name = f"{name} {operation.direction}"
        entry, _ = _measure(operation, sample, draws)
        found[name] = {"applied with": chance, **entry}
    return found


def _measure(step: Any, sample: dict[str, Any], draws: int) -> tuple[dict, dict]:
    shape = sample["img"].shape[:2]
    before = sample["img"].reshape(*shape, -1).astype(np.float64)
    results = []
    for seed in range(draws):
        _seed(seed)
        results.append(step(deepcopy(sample)))
    results = [result for result in results if result is not None]  # mmdet drops empty crops
    if not results:
        return {"effect": "no image left"}, sample
    shapes = sorted({result["img"].shape[:2] for result in results})
    entry: dict[str, Any] = {"size": _sizes(shapes)}
    if shapes == [shape]:
        images = [result["img"].reshape(*shape, -1) for result in results]
        changes = [float(np.abs(image - before).mean()) for image in images]
        entry["changed"] = sum(change > 0 for change in changes) / len(changes)
        entry["mean change"] = round(sum(changes) / len(changes), 3)
    return entry, results[0]


def _sizes(shapes: list[tuple[int, int]]) -> str:
    names = [f"{height}x{width}" for height, width in shapes]
    return " or ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]}"


def _seed(seed: int) -> None:
    import random

    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _short(name: Any) -> str:
    return getattr(name, "__name__", str(name)).split(".")[-1]
