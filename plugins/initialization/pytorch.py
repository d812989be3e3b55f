"""PyTorch's default initialization of layers."""

from collections.abc import Sequence

from mmengine.model import update_init_info
from torch import nn

from smallvit.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class PyTorchInit:
    """Initialize layers with PyTorch's defaults.

    Weights and biases of linear and convolutional layers are drawn from a uniform distribution
    between ``-1 / sqrt(fan_in)`` and ``1 / sqrt(fan_in)``. MMEngine's initializers set
    all biases to a constant, so none of them can express this.

    Args:
        layer (str | Sequence[str]): Names of layer classes, such as "Linear" or "Conv2d";
            subclasses are included. Defaults to ("Linear", "Conv2d").
    """

    def __init__(self, layer: str | Sequence[str] = ("Linear", "Conv2d")) -> None:
        self.layer = (layer,) if isinstance(layer, str) else tuple(layer)

    def __call__(self, module: nn.Module) -> None:
        """Initialize the matching layers of a module.

        Args:
            module (nn.Module): Module with at least one such layer.

        Raises:
            ValueError: If no layer matches.
        """
        layers = [child for child in module.modules() if self._matches(child)]
        if not layers:
            raise ValueError(f"{type(module).__name__} has no layer {' or '.join(self.layer)}")
        for child in layers:
            child.reset_parameters()
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"PyTorchInit: {', '.join(self.layer)}")

    def _matches(self, module: nn.Module) -> bool:
        classes = {cls.__name__ for cls in type(module).__mro__}
        return not classes.isdisjoint(self.layer) and hasattr(module, "reset_parameters")
