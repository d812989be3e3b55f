"""Fake datasets in the original layouts, and fast initialization of models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_data import WRITERS, checksums

FILLERS = ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "trunc_normal_")


@pytest.fixture
def uninitialized(monkeypatch):
    """Initialize parameters with zeros, which is ten times as fast as random numbers."""
    import torch

    def zeros(tensor, *args, **kwargs):
        with torch.no_grad():
            return tensor.zero_()

    for name in FILLERS:
        monkeypatch.setattr(torch.nn.init, name, zeros)


@pytest.fixture
def without_weights(monkeypatch):
    """Do not initialize parameters at all, for models of which only the shapes matter."""
    import torch

    for name in FILLERS:
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)


@pytest.fixture(scope="session")
def noise():
    """One million small random numbers."""
    import torch

    return torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02


@pytest.fixture
def quick_weights(monkeypatch, noise):
    """Initialize all parameters from the same small random numbers: fast, and trainable."""
    import torch

    def copy(tensor, *args, **kwargs):
        with torch.no_grad():
            for piece in tensor.reshape(-1).split(len(noise)):
                piece.copy_(noise[: len(piece)])
        return tensor

    for name in FILLERS:
        monkeypatch.setattr(torch.nn.init, name, copy)


@pytest.fixture(scope="session")
def fake_data(tmp_path_factory, digit_scenes) -> Path:
    """A folder with small datasets for all configs in ``data``."""
    root = tmp_path_factory.mktemp("fake")
    for name, write in WRITERS.items():
        write(root / "data" / name)
    (root / "data" / "digit_scenes").symlink_to(digit_scenes)
    return root


@pytest.fixture
def in_fake_data(fake_data, monkeypatch) -> Path:
    """Run in the folder with fake datasets, with the checksums of the fake CIFAR files."""
    from mmpretrain.datasets import CIFAR10, CIFAR100

    monkeypatch.chdir(fake_data)
    for cls in (CIFAR10, CIFAR100):
        for attribute, value in checksums(fake_data / "data" / cls.__name__.lower(), cls):
            monkeypatch.setattr(cls, attribute, value)
    return fake_data


@pytest.fixture
def quick_build() -> Iterator[None]:
    """Skip the slowest part of building small models and datasets.

    This is the log of the settings of each parameter.
    """
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    yield
    logger.setLevel(level)
