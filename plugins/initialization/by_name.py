"""Initialize parameters by name, such as class tokens and position embeddings."""

from collections.abc import Callable, Sequence

import torch
from mmengine.model import update_init_info
from torch import Tensor, nn

from smallvit.registry import WEIGHT_INITIALIZERS

_FILL: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "normal": nn.init.normal_,
    "trunc_normal": nn.init.trunc_normal_,
    "constant": lambda tensor, mean, std: nn.init.constant_(tensor, mean),
}


@WEIGHT_INITIALIZERS.register_module()
class ParameterInit:
    """Initialize parameters whose names have one of the given endings.

    MMEngine's initializers only set the weight and bias of layers; class tokens and position
    embeddings are parameters of the network itself.

    Args:
        names (Sequence[str]): Last parts of parameter names, such as "cls_token" or
            "attn.scale". A name that the module lacks is ignored as long as another
            one is found.
        distribution (str): "normal", "trunc_normal" (truncated at -2 and 2) or "constant",
            which fills with ``mean``. Defaults to "normal".
        mean (float): Mean of the distribution. Defaults to 0.
        std (float): Standard deviation of the distribution. Defaults to 1.

    Raises:
        ValueError: If ``distribution`` is unknown.
    """

    def __init__(
        self,
        names: Sequence[str],
        distribution: str = "normal",
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        if distribution not in _FILL:
            raise ValueError(
                f"ParameterInit: expected distribution to be one of {', '.join(_FILL)}, got "
                f"{distribution!r}"
            )
        self.names = [names] if isinstance(names, str) else list(names)
        self.distribution = distribution
        self.mean = mean
        self.std = std

    def __call__(self, module: nn.Module) -> None:
        """Initialize the matching parameters of a module.

        Args:
            module (nn.Module): Module with at least one such parameter.

        Raises:
            ValueError: If no parameter matches.
        """
        found = [
            parameter
            for name, parameter in module.named_parameters()
            if any(f".{name}".endswith(f".{ending}") for ending in self.names)
        ]
        if not found:
            raise ValueError(
                f"{type(module).__name__} has no parameter whose name ends with "
                f"{' or '.join(self.names)}. See model.named_parameters()"
            )
        with torch.no_grad():
            for parameter in found:
                _FILL[self.distribution](parameter, self.mean, self.std)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"ParameterInit: {self.distribution}")
