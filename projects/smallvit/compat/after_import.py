"""Patch a module when it is imported, without importing it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType

Patch = Callable[[ModuleType], None]


class PatchFinder(importlib.abc.MetaPathFinder):
    """Meta path finder that patches registered modules after they are executed."""

    def __init__(self) -> None:
        self.patches: dict[str, list[Patch]] = {}

    def find_spec(self, fullname, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """Spec of a module that has a patch, from the next finder; None for other modules."""
        if fullname not in self.patches:
            return None
        others = (
            finder
            for finder in sys.meta_path
            if hasattr(finder, "find_spec") and not isinstance(finder, PatchFinder)
        )
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        # A loader that is a class is shared by many modules, so it is not modified.
        if spec is not None and not isinstance(spec.loader, type):
            self._patch_afterwards(spec.loader, self.patches[fullname])
        return spec

    def _patch_afterwards(self, loader: importlib.abc.Loader, patches: list[Patch]) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for patch in patches:
                patch(module)

        loader.exec_module = exec_module


def patch_after_import(name: str, patch: Patch) -> None:
    """Patch a module now if it is imported, otherwise as soon as it is.

    Args:
        name (str): Name of the module.
        patch (Callable): Called with the module once, and again if the module is executed
            again.
    """
    if name in sys.modules:
        patch(sys.modules[name])
        return
    finder = next((each for each in sys.meta_path if isinstance(each, PatchFinder)), None)
    if finder is None:
        finder = PatchFinder()
        sys.meta_path.insert(0, finder)
    finder.patches.setdefault(name, []).append(patch)
