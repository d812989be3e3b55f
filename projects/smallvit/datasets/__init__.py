"""Datasets that MMPretrain lacks; ``io`` reads and writes their files, ``transforms`` augments.

The datasets are imported on first use, because they need MMPretrain, which the other modules here,
used by detectors as well, do not.
"""

from importlib import import_module
from typing import Any

#: Datasets and transforms, by the module that registers them.
_MODULES = {
    "Chaoyang": "chaoyang",
    "ClassBalancedSampler": "samplers",
    "ClassFolders": "class_folders",
    "ColorJitter": "transforms",
    "Digits": "digits",
    "DomainNet": "domainnet",
    "InMemory": "in_memory",
    "INaturalist": "inaturalist",
    "LabelTable": "label_table",
    "LabelMaps": "label_map_folder",
    "LoadImageBands": "image_bands",
    "RandAugment": "transforms",
    "RandomErasing": "transforms",
    "Subset": "subset",
    "TinyImageNet": "tiny_imagenet",
    "UnlabeledImages": "unlabeled",
    "WithoutLabels": "without_labels",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
