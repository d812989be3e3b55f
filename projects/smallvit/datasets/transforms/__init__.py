"""Augmentations as timm does them, on images whose order of colors is known."""

from smallvit.datasets.transforms.color_jitter import ColorJitter
from smallvit.datasets.transforms.rand_augment import RandAugment
from smallvit.datasets.transforms.random_erasing import RandomErasing

__all__ = ["ColorJitter", "RandAugment", "RandomErasing"]
