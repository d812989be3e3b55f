"""Cascade of vision transformers with an increasing number of tokens."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from smallvit.compat.moved import forward
from smallvit.hosts import (
    BlockParts,
    HostBlock,
    Taps,
    register_host,
    vector_of,
    view_host,
)
from smallvit.plugins.multi_exit.exits import (
    as_any_host,
    channels_of,
    look_into,
    no_vector,
)
from smallvit.plugins.multi_exit.reuse import FeatureReuse, RelationReuse, resize_matrix
from smallvit.plugins.multi_exit.reuse_modules import (
    ContextNorm,
    RelatedLogits,
    add_relation_bias,
    widen_feedforward,
)
from smallvit.registry import MODELS

__getattr__ = forward(__name__)


@dataclass
class ExitState:
    """Features and attention logits of an exit that the next exit reuses.

    Args:
        tokens (Tensor, optional): Output of the last block before the final norm,
            (B, N, C). Defaults to None.
        hw (tuple[int, int], optional): Height and width of the patch grid. Defaults to None.
        logits (tuple[Tensor, ...]): Attention logits of each block,
            (B, num_heads, N, N), or of all blocks concatenated. Defaults to ().
    """

    tokens: Tensor | None = None
    hw: tuple[int, int] | None = None
    logits: tuple[Tensor, ...] = ()

    def select(self, index: Tensor) -> "ExitState":
        """Select images of the batch.

        Args:
            index (Tensor): Indices of the images, int64 (n, ).

        Returns:
            ExitState: State of the selected images.
        """
        # The next exit concatenates the logits anyway, so one selection serves all blocks.
        logits = self.logits if len(self.logits) < 2 else (torch.cat(self.logits, dim=1),)
        return replace(
            self,
            tokens=None if self.tokens is None else self.tokens.index_select(0, index),
            logits=tuple(each.index_select(0, index) for each in logits),
        )


@MODELS.register_module()
class DynamicViT(BaseModule):
    """Cascade of vision transformers; inference for an image may stop after any of them.

    A later exit processes more tokens and reuses results of the previous exit. Feature reuse:
    the previous tokens become a context that is concatenated to the input of each feed-forward
    network. Relation reuse: all previous attention logits become a bias of the logits of each
    block.

    From `Not All Images are Worth 16x16 Words: Dynamic Transformers for Efficient Image
    Recognition <https://arxiv.org/abs/2105.15075>`_.

    Args:
        exits (Sequence[dict | nn.Module]): Backbones in the order they run. The last entry of
            the output of each is a vector (B, C) or is reduced to one, see
            :func:`smallvit.hosts.vector_of`. Exits that reuse, and those whose relations are
            reused, must be plain transformers (:func:`smallvit.hosts.plain_tokens`): T2TViT,
            DHVT, CaiT, MMPretrain's VisionTransformer, in any order. For feature reuse alone,
            the first exit may be any host.
        feature_reuse (bool | dict): Whether later exits reuse tokens; or a dict with
            ``context_dims``, ``hidden_dims`` and ``norm_eps`` of :class:`FeatureReuse`.
            Defaults to True.
        relation_reuse (bool | dict): Whether later exits reuse attention logits; or a
            dict with ``hidden_ratio`` of :class:`RelationReuse`. Defaults to True.
        with_cp (bool): Whether to recompute each exit in the backward pass to save memory.
            Defaults to False.
        init_cfg (dict | list, optional): Initialization config. Defaults to None: linear layers
            of the reuse modules from a truncated normal with standard deviation 0.02.

    Raises:
        ValueError: If there is no exit, an exit is incompatible with the reuse, or returns no
            vector.
        HostError: If an exit that must be a plain transformer is not one.
    """

    def __init__(
        self,
        exits: Sequence[dict | nn.Module],
        feature_reuse: bool | dict = True,
        relation_reuse: bool | dict = True,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type="TruncNormal", layer="Linear", std=0.02, bias=0.0))
        if not exits:
            raise ValueError("DynamicViT requires at least one backbone in exits")
        self.exits = ModuleList(
            net if isinstance(net, nn.Module) else MODELS.build(net) for net in exits
        )
        self.out_channels = [channels_of(net, index) for index, net in enumerate(self.exits)]
        self.with_cp = with_cp
        self.feature_reuse, self.relation_reuse = ModuleList(), ModuleList()
        self.reuses_features = _is_on(feature_reuse) and len(exits) > 1
        self.reuses_relations = _is_on(relation_reuse) and len(exits) > 1
        if not self.reuses:
            return
        # The first exit need not be a plain transformer unless its relations are reused.
        self._first = None if self.reuses_relations else as_any_host(self.exits[0])
        rest = enumerate(self.exits[1:], 1)
        found = [(None, []) if self._first else look_into(self.exits[0], 0)]
        found += [look_into(net, index) for index, net in rest]
        # In plain lists the modules are not registered twice; deep copies refer to the copy.
        self._tokens = [tokens for tokens, _ in found]
        self._slots = [_Slots() for _ in self.exits]
        self._taps: list[Taps | None] = [None] * len(self.exits)
        parts = [own for _, own in found]
        if self.reuses_features:
            self._connect_features(parts, {} if feature_reuse is True else dict(feature_reuse))
        if self.reuses_relations:
            self._connect_relations(parts, {} if relation_reuse is True else dict(relation_reuse))
        for index, (old, new) in enumerate(itertools.pairwise(self._tokens), 1):
            if old is None:  # its grid is only known at run time
                continue
            self.register_buffer(
                f"resize{index}", resize_matrix(old.grid, new.grid), persistent=False
            )

    def _connect_features(self, parts: list[list[BlockParts]], settings: dict) -> None:
        context_dims = settings.setdefault("context_dims", 48)
        dims = self.embed_dims[:-1]
        for previous, own, slots in zip(dims, parts[1:], self._slots[1:], strict=True):
            slots.norms = [widen_feedforward(each, context_dims) for each in own]
            self.feature_reuse.append(FeatureReuse(previous, len(own), **settings))

    def _connect_relations(self, parts: list[list[BlockParts]], settings: dict) -> None:
        self._trailing = [own[0].head_tokens for own in parts]
        heads = [[each.num_heads for each in own] for own in parts]
        for previous, own in itertools.pairwise(heads):
            self.relation_reuse.append(RelationReuse(sum(previous), own, **settings))
        for own, slots in zip(parts, self._slots, strict=True):
            last = slots is self._slots[-1]
            slots.relations = [add_relation_bias(each, keep=not last) for each in own]

    @property
    def num_exits(self) -> int:
        """int: Number of exits."""
        return len(self.exits)

    @property
    def reuses(self) -> bool:
        """bool: Whether exits need the state of the previous exit."""
        return self.reuses_features or self.reuses_relations

    @property
    def embed_dims(self) -> list[int]:
        """list[int]: Embedding dimensions of the last block of each exit."""
        views = [getattr(self, "_first", None), *[None] * (len(self.exits) - 1)]
        pairs = zip(views, self.exits, strict=True)
        return [(view or view_host(net)).channels[-1] for view, net in pairs]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run all exits.

        Args:
            x (Tensor): Images, (B, C, H, W).

        Returns:
            tuple[Tensor, ...]: The vector (B, C) of each exit.
        """
        outs, state = [], None
        for index in range(self.num_exits):
            out, state = self.forward_exit(index, x, state)
            outs.append(out)
        return tuple(outs)

    def forward_exit(
        self, index: int, x: Tensor, state: ExitState | None = None
    ) -> tuple[Tensor, ExitState]:
        """Run one exit.

        Args:
            index (int): Index of the exit.
            x (Tensor): Images, (B, C, H, W).
            state (ExitState, optional): State that the previous exit returned; required after
                the first exit if there is any reuse. Defaults to None.

        Returns:
            tuple[Tensor, ExitState]: The vector (B, C), and the state for the next exit.
        """
        if self.with_cp and self.training:
            return checkpoint(self._run, index, x, state, use_reentrant=False)
        return self._run(index, x, state)

    def _run(self, index: int, x: Tensor, state: ExitState | None) -> tuple[Tensor, ExitState]:
        if not self.reuses:
            return self._vector(index, self.exits[index](x)), ExitState()
        net, slots = self.exits[index], self._slots[index]
        taps = None if index == self.num_exits - 1 else self._tap(index)
        try:
            if index:
                self._fill(slots, index, x, state)
            if taps is None:
                return self._vector(index, net(x)), ExitState()
            taps.start()
            out = self._vector(index, net(x))
            return out, slots.read(taps)
        finally:
            slots.clear()
            if taps is not None:
                taps.stop()

    def _tap(self, index: int) -> Taps:
        """Return the tap on an exit's last block, placed after all other hooks of the block."""
        taps = self._taps[index]
        if taps is None or not taps.are_outermost():
            if taps is not None:
                taps.remove()
            host = (self._first if index == 0 else None) or self.exits[index]
            taps = self._taps[index] = Taps(host, [-1])
        return taps

    def before_compiling(self) -> None:
        """Register the hooks of the exits before a graph is captured."""
        for index in range(self.num_exits - 1 if self.reuses else 0):
            self._tap(index)

    def _vector(self, index: int, output: Any) -> Tensor:
        vector = vector_of(output)
        if vector is None:
            raise ValueError(no_vector(self.exits[index], index, output))
        return vector

    def _fill(self, slots: "_Slots", index: int, x: Tensor, state: ExitState | None) -> None:
        if state is None or state.tokens is None:
            raise ValueError(
                f"exit {index} reuses exit {index - 1}. Pass the state that it returned"
            )
        extra = self._tokens[index].num_extra
        matrix = self._matrix(index, state.hw, self._tokens[index].grid_of(x.shape[2:]))
        matrix = matrix.to(state.tokens)
        if self.reuses_features:
            patches = state.tokens[:, state.tokens.shape[1] - matrix.shape[1] :]
            contexts = self.feature_reuse[index - 1](patches, matrix, extra)
            for norm, context in zip(slots.norms, contexts, strict=True):
                norm.passed.context = context
        if self.reuses_relations:
            old = self._tokens[index - 1].num_extra
            trailing = self._trailing[index]
            biases = self.relation_reuse[index - 1](state.logits, matrix, extra, old, trailing)
            for relation, bias in zip(slots.relations, biases, strict=True):
                relation.passed.bias = bias

    def _matrix(self, index: int, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
        if self._tokens[index - 1] is None:
            return resize_matrix(old, new)
        built_for = self._tokens[index - 1].grid, self._tokens[index].grid
        if (tuple(old), tuple(new)) == tuple(map(tuple, built_for)):
            return getattr(self, f"resize{index}")
        return resize_matrix(old, new)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Return the depth of a parameter, for layer-wise learning rate decay.

        Args:
            param_name (str): Full name of the parameter.
            prefix (str): Prefix of the backbone's parameters. Defaults to "".

        Returns:
            tuple[int, int]: Depth within its exit, and the number of depths of the exit.
        """
        parts = param_name.removeprefix(prefix).split(".")
        if parts[0] != "exits":
            return self.exits[-1].get_layer_depth(param_name, "exits.")
        return self.exits[int(parts[1])].get_layer_depth(param_name, f"{prefix}exits.{parts[1]}.")


class _Slots:
    """Modules of one exit that receive and record reused tensors during a forward pass."""

    def __init__(self) -> None:
        self.norms: list[ContextNorm] = []
        self.relations: list[RelatedLogits] = []

    def read(self, taps: Taps) -> ExitState:
        feature, tokens = taps.maps()[0], taps.tokens()[0]
        if tokens.ndim != 3:
            tokens = feature.flatten(2).transpose(1, 2)
        logits = tuple(relation.passed.logits for relation in self.relations)
        return ExitState(tokens, tuple(feature.shape[2:]), logits)

    def clear(self) -> None:
        # Tensors with a grad_fn can be neither copied nor saved with their module.
        for norm in self.norms:
            norm.passed.context = None
        for relation in self.relations:
            relation.passed.bias = relation.passed.logits = None


@register_host(DynamicViT)
def cascade(host: DynamicViT) -> list[HostBlock]:
    """View a DynamicViT as the blocks of all its exits, with each exit as a stage."""
    return [
        replace(block, stage=index)
        for index, net in enumerate(host.exits)
        for block in view_host(net).blocks
    ]


def _is_on(reuse: bool | dict) -> bool:
    return reuse is not False
