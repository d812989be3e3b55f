"""Definition of a published system: its architectures and its official models."""

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
        system (str): Name of the system, the first argument of ``convert``.
        config (str): Absolute path of our config.
        architecture (str): Name of the key map that its checkpoints follow.
        shapes (dict[str, tuple[int, ...] | None]): Official keys with the shapes that tell
            this model from its siblings; None for a key that only deeper siblings have.
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
            bool: True if all its telling shapes agree.
        """
        found = {key: tuple(state[key].shape) if key in state else None for key in self.shapes}
        return found == {key: shape and tuple(shape) for key, shape in self.shapes.items()}


class System:
    """A published system: architectures (key maps) and the models that it defines.

    Args:
        name (str): Name of the system.
        architectures (Sequence[KeyMap]): Key maps; the first that accepts all keys of a
            checkpoint converts it.
        models (dict[str, tuple]): Official model name to ``(architecture, config)`` or
            ``(architecture, config, shapes)``, see :class:`OfficialModel`; ``config`` is
            relative to the ``configs`` folder.
        wrapper (str): Key under which official checkpoints hold the state dict. Defaults
            to "model".
        grouping (Grouping): How its optimizer sorts the parameters into groups. Defaults to
            timm's.
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
        name (str): Name of the system.

    Returns:
        System: The system.

    Raises:
        KeyError: If there is no such system; names those that there are.
    """
    if name not in SYSTEM_NAMES:
        raise KeyError(f"unknown system {name!r}; known systems: {', '.join(SYSTEM_NAMES)}")
    return import_module(f"{__package__}.{name}").SYSTEM
