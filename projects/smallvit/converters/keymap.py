"""Declarative, strict key maps between an official state dict and ours, in both directions.

A map is an ordered list of rules. Each rule gives a key on both sides, in which numbers of stages
and blocks are written as named indices::

    KeyMap(
        "dynamic",
        rules=[
            Rule("patch_embed.proj.{affine}", "backbone.patch_embed.projection.{affine}"),
            Rule("layers.{stage}.blocks.{block}.bn.{bn}",
                 "backbone.stages.{stage}.blocks.{block}.norm.{bn}"),
            Rule(("blocks.{i}.q.weight", "blocks.{i}.kv.weight"), "blocks.{i}.qkv.weight",
                 forward=concat, backward=split(1, 2)),
            Rule("head.{affine}", "head.fc.{affine}"),
            Computed(source="layers.{stage}.blocks.{block}.attn_mask"),
        ],
    )

``{affine}`` stands for weight and bias, ``{bn}`` for the five entries of a batch norm,
``{name+1}`` for an index that one side counts from one, and ``{rest}`` for any text.

Completeness is checked with the indices. A rule must match for every value of its indices that
occurs in any rule with the same indices. Indices run from zero without gaps, and an index of the
same name has the same range in all rules. A rule that matches only some values is ``optional``;
an entry that a model computes itself is ``Computed``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .templates import STATISTICS, Template, expand_leaves
from .translate import Entry, Transform, Translation, translate


def concat(*tensors):
    """Concatenate tensors along the first axis: ``forward`` of a rule with several sources."""
    import torch

    return torch.cat(tensors)


def split(*parts: int) -> Transform:
    """Inverse of :func:`concat`.

    Args:
        *parts (int): Relative sizes of the parts, e.g. ``split(1, 2)`` for q and kv.

    Returns:
        Callable: Function from one tensor to a tuple of tensors.
    """

    def backward(tensor):
        unit = tensor.shape[0] // sum(parts)
        return tuple(piece.clone() for piece in tensor.split([unit * part for part in parts]))

    return backward


@dataclass(frozen=True)
class Rule:
    """Correspondence between official keys and ours.

    Args:
        source (str | tuple[str, ...]): Official key template, or several that are combined.
        target (str | tuple[str, ...]): Our key template, or several.
        forward (Callable, optional): Maps the source tensors to the target tensor, or to a tuple
            for several targets. Defaults to None: tensors are copied unchanged.
        backward (Callable, optional): Exact inverse of ``forward``. Defaults to None.
        optional (bool): Whether the keys may be absent. Defaults to False.
        frozen (bool): Whether the entries are constants in the official model, which are not in
            its optimizer. Defaults to False.
    """

    source: str | tuple[str, ...]
    target: str | tuple[str, ...]
    forward: Transform | None = None
    backward: Transform | None = None
    optional: bool = False
    frozen: bool = False


@dataclass(frozen=True)
class Computed:
    """Entry that only one side stores because it can be computed, e.g. an attention mask.

    It is dropped when converting from that side, and computed when converting to it.

    Args:
        source (str, optional): Official key template. Defaults to None.
        target (str, optional): Our key template. Defaults to None.
        make (Callable, optional): ``make(indices, state)`` computes the tensor for these indices
            from the state dict converted so far, or returns None for no entry. Defaults to None:
            no entry is created, and the model on that side must compute it.
    """

    source: str | None = None
    target: str | None = None
    make: Callable[[dict[str, int], Mapping], Any] | None = None


class KeyMap:
    """Ordered rules between the official keys of one architecture and ours.

    Args:
        name (str): Name of the architecture within its system.
        rules (Sequence[Rule | Computed]): Rules, of which the first that matches a key is used.
        spans (dict[str, tuple[str, int]]): Ranges of indices relative to others:
            ``{"merge": ("stage", -1)}`` means one merge fewer than stages. Defaults to none.
        classes (str, optional): Our key whose first axis is the number of classes. Defaults to
            None.
    """

    def __init__(
        self,
        name: str,
        rules: Sequence[Rule | Computed],
        spans: Mapping[str, tuple[str, int]] | None = None,
        classes: str | None = None,
    ) -> None:
        self.name = name
        self.rules = tuple(rules)
        self.spans = dict(spans or {})
        self.classes = classes

    def forward(self, state: Mapping) -> Translation:
        """Translate official keys to ours."""
        return translate(self._forward_entries, self.spans, state)

    def backward(self, state: Mapping) -> Translation:
        """Translate our keys to the official ones."""
        return translate(self._backward_entries, self.spans, state)

    def parameters(self, state: Mapping) -> list[str]:
        """Official keys of trained parameters, in order.

        Args:
            state (Mapping): Official state dict.

        Returns:
            list[str]: Keys without running statistics, constants and masks.
        """
        return [key for key, value in state.items() if self._is_trained(key, value)]

    def _is_trained(self, key: str, value: Any) -> bool:
        if key.rpartition(".")[2] in STATISTICS or not value.is_floating_point():
            return False
        for entry in self._forward_entries:
            if any(template.match(key) is not None for template in entry.source):
                rule = self.rules[entry.rule]
                return isinstance(rule, Rule) and not rule.frozen
        return False

    @cached_property
    def _forward_entries(self) -> list[Entry]:
        return [entry for i, rule in enumerate(self.rules) for entry in _entries(rule, i)]

    @cached_property
    def _backward_entries(self) -> list[Entry]:
        return [entry.reversed() for entry in self._forward_entries]


def _entries(rule: Rule | Computed, number: int) -> list[Entry]:
    if isinstance(rule, Computed):
        given, made = (
            tuple(Template(text) for text in (side,) if text) for side in (rule.source, rule.target)
        )
        return [Entry(number, given, made, rule.make, rule.make, optional=True)]
    source, target = (
        (side,) if isinstance(side, str) else side for side in (rule.source, rule.target)
    )
    return [
        Entry(
            number,
            tuple(map(Template, texts[: len(source)])),
            tuple(map(Template, texts[len(source) :])),
            rule.forward,
            rule.backward,
            rule.optional,
        )
        for texts in expand_leaves(source + target)
    ]
