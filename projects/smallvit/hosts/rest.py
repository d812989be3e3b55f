"""Put a backbone in evaluation mode for a dry run, and restore its state afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: Attributes that enable gradient checkpointing in the various libraries.
_SWITCHES = (
    "with_cp",
    "grad_checkpointing",
    "gradient_checkpointing",
    "use_checkpoint",
    "use_checkpointing",
)
_GUEST = "_smallvit_guest"


def mark_guest(module: nn.Module) -> None:
    """Mark a module inside a backbone as belonging to a plugin.

    Args:
        module (nn.Module): Module to mark, before or after it is added to the backbone.
    """
    module.__dict__[_GUEST] = True


def own_modules(host: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the modules of a backbone, without those that plugins added.

    Args:
        host (nn.Module): Root of the module tree.
        prefix (str): Prefix of the names. Defaults to "".

    Yields:
        tuple[str, nn.Module]: Name and module, the backbone itself first. A shared module is
        yielded once.
    """
    seen: set[int] = set()

    def walk(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        if id(module) in seen or _GUEST in module.__dict__:
            return
        seen.add(id(module))
        yield name, module
        for child, inner in module.named_children():
            yield from walk(inner, f"{name}.{child}".lstrip("."))

    yield from walk(host, prefix)


@contextmanager
def dry_run_mode(host: nn.Module) -> Iterator[None]:
    """Context manager for dry runs: evaluation mode without gradient checkpointing.

    Attributes that modules set while they run, buffers that they change, the training mode and
    the random state are restored on exit.

    Args:
        host (nn.Module): Backbone to run.

    Yields:
        None: No value.
    """
    modules = list(host.modules())
    kept = [_SavedState(module) for module in modules]
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=cuda):
        try:
            host.eval()  # some backbones create modules for evaluation in this call
            for module in modules:
                for name in _SWITCHES:
                    if module.__dict__.get(name) is True:
                        setattr(module, name, False)
            yield
        finally:
            host.train(kept[0].attributes["training"])
            for each in kept:
                each.restore()


class _SavedState:
    """Saved attributes, submodules and buffers of one module."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(module.__dict__)
        # Copies, as the dicts themselves may be modified.
        self.tables = {
            key: dict(module.__dict__[key])
            for key in ("_buffers", "_parameters", "_modules")
            if key in module.__dict__
        }
        buffers = self.tables.get("_buffers", {})
        self.values = {k: v.clone() for k, v in buffers.items() if isinstance(v, Tensor)}

    @torch.no_grad()
    def restore(self) -> None:
        self.module.__dict__.clear()
        self.module.__dict__.update(self.attributes)
        for key, table in self.tables.items():
            own = self.module.__dict__[key]
            if not _same_objects(own, table):
                own.clear()
                own.update(table)
        for name, value in self.values.items():
            buffer = self.module._buffers[name]
            if buffer.shape != value.shape:
                self.module._buffers[name] = value
            elif not torch.equal(buffer, value):
                buffer.copy_(value)


def _same_objects(own: dict, table: dict) -> bool:
    return own.keys() == table.keys() and all(own[key] is table[key] for key in table)
