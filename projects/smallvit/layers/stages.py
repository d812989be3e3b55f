"""What every backbone that is made of stages does alike: choose outputs, freeze, checkpoint."""

from collections.abc import Iterable, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .tokens import tokens_to_map

LINEAR_INIT = dict(type="TruncNormal", layer="Linear", std=0.02, bias=0.0)


def resolve_indices(indices: int | Sequence[int], count: int, what: str = "stage") -> tuple:
    """Turn output indices, negative ones included, into ascending stage numbers.

    Args:
        indices (int | Sequence[int]): One index or several.
        count (int): How many stages there are.
        what (str): What is counted, for the error. Defaults to "stage".

    Returns:
        tuple[int, ...]: Sorted numbers in ``range(count)``, each once.

    Raises:
        ValueError: If an index is outside ``-count .. count - 1``.
    """
    given = [indices] if isinstance(indices, int) else list(indices)
    wrong = [index for index in given if not -count <= index < count]
    if wrong or not given:
        raise ValueError(
            f"out_indices={indices!r} does not fit a backbone of {count} {what}s; "
            f"use numbers from 0 to {count - 1}, or -1 for the last"
        )
    return tuple(sorted({index % count for index in given}))


def freeze(modules: Iterable[nn.Module]) -> None:
    """Take modules out of training: eval mode and no gradients."""
    for module in modules:
        module.eval()
        module.requires_grad_(False)


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *args, with_cp: bool) -> Tensor:
    """Run blocks one after the other, recomputing activations in the backward pass on demand.

    Args:
        blocks (Iterable[nn.Module]): Blocks that take ``(x, *args)`` and return ``x``.
        x (Tensor): Input of the first block.
        *args: Passed to each block unchanged.
        with_cp (bool): Whether to save memory by gradient checkpointing.

    Returns:
        Tensor: Output of the last block.
    """
    for block in blocks:
        if with_cp and torch.is_grad_enabled() and x.requires_grad:
            x = checkpoint(block, x, *args, use_reentrant=False)
        else:
            x = block(x, *args)
    return x


class StagedBackbone(BaseModule):
    """Base of hierarchical transformers: stages of tokens, a class token in the last or none.

    A subclass fills ``self.stages`` with modules that have ``embed(map) -> (tokens, hw)``,
    ``blocks`` (called with tokens and ``hw``) and ``num_extra_tokens``, and then calls
    :meth:`finish`.

    Args:
        num_stages (int): How many stages there are.
        out_type (str): What to return. "cls_token" (B, C) and "avg_featmap" (B, C) are for
            classification, "raw" is the normed tokens (B, extra + N, C) of the last stage,
            "featmap" the maps (B, C_i, H_i, W_i) of the stages in ``out_indices``.
        out_indices (int | Sequence[int]): Stages to return as maps.
        with_cls_token (bool): Whether the last stage has a class token.
        out_norm (bool): Whether each returned map is normed. Defaults to False.
        frozen_stages (int): Stages ``0 .. frozen_stages`` are not trained; -1 trains all.
            Defaults to -1.
        with_cp (bool): Whether to save memory by gradient checkpointing. Defaults to False.
        init_cfg (dict | list[dict], optional): MMEngine initialisation. Defaults to None.

    Raises:
        ValueError: If ``out_type``, ``out_indices`` or ``frozen_stages`` do not fit.
    """

    out_types = ("cls_token", "avg_featmap", "featmap", "raw")

    def __init__(
        self,
        num_stages: int,
        out_type: str,
        out_indices: int | Sequence[int],
        with_cls_token: bool,
        out_norm: bool = False,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if out_type not in self.out_types:
            raise ValueError(f"out_type {out_type!r} is not one of {', '.join(self.out_types)}")
        if out_type == "cls_token" and not with_cls_token:
            raise ValueError(
                "out_type='cls_token' needs a class token; without one use 'avg_featmap'"
            )
        if not -1 <= frozen_stages < num_stages:
            raise ValueError(
                f"frozen_stages={frozen_stages} does not fit {num_stages} stages; "
                f"use -1 to {num_stages - 1}"
            )
        self.out_type = out_type
        self.out_indices = resolve_indices(out_indices, num_stages)
        self.out_norm = out_norm
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp
        self.stages = nn.ModuleList()

    def finish(self, embed_dims: Sequence[int], norm_eps: float) -> None:
        """Add the norms that ``out_type`` needs and freeze what is to be frozen.

        Args:
            embed_dims (Sequence[int]): Channels of each stage.
            norm_eps (float): Epsilon of the norms.
        """
        self.embed_dims = tuple(embed_dims)
        # Only the norms in use exist: one without a gradient would stop DDP.
        if self.out_type != "featmap":
            self.norm = nn.LayerNorm(self.embed_dims[-1], eps=norm_eps)
        elif self.out_norm:
            self.out_norms = nn.ModuleDict(
                {
                    str(index): nn.LayerNorm(self.embed_dims[index], eps=norm_eps)
                    for index in self.out_indices
                }
            )
        self._freeze()

    def _freeze(self) -> None:
        freeze(self.stages[: self.frozen_stages + 1])

    def train(self, mode: bool = True) -> "StagedBackbone":
        """Switch between training and evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        self._freeze()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone.

        Args:
            x (Tensor): Images (B, C, H, W).

        Returns:
            tuple[Tensor, ...]: What ``out_type`` says.
        """
        maps = []
        for index, stage in enumerate(self.stages):
            tokens, hw = stage.embed(x)
            tokens = run_blocks(stage.blocks, tokens, hw, with_cp=self.with_cp)
            patches = tokens[:, stage.num_extra_tokens :]
            x = tokens_to_map(patches, hw)
            if self.out_type == "featmap" and index in self.out_indices:
                normed = self.out_norms[str(index)](patches) if self.out_norm else patches
                maps.append(tokens_to_map(normed, hw).contiguous())
        return tuple(maps) if self.out_type == "featmap" else (self._pool(tokens),)

    def _pool(self, tokens: Tensor) -> Tensor:
        if self.out_type == "cls_token":
            return self.norm(tokens[:, 0])
        tokens = self.norm(tokens)
        if self.out_type == "raw":
            return tokens
        return tokens[:, self.stages[-1].num_extra_tokens :].mean(dim=1)
