"""Augmentations with the implementations of timm, for a configurable channel order."""

from smallvit.datasets.transforms.color_jitter import ColorJitter
from smallvit.datasets.transforms.rand_augment import RandAugment
from smallvit.datasets.transforms.random_erasing import RandomErasing

__all__ = ["ColorJitter", "RandAugment", "RandomErasing"]
