"""Error of stored features relative to the teacher's features of the same augmented images."""

from __future__ import annotations

from itertools import islice

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed

from smallvit.engine.install import install
from smallvit.engine.models import build_model
from smallvit.errors import FeatureStoreError


@torch.no_grad()
def store_error(cfg: Config, batches: int, device: str = "cpu", seed: int = 0) -> list[float]:
    """Compute the relative error of stored features on augmented training images.

    Args:
        cfg (Config): Guided config that names its teacher, with a checkpoint, and the store.
        batches (int): Number of batches of ``train_dataloader``.
        device (str): Device of the teacher. Defaults to "cpu".
        seed (int): Seed of the order and the augmentation of the images. Defaults to 0.

    Returns:
        list[float]: For each stage, the root mean squared error relative to the root mean
        square of the teacher's maps.

    Raises:
        FeatureStoreError: If the config has no store or no teacher, or the store is of another
            teacher.
    """
    guidance = cfg.model.get("guidance") or {}
    if not guidance.get("store") or not guidance.get("teacher"):
        raise FeatureStoreError(
            "the config must set guidance.store and guidance.teacher, which are compared"
        )
    init_default_scope(cfg.get("default_scope") or "mmpretrain")
    install(cfg.get("default_scope"))
    set_random_seed(seed)
    model = build_model(cfg).to(device)
    guide, preprocessor = model.guidance, model.data_preprocessor
    guide.stored.check(guide.teacher)
    found = []
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=seed)
    for batch in islice(loader, batches):
        data = preprocessor(batch, training=True)
        images = data["inputs"]
        stored = guide.stored.maps(data["data_samples"], images, preprocessor)
        online, _ = guide.teacher(guide.teacher.preprocess(images, preprocessor))
        found.append(
            [
                ((each - own.float()).square().sum(), own.float().square().sum())
                for each, own in zip(stored, online, strict=True)
            ]
        )
    sums = torch.tensor(found).sum(dim=0)
    return (sums[:, 0] / sums[:, 1]).sqrt().tolist()
