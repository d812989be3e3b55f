"""The weights that PyTorch itself gives to layers."""

from collections.abc import Sequence

from mmengine.model import update_init_info
from torch import nn

from smallvit.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class PyTorchInit:
    """Initialize layers as PyTorch does when it makes them.

    A linear or convolutional layer gets weights and biases from a uniform distribution
    between ``-1 / sqrt(fan_in)`` and ``1 / sqrt(fan_in)``. MMEngine's initializers set
    all biases to one number, so that none of them can say this.

    Args:
        layer (str | Sequence[str]): Classes of layers, such as "Linear" or "Conv2d"; their
            subclasses are meant as well. Defaults to ("Linear", "Conv2d").
    """

    def __init__(self, layer: str | Sequence[str] = ("Linear", "Conv2d")) -> None:
        self.layer = (layer,) if isinstance(layer, str) else tuple(layer)

    def __call__(self, module: nn.Module) -> None:
        """Initialize the layers of a module.

        Args:
            module (nn.Module): Any module.

        Raises:
            ValueError: If it has no such layer.
        """
        layers = [child for child in module.modules() if self._is_meant(child)]
        if not layers:
            raise ValueError(f"{type(module).__name__} has no layer {' or '.join(self.layer)}")
        for child in layers:
            child.reset_parameters()
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"PyTorchInit: {', '.join(self.layer)}")

    def _is_meant(self, module: nn.Module) -> bool:
        classes = {cls.__name__ for cls in type(module).__mro__}
        return not classes.isdisjoint(self.layer) and hasattr(module, "reset_parameters")
