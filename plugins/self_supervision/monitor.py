"""What features look like while a network is pretrained: do they tell images apart?"""

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

from smallvit.hosts import vector_of
from smallvit.registry import HOOKS

#: Spread below which the features of all images are about the same: 1 is that of random
#: directions.
COLLAPSED = 0.1
#: Neighbors that vote, and images in a forward pass.
NEIGHBORS, BATCH = 10, 64


@HOOKS.register_module()
class PretrainingMonitor(Hook):
    """Say every few epochs what the features of some images are like.

    Logged are ``pretraining/rank``, the effective rank of the features (the exponential of the
    entropy of their singular values), ``pretraining/spread``, the deviation of their directions
    (0: all alike, 1: random directions), and, where folders are classes,
    ``pretraining/knn``, how often the classes of the nearest neighbors are right, in percent. A
    run whose features have collapsed is warned of.

    Args:
        dataset (dict): Data set without random transforms.
        interval (int): Epochs between two looks. Defaults to 1.
        num_images (int): Images that are looked at, spread over the data. Defaults to 512.
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
        """Look at the features.

        Args:
            runner (Runner): The runner.
        """
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
                f"{found['pretraining/rank']:.1f}): the pretraining has collapsed, or not begun to "
                "learn; a smaller learning rate or other crops may help"
            )

    def measure(self, model: Any) -> dict[str, float]:
        """Measure the features of a model.

        Args:
            model (nn.Module): A self-supervised model.

        Returns:
            dict[str, float]: Rank, spread and, with labels, accuracy of the neighbors.
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
        indices = range(0, count, step)[: self.num_images]
        for start in range(0, len(indices), BATCH):
            yield [self._dataset[index] for index in indices[start : start + BATCH]]


def effective_rank(features: Tensor) -> float:
    """Compute the exponential of the entropy of the singular values.

    Args:
        features (Tensor): (N, C).

    Returns:
        float: From 1, all on one line, to min(N, C).
    """
    values = torch.linalg.svdvals(features - features.mean(dim=0))
    shares = values / values.sum().clamp(min=1e-12)
    return float((-(shares * (shares + 1e-12).log()).sum()).exp())


def spread(features: Tensor) -> float:
    """Compute the deviation of the directions of features.

    Args:
        features (Tensor): (N, C).

    Returns:
        float: 0 where all are the same, about 1 for random directions.
    """
    directions = F.normalize(features, dim=1)
    return float(directions.std(dim=0).mean() * features.shape[1] ** 0.5)


def neighbor_accuracy(features: Tensor, labels: list[str]) -> float:
    """Vote on each image by the classes of its nearest neighbors.

    Args:
        features (Tensor): (N, C).
        labels (list[str]): N classes.

    Returns:
        float: How many votes are right, in percent.
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
