"""Task of a model, and random input batches for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import nn

#: Tasks by the library that defines a model's base class.
LIBRARY_TASKS = {"mmpretrain": "classification", "mmdet": "detection", "mmseg": "segmentation"}

#: Input sizes (height, width) for which FLOPs are published.
PUBLISHED_SHAPES = {
    "classification": (224, 224),
    "detection": (800, 1280),
    "segmentation": (512, 2048),
}


def task_of(model: nn.Module) -> str:
    """Determine the task of a built model from the library of its base class.

    Args:
        model (nn.Module): A classifier of MMPretrain, a detector of mmdet or a
            segmentor of mmseg.

    Returns:
        str: "classification", "detection" or "segmentation".

    Raises:
        TypeError: If the model belongs to none of the three libraries.
    """
    for cls in type(model).__mro__:
        task = LIBRARY_TASKS.get(cls.__module__.split(".")[0])
        if task is not None:
            return task
    raise TypeError(
        f"cannot determine the task of {type(model).__name__}, which is not a model of "
        f"{', '.join(LIBRARY_TASKS)}"
    )


def fake_batch(
    model: nn.Module,
    shape: tuple[int, int],
    batch_size: int = 1,
    seed: int = 0,
    channels: int = 3,
) -> dict[str, Any]:
    """Create a random batch in the format of the model's data loader.

    Args:
        model (nn.Module): Model that receives the batch.
        shape (tuple[int, int]): Height and width of the images.
        batch_size (int): Number of images. Defaults to 1.
        seed (int): Seed of the random images and labels. Defaults to 0.
        channels (int): Channels C of the images. Defaults to 3.

    Returns:
        dict: ``inputs`` and ``data_samples`` for the data preprocessor. ``inputs`` is a uint8
        tensor (B, C, H, W) for classification, otherwise a list of B tensors (C, H, W).
    """
    task = task_of(model)
    rng = np.random.default_rng(seed)
    size = (batch_size, channels, *shape)
    images = torch.from_numpy(rng.integers(0, 256, size=size, dtype=np.uint8))
    make_sample = {
        "classification": _classification_sample,
        "detection": _detection_sample,
        "segmentation": _segmentation_sample,
    }[task]
    samples = [make_sample(model, shape, rng) for _ in range(batch_size)]
    inputs = images if task == "classification" else list(images)
    return {"inputs": inputs, "data_samples": samples}


def _num_classes(model: nn.Module) -> int:
    """Smallest number of classes of the model's heads, for which all labels are valid."""
    counts = [
        module.num_classes
        for module in model.modules()
        if isinstance(getattr(module, "num_classes", None), int) and module.num_classes > 0
    ]
    return min(counts, default=1)


def _image_meta(shape: tuple[int, int]) -> dict[str, Any]:
    return {
        "img_id": 0,
        "img_path": "",
        "img_shape": shape,
        "ori_shape": shape,
        "pad_shape": shape,
        "batch_input_shape": shape,
        "scale_factor": (1.0, 1.0),
        "flip": False,
        "flip_direction": None,
    }


def _classification_sample(model: nn.Module, shape: tuple[int, int], rng) -> Any:
    from mmpretrain.structures import DataSample

    sample = DataSample(metainfo={"img_shape": shape, "num_classes": _num_classes(model)})
    return sample.set_gt_label(int(rng.integers(_num_classes(model))))


def _detection_sample(model: nn.Module, shape: tuple[int, int], rng, instances: int = 8) -> Any:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    height, width = shape
    corners = rng.random((instances, 2)) * 0.7
    sizes = 0.1 + rng.random((instances, 2)) * 0.2
    scale = np.array([width, height])
    boxes = np.concatenate([corners * scale, (corners + sizes) * scale], axis=1)
    masks = np.zeros((instances, height, width), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top : bottom + 1, left : right + 1] = 1
    sample = DetDataSample(metainfo=_image_meta(shape))
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes).float(),
        labels=torch.from_numpy(rng.integers(_num_classes(model), size=instances)),
        masks=BitmapMasks(masks, height, width),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    return sample


def _segmentation_sample(model: nn.Module, shape: tuple[int, int], rng) -> Any:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    labels = rng.integers(_num_classes(model), size=(1, *shape))
    return SegDataSample(
        metainfo=_image_meta(shape), gt_sem_seg=PixelData(data=torch.from_numpy(labels))
    )
