"""Datasets not included in MMPretrain, with file I/O in ``io`` and augmentation in ``transforms``.

The datasets are imported lazily because they require MMPretrain. The other modules of this package
do not, and are also used for detection.
"""

from importlib import import_module
from typing import Any

#: Mapping from dataset and transform names to the modules that register them.
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
