"""Initialize behind the submodules, whose own ``init_weights`` would otherwise win."""

from collections.abc import Sequence

import torch
from mmengine.model import PretrainedInit, initialize, update_init_info
from torch import Tensor, nn

from smallvit.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class FinalInit:
    """Let the submodules initialize themselves first, then apply other initializers.

    MMEngine initializes from the outside to the inside: what a backbone does in its
    ``init_weights`` replaces what the model's ``init_cfg`` says. This initializer turns
    the order around, so a config can give any network the weights that it wants::

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

    Submodules that load a checkpoint (``init_cfg`` of type "Pretrained") keep what they
    loaded.

    Args:
        init_cfg (dict | list[dict]): What to apply, in order.
        modules (Sequence[str], optional): Names of the submodules that it is applied to.
            Defaults to None, the module itself.
    """

    def __init__(self, init_cfg: dict | list[dict], modules: Sequence[str] | None = None) -> None:
        self.init_cfg = init_cfg
        self.modules = [""] if modules is None else list(modules)

    def __call__(self, module: nn.Module) -> None:
        """Initialize a module.

        Args:
            module (nn.Module): The module to which the ``init_cfg`` belongs.

        Raises:
            AttributeError: If it has no submodule of a given name.
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
    """Have the submodules initialize themselves, each once.

    Args:
        module (nn.Module): A module that is being initialized.
    """
    for child in module.children():
        if hasattr(child, "init_weights") and not getattr(child, "is_init", False):
            child.init_weights()
            child.is_init = True  # MMEngine would do it again
    note(module, "Initialized by the submodules themselves")


def note(module: nn.Module, text: str) -> None:
    """Write into MMEngine's record of the initialization what changed the parameters.

    Args:
        module (nn.Module): The module that is being initialized.
        text (str): What did.
    """
    if hasattr(module, "_params_init_info"):
        update_init_info(module, init_info=text)


def _loaded_values(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Parameters that came from a checkpoint, with copies of their values."""
    loading = [child for child in module.modules() if loads_weights(child)]
    parameters = {p for child in loading for p in child.parameters()}
    return [(parameter, parameter.detach().clone()) for parameter in parameters]


def loads_weights(module: nn.Module) -> bool:
    """Tell whether a module's ``init_cfg`` loads a checkpoint.

    Args:
        module (nn.Module): Any module.

    Returns:
        bool: Whether it is of type "Pretrained".
    """
    init_cfg = getattr(module, "init_cfg", None) or []
    entries = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    return any(entry["type"] in ("Pretrained", PretrainedInit) for entry in entries)
