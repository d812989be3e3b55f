"""Data sets and transforms that MMPretrain does not have."""

from smallvit.datasets.chaoyang import Chaoyang
from smallvit.datasets.class_folders import ClassFolders
from smallvit.datasets.digits import Digits
from smallvit.datasets.domainnet import DomainNet
from smallvit.datasets.inaturalist import INaturalist
from smallvit.datasets.subset import Subset
from smallvit.datasets.tiny_imagenet import TinyImageNet

__all__ = [
    "Chaoyang",
    "ClassFolders",
    "Digits",
    "DomainNet",
    "INaturalist",
    "Subset",
    "TinyImageNet",
]
