"""Load a trained cascade and its data without a Runner."""

from __future__ import annotations

import os

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from smallvit.engine.models import build_model, load_weights
from smallvit.plugins.multi_exit.calibration import Calibration, CalibrationError
from smallvit.plugins.multi_exit.storage import read_calibration


def load_cascade(
    cfg: Config, checkpoint: str | os.PathLike, device: str = "cpu"
) -> tuple[nn.Module, dict]:
    """Build the classifier of a config and load its weights and calibration.

    Args:
        cfg (Config): Config with a ``model`` of type ``smallvit.MultiExitClassifier``.
        checkpoint (str | os.PathLike): Path of the checkpoint, calibrated or not.
        device (str): Device of the model. Defaults to "cpu".

    Returns:
        tuple[nn.Module, dict]: The model in evaluation mode, whose ``calibration`` is None if
        the file has none, and the content of the file.

    Raises:
        CalibrationError: If the model has no exits, or their number does not match the
            calibration.
        CheckpointError: If the weights do not match the model.
    """
    init_default_scope(cfg.get("default_scope") or "mmpretrain")
    model = build_model(cfg)
    if not hasattr(model, "predict_budgeted"):
        raise CalibrationError(
            f"{cfg.filename}: expected type='smallvit.MultiExitClassifier', got "
            f"{type(model).__name__}, which has no exits"
        )
    content = load_weights(model, checkpoint)
    return model.to(device), content


def require_calibration(model: nn.Module, checkpoint: str | os.PathLike) -> Calibration:
    """Return the calibration of a loaded model, or raise an error if there is none.

    Args:
        model (nn.Module): Model that :func:`load_cascade` returned.
        checkpoint (str | os.PathLike): Path of its checkpoint, for the error.

    Returns:
        Calibration: Calibration of the model.

    Raises:
        CalibrationError: If the model has no calibration.
    """
    if model.calibration is None:
        return read_calibration({}, str(checkpoint))
    return model.calibration


def build_loader(
    settings: dict, num_images: int | None = None, batch_size: int | None = None, seed: int = 0
) -> DataLoader:
    """Build a data loader, optionally of a random subset of the images.

    Args:
        settings (dict): Config of the loader.
        num_images (int, optional): Maximum number of images. Defaults to None, all.
        batch_size (int, optional): Overrides the batch size of the config. Defaults to None.
        seed (int): Seed of the random subset. Defaults to 0.

    Returns:
        DataLoader: Loader without shuffling that yields each image once.
    """
    settings = dict(settings, sampler=dict(type="DefaultSampler", shuffle=False))
    settings.setdefault("collate_fn", dict(type="default_collate"))
    if batch_size is not None:
        settings["batch_size"] = batch_size
    if not settings.get("num_workers"):
        settings["persistent_workers"] = False
    dataset = DATASETS.build(settings["dataset"])
    dataset.full_init()
    if num_images is not None and num_images < len(dataset):
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
        dataset = Subset(dataset, order[:num_images].sort().values.tolist())
    return Runner.build_dataloader(dict(settings, dataset=dataset))


def load_images(model: nn.Module, loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Load and preprocess all images of a loader on the model's device.

    Args:
        model (nn.Module): Classifier with a data preprocessor.
        loader (DataLoader): Batches before the data preprocessor.

    Returns:
        tuple[Tensor, Tensor]: Images (N, C, H, W) and labels, int64 (N, ) on the CPU.
    """
    images, labels = [], []
    for batch in loader:
        data = model.data_preprocessor(batch, training=False)
        images.append(data["inputs"])
        labels += [int(sample.gt_label) for sample in data["data_samples"]]
    return torch.cat(images), torch.tensor(labels)
