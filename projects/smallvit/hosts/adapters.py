"""Registry of adapters by class name, so that no foreign class is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from smallvit.errors import HostError

Adapter = TypeVar("Adapter", bound=Callable)


class Adapters:
    """Registry of adapters for modules of some classes and their subclasses.

    Args:
        kind (str): What such a module is, as in "is not a {kind}".
        teach (str): Where another class is registered, for the error.
    """

    def __init__(self, kind: str, teach: str) -> None:
        self.kind = kind
        self.teach = teach
        self._known: dict[str, Callable] = {}

    def register(self, *classes: type | str, force: bool = False) -> Callable[[Adapter], Adapter]:
        """Create a decorator that registers the adapter of some classes.

        Args:
            *classes (type | str): Classes, or their full names such as
                "timm.models.pit.PoolingVisionTransformer"; by name, nothing is imported.
            force (bool): Whether an adapter that is there may be replaced. Defaults to False.

        Returns:
            Callable: The decorator; it returns what it decorates.

        Raises:
            KeyError: If a class is known already and ``force`` is not set.
        """
        names = [cls if isinstance(cls, str) else full_name(cls) for cls in classes]

        def decorate(adapter: Adapter) -> Adapter:
            known = [name for name in names if name in self._known]
            if known and not force:
                raise KeyError(
                    f"hosts know {', '.join(known)} already; pass force=True to replace it"
                )
            self._known.update(dict.fromkeys(names, adapter))
            return adapter

        return decorate

    def names(self) -> list[str]:
        """Full names of the registered classes, sorted."""
        return sorted(self._known)

    def find(self, cls: type) -> Callable | None:
        """The adapter of a class or its nearest base class, or None."""
        names = map(full_name, cls.__mro__)
        return next((self._known[name] for name in names if name in self._known), None)

    def get(self, module: nn.Module) -> Callable:
        """The adapter of a module.

        Args:
            module (nn.Module): The module.

        Returns:
            Callable: What was registered for its class.

        Raises:
            HostError: If the class is not known.
        """
        adapter = self.find(type(module))
        if adapter is None:
            raise HostError(
                f"{full_name(type(module))} is not a {self.kind}; these are:\n  "
                + "\n  ".join(self.names())
                + f"\nand their subclasses. Teach another class with {self.teach}"
            )
        return adapter


def full_name(cls: type) -> str:
    """Module and name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"
