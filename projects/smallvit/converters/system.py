"""Published systems: their architectures and official models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from smallvit.utils.configs import config_path

from .grouping import Grouping, timm_groups
from .keymap import KeyMap

# Each name is a module of this package that defines SYSTEM.
SYSTEM_NAMES = ("dwnet", "dhvt", "locality_guidance", "dvt", "dw_shortcut")


@dataclass(frozen=True)
class OfficialModel:
    """An official model and our config for it.

    Fields can be read as attributes or as keys.

    Args:
        system (str): Name of the system, the first argument of :func:`convert`.
        config (str): Absolute path of our config.
        architecture (str): Name of the key map for its checkpoints.
        shapes (dict[str, tuple[int, ...] | None]): Shapes of the official keys that distinguish
            this model from others of the same architecture; None for a key that must be absent.
            Defaults to none.
    """

    system: str
    config: str
    architecture: str
    shapes: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(f"{name!r}; available: {', '.join(self.__dataclass_fields__)}")
        return getattr(self, name)

    def keys(self) -> list[str]:
        """Names of the fields, so that ``dict(record)`` works."""
        return list(self.__dataclass_fields__)

    def fits(self, state: Mapping) -> bool:
        """Check whether an official state dict has the shapes of this model.

        Args:
            state (Mapping): Official state dict.

        Returns:
            bool: Whether all shapes in ``shapes`` match.
        """
        found = {key: tuple(state[key].shape) if key in state else None for key in self.shapes}
        return found == {key: shape and tuple(shape) for key, shape in self.shapes.items()}


class System:
    """Published system: architectures (key maps) and official models.

    Args:
        name (str): Name of the system.
        architectures (Sequence[KeyMap]): Key maps; the first that accepts all keys of a
            checkpoint is used.
        models (dict[str, tuple]): ``(architecture, config)`` or ``(architecture, config, shapes)``
            by the name of the official model, see :class:`OfficialModel`; ``config`` is relative
            to the ``configs`` folder.
        wrapper (str): Key of the state dict in official checkpoints. Defaults to "model".
        grouping (Grouping): Order of the parameters in the groups of its optimizer. Defaults to
            that of timm.
    """

    def __init__(
        self,
        name: str,
        architectures: Sequence[KeyMap],
        models: Mapping[str, tuple],
        wrapper: str = "model",
        grouping: Grouping = timm_groups,
    ) -> None:
        self.name = name
        self.grouping = grouping
        self.wrapper = wrapper
        self.architectures = {key_map.name: key_map for key_map in architectures}
        self.models = {official: self._record(*entry) for official, entry in models.items()}

    def _record(self, architecture: str, config: str, shapes: Mapping | None = None):
        if architecture not in self.architectures:
            raise KeyError(f"{self.name} has no architecture {architecture!r}")
        return OfficialModel(self.name, config_path(config), architecture, dict(shapes or {}))


def get_system(name: str) -> System:
    """Look up a system.

    Args:
        name (str): Name of the system, e.g. ``dwnet``.

    Returns:
        System: Its architectures and official models.

    Raises:
        KeyError: If the system does not exist; the message lists the existing ones.
    """
    if name not in SYSTEM_NAMES:
        raise KeyError(f"unknown system {name!r}; known systems: {', '.join(SYSTEM_NAMES)}")
    return import_module(f"{__package__}.{name}").SYSTEM
