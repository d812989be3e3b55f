"""Initialize after the submodules, whose own ``init_weights`` would otherwise take precedence."""

from collections.abc import Sequence

import torch
from mmengine.model import PretrainedInit, initialize, update_init_info
from torch import Tensor, nn

from smallvit.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class FinalInit:
    """Apply initializers after the submodules have run their own ``init_weights``.

    MMEngine initializes from the outermost module inward: the ``init_weights`` of a backbone
    overwrites the effect of the model's ``init_cfg``. This initializer reverses the order, so
    that a config can override the initialization of any network::

        model = dict(
            type="ImageClassifier",
            init_cfg=dict(
                type="smallvit.FinalInit",
                modules=["backbone"],
                init_cfg=[
                    dict(type="TruncNormal", layer="Linear", std=0.02),
                    dict(type="smallvit.ParameterInit", names=["cls_token"], std=0.02),
                ],
            ),
            ...,
        )

    Submodules that load a checkpoint (``init_cfg`` of type "Pretrained") keep the loaded
    weights.

    Args:
        init_cfg (dict | list[dict]): Configs of the initializers, applied in order.
        modules (Sequence[str], optional): Names of the submodules to apply them to.
            Defaults to None, the module itself.
    """

    def __init__(self, init_cfg: dict | list[dict], modules: Sequence[str] | None = None) -> None:
        self.init_cfg = init_cfg
        self.modules = [""] if modules is None else list(modules)

    def __call__(self, module: nn.Module) -> None:
        """Initialize a module, its submodules first.

        Args:
            module (nn.Module): Module to which the ``init_cfg`` belongs.

        Raises:
            AttributeError: If a name in ``modules`` is not one of its submodules.
        """
        targets = [module.get_submodule(name) for name in self.modules]
        initialize_children(module)
        for target in targets:
            loaded = _loaded_values(target)
            initialize(target, self.init_cfg)
            with torch.no_grad():
                for parameter, value in loaded:
                    parameter.copy_(value)
        note(module, f"FinalInit: {self.init_cfg}")


def initialize_children(module: nn.Module) -> None:
    """Call ``init_weights`` of each child that has not been initialized yet.

    Args:
        module (nn.Module): Module that is being initialized.
    """
    for child in module.children():
        if hasattr(child, "init_weights") and not getattr(child, "is_init", False):
            child.init_weights()
            child.is_init = True  # otherwise MMEngine would initialize it again
    note(module, "Initialized by the submodules themselves")


def note(module: nn.Module, text: str) -> None:
    """Add an entry to MMEngine's record of parameter initialization.

    Args:
        module (nn.Module): Module that is being initialized.
        text (str): Description of the initializer that changed the parameters.
    """
    if hasattr(module, "_params_init_info"):
        update_init_info(module, init_info=text)


def _loaded_values(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Collect the parameters loaded from a checkpoint, with copies of their values."""
    loading = [child for child in module.modules() if loads_weights(child)]
    parameters = {p for child in loading for p in child.parameters()}
    return [(parameter, parameter.detach().clone()) for parameter in parameters]


def loads_weights(module: nn.Module) -> bool:
    """Check whether the ``init_cfg`` of a module loads a checkpoint.

    Args:
        module (nn.Module): Module with or without an ``init_cfg``.

    Returns:
        bool: Whether an entry of its ``init_cfg`` is of type "Pretrained".
    """
    init_cfg = getattr(module, "init_cfg", None) or []
    entries = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    return any(entry["type"] in ("Pretrained", PretrainedInit) for entry in entries)
