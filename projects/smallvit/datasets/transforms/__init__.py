"""Augmentations of timm for images with a known channel order."""

from smallvit.datasets.transforms.color_jitter import ColorJitter
from smallvit.datasets.transforms.rand_augment import RandAugment
from smallvit.datasets.transforms.random_erasing import RandomErasing

__all__ = ["ColorJitter", "RandAugment", "RandomErasing"]
