"""Cache of dry-run results by module name, so that plugins do not repeat the dry run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from torch import nn

from smallvit.hosts.forms import Found, OfImage
from smallvit.hosts.probe import Call
from smallvit.hosts.rest import own_modules


@dataclass(frozen=True)
class _Cached:
    """Cached blocks without references to modules, and the classes of the backbone's modules."""

    found: tuple[Found, ...]
    made_of: tuple[tuple[str, type], ...]


_CACHE: WeakKeyDictionary[nn.Module, _Cached] = WeakKeyDictionary()


def cached_blocks(host: nn.Module) -> list[Found] | None:
    """Get the cached blocks, unless modules of the host have been replaced since.

    Args:
        host (nn.Module): Backbone to look up.

    Returns:
        list[Found] | None: The cached blocks, or None if a dry run is needed.
    """
    cached = _CACHE.get(host)
    if cached is None or cached.made_of != _made_of(host):
        return None
    modules = dict(own_modules(host))
    return [_with(each, modules) for each in cached.found]


def cache_blocks(host: nn.Module, found: Sequence[Found]) -> None:
    """Cache blocks for the lifetime of the host.

    Args:
        host (nn.Module): Backbone that was inspected.
        found (Sequence[Found]): Result of the dry run.
    """
    _CACHE[host] = _Cached(tuple(_with(each, {}) for each in found), _made_of(host))


def _made_of(host: nn.Module) -> tuple[tuple[str, type], ...]:
    return tuple((name, type(module)) for name, module in own_modules(host))


def _with(found: Found, modules: dict[str, nn.Module]) -> Found:
    """Replace the modules by those of the given names, or by None."""

    def at(call: Call) -> Call:
        return replace(call, module=modules.get(call.name), differs=[], plain={})

    source = found.source
    if isinstance(source, Call):
        source = at(source)
    elif isinstance(source, OfImage):
        source = replace(source, call=at(source.call))
    return replace(found, call=at(found.call), source=source)
