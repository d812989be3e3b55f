"""Apply a key map to a state dict and account for every key."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .templates import Template

Indices = tuple[int | str, ...]
Transform = Callable[..., Any]
Found = list[dict[Indices, dict[int, str]]]


@dataclass(frozen=True)
class Entry:
    """Rule with expanded leaf groups, in one direction.

    Args:
        rule (int): Index of the rule; the leaves of a rule are matched together.
        source (tuple[Template, ...]): Keys to read; empty if the entry is computed.
        target (tuple[Template, ...]): Keys to write; empty if the entry is dropped.
        forward (Callable | None): Transform, or ``make`` of computed entries.
        backward (Callable | None): The same for the other direction.
        optional (bool): Whether the keys may be absent.
    """

    rule: int
    source: tuple[Template, ...]
    target: tuple[Template, ...]
    forward: Transform | None
    backward: Transform | None
    optional: bool

    def reversed(self) -> "Entry":
        """Entry in the opposite direction."""
        return Entry(
            self.rule, self.target, self.source, self.backward, self.forward, self.optional
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the indices; the same on both sides."""
        return (self.source or self.target)[0].names

    @cached_property
    def is_wildcard(self) -> bool:
        """Whether the entry copies any key with a given prefix."""
        return any(template.is_wildcard for template in self.source)


@dataclass
class Translation:
    """Result of applying a key map in one direction.

    Args:
        state (dict): Translated entries.
        unknown (list[str]): Keys that match no rule.
        missing (list[str]): Expected keys that are absent.
        computed (list[str]): Dropped keys that the other model computes.
    """

    state: dict = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether all keys are known and none is missing."""
        return not self.unknown and not self.missing


def translate(
    entries: Sequence[Entry], spans: Mapping[str, tuple[str, int]], state: Mapping
) -> Translation:
    """Apply a key map in one direction.

    Args:
        entries (Sequence[Entry]): Entries of the map in that direction.
        spans (Mapping[str, tuple[str, int]]): Ranges of indices relative to others.
        state (Mapping): State dict to translate.

    Returns:
        Translation: Translated entries, and keys that are unknown or missing.
    """
    result = Translation()
    found = _match(entries, state, result)
    ranges = _ranges(entries, found, spans)
    result.missing = _missing(entries, found, ranges)
    # Transforms expect tensors of their own architecture, so they run only if all keys match.
    if result.accepted:
        for entry, instances in zip(entries, found, strict=True):
            for indices, keys in instances.items():
                _write(entry, indices, keys, state, result)
        _make_computed(entries, ranges, result)
    return result


def _match(entries: Sequence[Entry], state: Mapping, result: Translation) -> Found:
    found: Found = [defaultdict(dict) for _ in entries]
    for key in state:
        for entry, instances in zip(entries, found, strict=True):
            if _record_key(entry, key, instances):
                break
        else:
            result.unknown.append(key)
    return found


def _record_key(entry: Entry, key: str, instances: dict[Indices, dict[int, str]]) -> bool:
    for position, template in enumerate(entry.source):
        values = template.match(key)
        if values is not None:
            instances[tuple(values[name] for name in entry.names)][position] = key
            return True
    return False


def _write(
    entry: Entry, indices: Indices, keys: dict[int, str], state: Mapping, result: Translation
) -> None:
    if not entry.target:
        result.computed += keys.values()
        return
    tensors = [state[keys[i]] for i in range(len(entry.source))]
    values = entry.forward(*tensors) if entry.forward else tensors
    if entry.forward and len(entry.target) == 1:
        values = (values,)
    named = dict(zip(entry.names, indices, strict=True))
    for template, value in zip(entry.target, values, strict=True):
        result.state[template.format(named)] = value


def _ranges(
    entries: Sequence[Entry], found: Found, spans: Mapping[str, tuple[str, int]]
) -> dict[tuple[str, ...], list[Indices]]:
    """Expected values of the indices, for each set of index names."""
    seen: dict[tuple[str, ...], set[Indices]] = defaultdict(set)
    for entry, instances in zip(entries, found, strict=True):
        if not entry.is_wildcard:
            seen[entry.names].update(instances)
    seen[()] = {()}
    lengths: dict[str, int] = defaultdict(int)
    for names, indices in seen.items():
        if names:
            lengths[names[0]] = max([lengths[names[0]], *(1 + int(i[0]) for i in indices)])
    for name, (other, offset) in spans.items():
        lengths[other] = max(lengths[other], lengths[name] - offset if lengths[name] else 1)
        lengths[name] = lengths[other] + offset
    # If no key matched at all, one is reported as missing.
    for name in lengths.keys() - spans.keys():
        lengths[name] = max(lengths[name], 1)
    return {
        names: _without_gaps(indices, lengths[names[0]], len(names)) if names else [()]
        for names, indices in seen.items()
    }


def _without_gaps(seen: set[Indices], length: int, width: int) -> list[Indices]:
    if width == 1:
        return [(first,) for first in range(length)]
    filled = []
    for first in range(length):
        tails = {indices[1:] for indices in seen if indices[0] == first}
        longest = 1 + max((int(tail[0]) for tail in tails), default=0)
        filled += [(first, *tail) for tail in _without_gaps(tails, longest, width - 1)]
    return filled


def _missing(
    entries: Sequence[Entry], found: Found, ranges: Mapping[tuple[str, ...], list[Indices]]
) -> list[str]:
    started: dict[int, set[Indices]] = defaultdict(set)
    for entry, instances in zip(entries, found, strict=True):
        started[entry.rule].update(instances)
    missing = []
    for entry, instances in zip(entries, found, strict=True):
        if entry.is_wildcard:
            if not instances and not entry.optional:
                missing.append(entry.source[0].text.replace("{rest}", "*"))
            continue
        for indices in started[entry.rule] if entry.optional else ranges[entry.names]:
            named = dict(zip(entry.names, indices, strict=True))
            keys = instances.get(indices, {})
            missing += [
                template.format(named)
                for position, template in enumerate(entry.source)
                if position not in keys
            ]
    return missing


def _make_computed(
    entries: Sequence[Entry],
    ranges: Mapping[tuple[str, ...], list[Indices]],
    result: Translation,
) -> None:
    for entry in entries:
        if entry.source or entry.forward is None:
            continue
        for indices in ranges[entry.names]:
            named = dict(zip(entry.names, indices, strict=True))
            value = entry.forward(named, result.state)
            if value is not None:
                result.state[entry.target[0].format(named)] = value
