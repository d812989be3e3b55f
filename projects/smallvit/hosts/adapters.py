"""Registry of adapters by class name, so that no third-party class is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from smallvit.errors import HostError

Adapter = TypeVar("Adapter", bound=Callable)


class Adapters:
    """Registry of adapters for module classes and their subclasses.

    Args:
        kind (str): Noun for the modules, used in the error "... is not a {kind}".
        teach (str): Name of the public registration function, used in the error.
    """

    def __init__(self, kind: str, teach: str) -> None:
        self.kind = kind
        self.teach = teach
        self._known: dict[str, Callable] = {}

    def register(self, *classes: type | str, force: bool = False) -> Callable[[Adapter], Adapter]:
        """Create a decorator that registers the adapter of the given classes.

        Args:
            *classes (type | str): Classes, or their full names such as
                "timm.models.pit.PoolingVisionTransformer"; by name, nothing is imported.
            force (bool): Whether to replace a registered adapter. Defaults to False.

        Returns:
            Callable: Decorator that registers a function and returns it unchanged.

        Raises:
            KeyError: If a class is already registered and ``force`` is False.
        """
        names = [cls if isinstance(cls, str) else full_name(cls) for cls in classes]

        def decorate(adapter: Adapter) -> Adapter:
            known = [name for name in names if name in self._known]
            if known and not force:
                raise KeyError(
                    f"{', '.join(known)} is already registered. Pass force=True to replace it"
                )
            self._known.update(dict.fromkeys(names, adapter))
            return adapter

        return decorate

    def names(self) -> list[str]:
        """Full names of the registered classes, sorted."""
        return sorted(self._known)

    def find(self, cls: type) -> Callable | None:
        """Find the adapter of a class or its nearest base class, or None."""
        names = map(full_name, cls.__mro__)
        return next((self._known[name] for name in names if name in self._known), None)

    def get(self, module: nn.Module) -> Callable:
        """Get the adapter of a module.

        Args:
            module (nn.Module): Module whose class is looked up.

        Returns:
            Callable: Adapter registered for its class or the nearest base class.

        Raises:
            HostError: If no adapter is registered for its class.
        """
        adapter = self.find(type(module))
        if adapter is None:
            raise HostError(
                f"{full_name(type(module))} is not a {self.kind}. Supported classes:\n  "
                + "\n  ".join(self.names())
                + f"\nand their subclasses. Register other classes with {self.teach}"
            )
        return adapter


def full_name(cls: type) -> str:
    """Qualified name of a class, with its module."""
    return f"{cls.__module__}.{cls.__qualname__}"
