"""Monitor feature quality during pretraining and warn of collapse."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dataset import default_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch import Tensor

from smallvit.engine.unreadable import is_unreadable
from smallvit.hosts import vector_of
from smallvit.registry import HOOKS

#: A spread below this counts as collapsed; random directions have a spread of 1.
COLLAPSED = 0.1
#: Number of nearest neighbors that vote, and batch size of the forward pass.
NEIGHBORS, BATCH = 10, 64


@HOOKS.register_module()
class PretrainingMonitor(Hook):
    """Log the rank, spread and k-NN accuracy of features during pretraining.

    Logs ``pretraining/rank``, the effective rank of the features (the exponential of the
    entropy of their singular values), ``pretraining/spread``, the standard deviation of their
    directions (0: all equal, 1: random directions), and, if folders are classes,
    ``pretraining/knn``, the accuracy of a nearest-neighbor vote in percent. Warns if the features
    have collapsed. Unreadable images are left out, as in training.

    Args:
        dataset (dict): Config of a dataset without random transforms.
        interval (int): Epochs between two measurements. Defaults to 1.
        num_images (int): Number of images to measure on, spread evenly over the dataset. Defaults
            to 512.
        labels_by_folder (bool): Whether the folder of an image is its class. Defaults to False.
    """

    def __init__(
        self,
        dataset: dict,
        interval: int = 1,
        num_images: int = 512,
        labels_by_folder: bool = False,
    ) -> None:
        self.settings = dataset
        self.interval = interval
        self.num_images = num_images
        self.labels_by_folder = labels_by_folder
        self._dataset: Any = None

    def after_train_epoch(self, runner: Runner) -> None:
        """Measure and log the features every ``interval`` epochs and after the last one."""
        last = runner.epoch + 1 == runner.max_epochs
        if not is_main_process() or not (last or self.every_n_epochs(runner, self.interval)):
            return
        found = self.measure(getattr(runner.model, "module", runner.model))
        for name, value in found.items():
            runner.visualizer.add_scalar(name, value, runner.iter)
            runner.message_hub.update_scalar(name, value)
        said = "  ".join(f"{name}: {value:.4g}" for name, value in found.items())
        runner.logger.info(f"Epoch(features) [{runner.epoch + 1}]  {said}")
        if found["pretraining/spread"] < COLLAPSED:
            runner.logger.warning(
                "the features of different images are nearly the same (spread "
                f"{found['pretraining/spread']:.3f}, effective rank "
                f"{found['pretraining/rank']:.1f}): the pretraining has collapsed, or has not "
                "started to learn. A smaller learning rate or other crops may help"
            )

    def measure(self, model: Any) -> dict[str, float]:
        """Measure the features of a model.

        Args:
            model (nn.Module): Self-supervised model of MMPretrain.

        Returns:
            dict[str, float]: Rank, spread and, with labels, nearest-neighbor accuracy.
        """
        features, folders = self._features(model)
        found = {
            "pretraining/rank": effective_rank(features),
            "pretraining/spread": spread(features),
        }
        if self.labels_by_folder:
            found["pretraining/knn"] = neighbor_accuracy(features, folders)
        return found

    def _features(self, model: Any) -> tuple[Tensor, list[str]]:
        if self._dataset is None:
            self._dataset = DATASETS.build(self.settings)
        device = next(model.parameters()).device
        training, states = model.training, torch.get_rng_state()
        model.eval()
        features, folders = [], []
        with torch.no_grad():
            for samples in self._batches():
                batch = model.data_preprocessor(default_collate(samples), False)
                vectors = vector_of(model.extract_feat(batch["inputs"].to(device)))
                features.append(vectors.float().cpu())
                paths = [sample["data_samples"].img_path for sample in samples]
                folders += [osp.dirname(path) for path in paths]
        model.train(training)
        torch.set_rng_state(states)
        return torch.cat(features), folders

    def _batches(self) -> Iterator[list]:
        count = len(self._dataset)
        step = max(1, count // self.num_images)
        samples = []
        for index in range(0, count, step)[: self.num_images]:
            sample = self._read(index)
            samples += [] if sample is None else [sample]
            if len(samples) == BATCH:
                yield samples
                samples = []
        if samples:
            yield samples

    def _read(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except Exception as error:
            if not is_unreadable(error):
                raise
            return None  # BadSampleHook names it


def effective_rank(features: Tensor) -> float:
    """Compute the exponential of the entropy of the singular values of the centered features.

    Args:
        features (Tensor): (N, C).

    Returns:
        float: From 1, if all features lie on one line, to min(N, C).
    """
    values = torch.linalg.svdvals(features - features.mean(dim=0))
    shares = values / values.sum().clamp(min=1e-12)
    return float((-(shares * (shares + 1e-12).log()).sum()).exp())


def spread(features: Tensor) -> float:
    """Compute the standard deviation of the directions of features.

    Args:
        features (Tensor): (N, C).

    Returns:
        float: 0 if all directions are equal, about 1 for random directions.
    """
    directions = F.normalize(features, dim=1)
    return float(directions.std(dim=0).mean() * features.shape[1] ** 0.5)


def neighbor_accuracy(features: Tensor, labels: list[str]) -> float:
    """Compute the leave-one-out k-nearest-neighbor accuracy.

    Args:
        features (Tensor): (N, C).
        labels (list[str]): Class names of the N images.

    Returns:
        float: Accuracy in percent.
    """
    names = sorted(set(labels))
    known = torch.tensor([names.index(label) for label in labels])
    directions = F.normalize(features, dim=1)
    similar = directions @ directions.T
    similar.fill_diagonal_(-2)
    nearest = similar.topk(min(NEIGHBORS, len(labels) - 1), dim=1)
    votes = torch.zeros(len(labels), len(names))
    votes.scatter_add_(1, known[nearest.indices], nearest.values.exp())
    return float(100 * (votes.argmax(dim=1) == known).float().mean())
