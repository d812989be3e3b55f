"""The ``smallvit`` scope: one child for each MMEngine root registry that we fill.

MMEngine imports this module by itself when a config says ``smallvit.X``, and then
the ``locations`` of the registry asked. Only mmengine may be imported here: an
ImportError raised in this file would be reported as "not in the registry".
"""

from mmengine.registry import DATA_SAMPLERS as ROOT_DATA_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import FUNCTIONS as ROOT_FUNCTIONS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import LOOPS as ROOT_LOOPS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODEL_WRAPPERS as ROOT_MODEL_WRAPPERS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as ROOT_PARAM_SCHEDULERS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from mmengine.registry import Registry


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(
        parent.name,
        parent=parent,
        scope="smallvit",
        locations=[f"smallvit.{location}" for location in locations],
    )


MODELS = _child(
    ROOT_MODELS,
    "backbones",
    "datasets.in_memory.preprocessor",
    "plugins.dw_shortcut",
    "plugins.locality_guidance",
    "plugins.multi_exit",
    "plugins.self_supervision",
)
DATASETS = _child(
    ROOT_DATASETS,
    "datasets.chaoyang",
    "datasets.class_folders",
    "datasets.digits",
    "datasets.domainnet",
    "datasets.in_memory.images",
    "datasets.inaturalist",
    "datasets.label_map_folder",
    "datasets.label_table",
    "datasets.subset",
    "datasets.tiny_imagenet",
    "datasets.unlabeled",
    "datasets.without_labels",
)
DATA_SAMPLERS = _child(ROOT_DATA_SAMPLERS, "datasets.samplers")
TRANSFORMS = _child(
    ROOT_TRANSFORMS,
    "datasets.image_bands",
    "datasets.label_maps",
    "datasets.pixels",
    "datasets.transforms",
    "plugins.locality_guidance.transforms",
)
FUNCTIONS = _child(ROOT_FUNCTIONS, "datasets.in_memory.batches")
METRICS = _child(ROOT_METRICS, "engine", "plugins.multi_exit")
HOOKS = _child(ROOT_HOOKS, "engine", "plugins.multi_exit", "plugins.self_supervision")
LOOPS = _child(ROOT_LOOPS, "engine")
MODEL_WRAPPERS = _child(ROOT_MODEL_WRAPPERS, "engine")
OPTIM_WRAPPERS = _child(ROOT_OPTIM_WRAPPERS, "engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child(ROOT_OPTIM_WRAPPER_CONSTRUCTORS, "engine")
PARAM_SCHEDULERS = _child(ROOT_PARAM_SCHEDULERS, "engine.schedules")
WEIGHT_INITIALIZERS = _child(ROOT_WEIGHT_INITIALIZERS, "plugins.initialization")
