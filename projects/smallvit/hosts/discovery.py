"""Find the blocks of an unknown backbone with a dry run, or explain what is ambiguous.

A block is a module in an ``nn.ModuleList``, ``nn.Sequential`` or ``nn.ModuleDict``, or a direct
child of the backbone, that runs once and returns tokens of the shape of its input. It must have two
or more layers, or one if no such module has two. Its token layout is inferred from the run; if
several interpretations remain, the backbone is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial

from mmengine.logging import print_log
from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts.block import HostBlock
from smallvit.hosts.forms import Found, as_blocks, form_of
from smallvit.hosts.memory import cache_blocks, cached_blocks
from smallvit.hosts.probe import (
    OTHER_SIZES,
    SQUARES,
    Call,
    channels_for,
    make_images,
    record,
    single_spots,
    sizes_for,
)
from smallvit.hosts.refusal import example_of, nothing_kept, refusal
from smallvit.hosts.rest import dry_run_mode, own_modules
from smallvit.hosts.trial import Trial, fault_in_training, fault_of_grids, try_zeros

CONTAINERS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)


def discover(host: nn.Module) -> list[HostBlock]:
    """Find the blocks of a backbone.

    Args:
        host (nn.Module): Backbone that takes images (B, C, H, W).

    Returns:
        list[HostBlock]: Its blocks in execution order.

    Raises:
        HostError: If no blocks are found or their layout is ambiguous; the message contains the
            code that registers the backbone.
    """
    found = cached_blocks(host)
    if found is None:
        found = find(host)
        cache_blocks(host, found)
    return as_blocks(found)


def find(host: nn.Module) -> list[Found]:
    """Find the blocks of a backbone and their token layouts, see :func:`discover`."""
    fault = _cannot_run(host)
    if fault:
        raise HostError(refusal(host, fault, _candidates(host)))
    search = _Search(host)
    with dry_run_mode(host):
        for size in sizes_for(host):
            if search.ran and size in SQUARES[1:]:
                continue
            for channels in channels_for(host):
                found = search.at(size, channels)
                if found:
                    return found
    raise HostError(refusal(host, search.reason(), _candidates(host), search.example))


def _cannot_run(host: nn.Module) -> str:
    for name, parameter in (*host.named_parameters(), *host.named_buffers()):
        if parameter.is_meta:
            return f"{name} is on the meta device, but a dry run requires weights"
        if nn.parameter.is_lazy(parameter):
            return f"{name} is uninitialized. Run the backbone on a batch of images first"
    return ""


def _candidates(host: nn.Module, layers: int = 1) -> dict[str, nn.Module]:
    """Modules with at least the given number of layers that may be blocks, by name."""
    own = dict(own_modules(host))
    inside = set(map(id, own.values()))
    owners = {name: m for name, m in own.items() if m is host or isinstance(m, CONTAINERS)}
    return {
        f"{owner}.{child}".lstrip("."): module
        for owner, parent in owners.items()
        for child, module in parent.named_children()
        if not isinstance(module, CONTAINERS)
        and id(module) in inside
        and next(module.children(), None) is not None
        and _layers(module) >= layers
    }


def _layers(module: nn.Module) -> int:
    return sum(parameter.ndim > 1 for parameter in module.parameters())


class _Search:
    """Dry runs of a host in evaluation mode, and the reasons why its blocks were not found."""

    def __init__(self, host: nn.Module) -> None:
        self.host = host
        self.why: list[str] = []
        self.stopped: list[str] = []
        self.ran = False
        self.example: Call | None = None

    def reason(self) -> str:
        """The most informative reason why no blocks were found."""
        return (self.why or self.stopped or ["it has no submodules"])[0]

    def at(self, size: tuple[int, int], channels: int) -> list[Found]:
        """Search for blocks with images of a size; an empty list if there are none."""
        images = make_images(self.host, size, channels)
        calls = self._run(images)
        spots = partial(self._spots, size=size, channels=channels)
        found = _choose(calls, size, self, spots) if calls else []
        if not found:
            return []
        found, trial = self._tried(found, images[:1])
        fault = trial.fault or self._fault_at_other_size(found, size, channels)
        fault = fault or fault_in_training(self.host, as_blocks(found), images[:2])
        if not fault:
            return _main_blocks(found, trial)
        if not self.why:
            raise HostError(refusal(self.host, fault, _candidates(self.host), found[0].call))
        self.why.append(fault)
        return []

    def _tried(self, found: list[Found], images: Tensor) -> tuple[list[Found], Trial]:
        """Validate the blocks: all if they form one chain, otherwise those of the main path."""
        trial = self._try(found, images)
        # After a class token, the last block may not contribute to the output either.
        if len(trial.unused) > 1:
            _warn(f"skipped blocks whose output is not used: {_named(found, trial.unused)}")
            found = [each for i, each in enumerate(found) if i not in trial.unused]
            trial = self._try(found, images)
        main = _main_stream(found)
        if main == found or not (trial.fault or trial.beside):
            return found, trial
        left = [i for i, each in enumerate(found) if each not in main]
        _warn(f"skipped blocks of another branch: {_named(found, left)}")
        return main, self._try(main, images)

    def _try(self, found: list[Found], images: Tensor) -> Trial:
        return try_zeros(self.host, as_blocks(found), images, [each.hw for each in found])

    def _run(self, images: Tensor) -> list[Call]:
        try:
            calls = record(self.host, images, _candidates(self.host))
        except Exception as error:
            size = " x ".join(map(str, images.shape[2:]))
            message = f"{type(error).__name__}: {error}".split("\n")[0][:150]
            self.stopped.append(
                f"a forward pass with only a batch of {size} images fails ({message})"
            )
            return []
        self.ran = True
        return calls

    def _spots(self, call: Call, hw: tuple[int, int], size: tuple[int, int], channels: int):
        return single_spots(self.host, call, size, hw, channels)

    def _fault_at_other_size(
        self, found: Sequence[Found], size: tuple[int, int], channels: int
    ) -> str:
        """Report failures with images of another size; empty if the host does not accept any."""
        if all(each.source is None for each in found):
            return ""
        for other in OTHER_SIZES:
            images = make_images(self.host, other, channels)[:1]
            fault = None if other == size else fault_of_grids(self.host, as_blocks(found), images)
            if fault is not None:
                return f"at {other[0]} x {other[1]} pixels, {fault}" if fault else ""
        return ""


def _choose(calls: Sequence[Call], size: tuple[int, int], search: _Search, spots) -> list[Found]:
    """Select the blocks among the calls, or record in ``search`` why there are none."""
    for layers in (2, 1):
        ran = [c for c in calls if c.key is not None and _layers(c.module) >= layers]
        found = _of_candidates(ran, calls, size, search, spots)
        if found:
            return found
    return []


def _of_candidates(
    ran: Sequence[Call], calls: Sequence[Call], size: tuple[int, int], search: _Search, spots
) -> list[Found]:
    same = _without_stages(ran)
    if not same:
        search.why.append(nothing_kept(ran))
        search.example = search.example or example_of(ran)
        return []
    search.example = search.example or same[0]
    inner = tuple(f"{call.name}." for call in ran if call.kept and not _holds(call.name, same))
    sources = [c for c in calls if (c.maps or c.sees_images) and not c.name.startswith(inner)]
    found: list[Found] = []
    unsure: dict[tuple, str] = {}
    for call in same:
        result = form_of(call, sources, size, found, spots)
        if isinstance(result, Found):
            found.append(result)
        else:
            unsure.setdefault(_kind(call), f"{call.name}: {result}")
    search.why.extend(unsure.values())
    found = [each for each in found if _kind(each.call) not in unsure]
    again = {type(each.call.module) for each in found}
    twice = [f"{c.name}: runs {c.times} times" for c in ran if c.times > 1]
    kinds = {c.name for c in ran if type(c.module) in again}
    left = [*unsure.values(), *(t for t in twice if t.partition(":")[0] in kinds)]
    if found and left:
        _warn(f"skipped blocks: {'; '.join(left)}. Add them with smallvit.hosts.register_host")
    return found


def _kind(call: Call) -> tuple:
    return type(call.module), call.shape


def _warn(message: str) -> None:
    print_log(f"hosts: {message}", logger="current", level=logging.WARNING)


def _holds(name: str, calls: Sequence[Call]) -> bool:
    return any(call.name.startswith(f"{name}.") for call in calls)


def _without_stages(ran: Sequence[Call]) -> list[Call]:
    """Candidates that keep the shape, without containers of blocks and modules inside blocks."""
    same = [call for call in ran if call.kept and call.alike == 1 and call.times == 1]
    kinds = Counter(type(call.module) for call in same)
    for outer in list(kinds):
        prefixes = tuple(f"{call.name}." for call in ran if type(call.module) is outer)
        inside = [
            call
            for call in same
            if call.name.startswith(prefixes) and type(call.module) is not outer
        ]
        lists = Counter((c.name.rpartition(".")[0], type(c.module)) for c in inside)
        more = Counter(type(c.module) for c in inside)
        several = any(number > 1 for number in lists.values())
        if several or any(number > kinds[outer] for number in more.values()):
            same = [call for call in same if type(call.module) is not outer]
    names = {call.name for call in same}
    return [call for call in same if not _parents(call.name) & names]


def _parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts))}


def _main_stream(found: list[Found]) -> list[Found]:
    """Of paths that run alternately, keep the one that starts first."""
    kept: list[Found] = []
    others: set[tuple] = set()
    rest = found
    while rest:
        first = rest[0].form
        last = max(i for i, each in enumerate(rest) if each.form == first)
        kept += [each for each in rest[: last + 1] if each.form == first]
        others |= {each.form for each in rest[: last + 1]} - {first}
        rest = [each for each in rest[last + 1 :] if each.form not in others]
    return kept


def _main_blocks(found: list[Found], trial: Trial) -> list[Found]:
    """Keep the blocks that form a chain, and log a warning with the names of the others."""
    if trial.beside:
        names = _named(found, trial.beside)
        _warn(f"skipped blocks that do not depend on earlier blocks: {names}")
    last = [i for i in trial.unused if i not in trial.beside]
    if last:
        _warn(f"the output of the backbone does not depend on its block {_named(found, last)}")
    return [each for i, each in enumerate(found) if i not in trial.beside]


def _named(found: Sequence[Found], indices: Sequence[int]) -> str:
    names = [found[i].call.name for i in indices]
    return ", ".join(names) if len(names) < 7 else f"{len(names)} from {names[0]} to {names[-1]}"
