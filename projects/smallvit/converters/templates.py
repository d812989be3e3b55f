"""Key templates: state-dict keys with named indices."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

_FIELD = re.compile(r"\{(\w+?)(\+\d+)?\}")
#: Entries of a batch norm other than weight and bias.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_LEAVES = {
    "affine": ("weight", "bias"),
    "bn": ("weight", "bias", *STATISTICS),
}
_REST = "rest"


def expand_leaves(templates: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Expand the leaf groups ``{affine}`` and ``{bn}``.

    Args:
        templates (tuple[str, ...]): Templates with the same leaf group, or without one.

    Returns:
        list[tuple[str, ...]]: The templates for each leaf.
    """
    for group, leaves in _LEAVES.items():
        field = f"{{{group}}}"
        if any(field in template for template in templates):
            return [tuple(t.replace(field, leaf) for t in templates) for leaf in leaves]
    return [templates]


@dataclass(frozen=True)
class Template:
    """A key with named indices, e.g. ``layers.{stage}.blocks.{block}.norm.weight``.

    ``{name}`` is a number, ``{name+1}`` the same number counted from one, and ``{rest}`` any text.

    Args:
        text (str): Key with indices in braces.
    """

    text: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the indices, in order of appearance."""
        return tuple(dict.fromkeys(name for name, _ in _FIELD.findall(self.text)))

    @cached_property
    def is_wildcard(self) -> bool:
        """Whether the template contains ``{rest}`` and so matches keys without a number."""
        return _REST in self.names

    @cached_property
    def _pattern(self) -> re.Pattern:
        parts, end, seen = [], 0, set()
        for field in _FIELD.finditer(self.text):
            parts.append(re.escape(self.text[end : field.start()]))
            name, end = field.group(1), field.end()
            digits = ".+" if name == _REST else r"\d+"
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{digits})")
            seen.add(name)
        return re.compile("".join(parts) + re.escape(self.text[end:]))

    @cached_property
    def _offsets(self) -> dict[str, int]:
        return {name: int(offset or 0) for name, offset in _FIELD.findall(self.text)}

    def match(self, key: str) -> dict[str, int | str] | None:
        """Match a key.

        Args:
            key (str): Key of a state dict.

        Returns:
            dict[str, int | str] | None: Value of each index, or None if the key does not match.
        """
        found = self._pattern.fullmatch(key)
        if found is None:
            return None
        values = {
            name: text if name == _REST else int(text) - self._offsets[name]
            for name, text in found.groupdict().items()
        }
        counted_below_zero = any(value == -1 for value in values.values())
        return None if counted_below_zero else values

    def format(self, indices: Mapping[str, int | str]) -> str:
        """Format the key for given indices.

        Args:
            indices (Mapping[str, int | str]): Value of each index.

        Returns:
            str: Key of a state dict.
        """

        def write(field: re.Match) -> str:
            name, offset = field.groups()
            return str(indices[name] if name == _REST else int(indices[name]) + int(offset or 0))

        return _FIELD.sub(write, self.text)
