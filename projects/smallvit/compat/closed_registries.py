"""Registry lookups without imports, for building untrusted configs.

For an unregistered name, MMEngine's ``Registry.get`` imports a module and returns any of its
attributes, so that ``os.system`` would be a valid type. Remove this once that can be disabled
(MMEngine 0.10.7 has no option for it).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()


@contextmanager
def closed_registries(
    scopes: frozenset[str], is_known: Callable[[Any], bool], refuse: Callable[[str], Exception]
) -> Iterator[None]:
    """Restrict registry lookups of this thread to registered, known objects.

    Args:
        scopes (frozenset[str]): Libraries whose registries may be used.
        is_known (Callable): Returns whether a class or function may be built.
        refuse (Callable): Creates the error from a message.

    Yields:
        None: While the restriction is active.
    """
    import mmengine.registry.registry as module

    thread = threading.get_ident()
    originals = module.Registry.get, module.get_object_from_string
    get, by_path = originals

    def get_known(registry: Any, key: str) -> Any:
        if threading.get_ident() != thread:
            return get(registry, key)
        if not isinstance(key, str):
            raise refuse(f"a {type(key).__name__} as a type")
        scope, dot, _ = key.rpartition(".")
        if dot and scope not in scopes:
            raise refuse(f"the type {key!r}")
        found = get(registry, key)
        if found is None or not is_known(found):
            raise refuse(f"the type {key!r}")
        return found

    def no_path(name: str) -> Any:
        return by_path(name) if threading.get_ident() != thread else None

    with _lock:
        module.Registry.get, module.get_object_from_string = get_known, no_path
        try:
            yield
        finally:
            module.Registry.get, module.get_object_from_string = originals
