"""Base classes of hierarchical transformers with stages of decreasing resolution."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn

from smallvit.backbones.base.common import LINEAR_INIT, freeze, resolve_indices, run_blocks
from smallvit.layers.tokens import map_to_tokens, tokens_to_map


class StageBlock(nn.Module):
    """Pre-norm transformer block with attention on a grid; subclasses build attention and MLP.

    Args:
        embed_dims (int): Channels of the tokens.
        num_heads (int): Number of attention heads.
        mlp_ratio (float): Ratio of the MLP's hidden channels to ``embed_dims``. Defaults to 4.
        drop_path_rate (float): Stochastic depth rate. Defaults to 0.
        drop_rate (float): Dropout after projections. Defaults to 0.
        norm_eps (float): Epsilon of the norm layers. Defaults to 1e-6.
        **attn: Additional arguments of :meth:`build_attention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        drop_rate: float = 0.0,
        norm_eps: float = 1e-6,
        **attn,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.attn = self.build_attention(embed_dims, num_heads, drop_rate, norm_eps, **attn)
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.mlp = self.build_mlp(embed_dims, int(embed_dims * mlp_ratio), drop_rate)

    def build_attention(
        self, embed_dims: int, num_heads: int, drop_rate: float, norm_eps: float, **kwargs
    ) -> nn.Module:
        """Build the attention, called with tokens (B, N, C) and the grid."""
        raise NotImplementedError

    def build_mlp(self, embed_dims: int, hidden_dims: int, drop_rate: float) -> nn.Module:
        """Build the MLP, called with tokens (B, N, C)."""
        raise NotImplementedError

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Apply the block to tokens (B, N, C) of a grid of height and width ``hw``."""
        x = x + self.drop_path(self.attn(self.norm1(x), hw))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class TokenStage(nn.Module):
    """Stage of a convolutional token embedding and blocks at its resolution.

    Args:
        in_channels (int): Channels of the input map.
        embed_dims (int): Channels of the tokens.
        kernel_size (int): Kernel size of the convolution.
        stride (int): Stride of the convolution.
        padding (int): Zero padding of the convolution.
        blocks (Sequence[nn.Module]): Blocks of the stage in order.
        with_cls_token (bool): Whether to prepend a class token. Defaults to False.
        drop_rate (float): Dropout after the embedding. Defaults to 0.
        norm_eps (float): Epsilon of the embedding's norm. Defaults to 1e-5.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        kernel_size: int,
        stride: int,
        padding: int,
        blocks: Sequence[nn.Module],
        with_cls_token: bool = False,
        drop_rate: float = 0.0,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.num_extra_tokens = int(with_cls_token)
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel_size, stride, padding)
        self.norm = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims)) if with_cls_token else None
        self.drop_after_embed = nn.Dropout(drop_rate)
        self.blocks = nn.ModuleList(blocks)
        if with_cls_token:
            trunc_normal_(self.cls_token, std=0.02)

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed a map as tokens, prepend the class token and add the position embedding.

        Args:
            x (Tensor): Input map (B, C_in, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (B, extra + N, C) and the grid (h, w).
        """
        x = self.proj(x)
        hw = tuple(x.shape[2:])
        x = self.norm(map_to_tokens(x))
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        return self.drop_after_embed(self.add_positions(x, hw)), hw

    def add_positions(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Add a position embedding to tokens (B, extra + N, C), if a subclass has one."""
        return x


class StagedBackbone(BaseModule):
    """Base class of hierarchical transformers, optionally with a class token in the last stage.

    Args:
        stages (Sequence[nn.Module]): Stages such as :class:`TokenStage`, with
            ``embed(map) -> (tokens, hw)``, ``blocks`` (called with tokens and ``hw``) and
            ``num_extra_tokens``.
        embed_dims (Sequence[int]): Channels of each stage.
        norm_eps (float): Epsilon of the norms of the outputs.
        out_type (str): Type of the outputs: "cls_token" (B, C) and "avg_featmap" (B, C) for
            classification, "raw", the normalized tokens (B, extra + N, C) of the last stage, or
            "featmap", the maps (B, C_i, H_i, W_i) of the stages in ``out_indices``.
            Defaults to "cls_token".
        out_indices (int | Sequence[int]): Stages to return with "featmap". Defaults to -1.
        out_norm (bool): Whether to normalize each map of "featmap", for dense heads that do not
            normalize their input. Defaults to False.
        frozen_stages (int): Stages ``0 .. frozen_stages`` are not trained; -1 trains all.
            Defaults to -1.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
        init_cfg (dict | list[dict], optional): Config of MMEngine's initialization. Defaults to
            a truncated normal with standard deviation 0.02 for linear layers.

    Raises:
        ValueError: If ``out_type``, ``out_indices`` or ``frozen_stages`` is invalid.
    """

    out_types = ("cls_token", "avg_featmap", "featmap", "raw")

    def __init__(
        self,
        stages: Sequence[nn.Module],
        embed_dims: Sequence[int],
        norm_eps: float,
        out_type: str = "cls_token",
        out_indices: int | Sequence[int] = -1,
        out_norm: bool = False,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = LINEAR_INIT,
    ) -> None:
        super().__init__(init_cfg)
        if out_type not in self.out_types:
            raise ValueError(
                f"expected out_type to be one of {', '.join(self.out_types)}, got {out_type!r}"
            )
        if out_type == "cls_token" and not stages[-1].num_extra_tokens:
            raise ValueError(
                "out_type='cls_token' requires a class token. Use out_type='avg_featmap' without "
                "one"
            )
        if not -1 <= frozen_stages < len(stages):
            raise ValueError(
                f"expected frozen_stages from -1 to {len(stages) - 1} with {len(stages)} stages, "
                f"got {frozen_stages}"
            )
        self.embed_dims = tuple(embed_dims)
        self.out_type = out_type
        self.out_indices = resolve_indices(out_indices, len(stages))
        self.out_norm = out_norm
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp
        self.stages = nn.ModuleList(stages)
        # Only norms in use are created: one without a gradient would make DDP fail.
        if out_type != "featmap":
            self.norm = nn.LayerNorm(self.embed_dims[-1], eps=norm_eps)
        elif out_norm:
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
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone.

        Args:
            x (Tensor): Images (B, C, H, W).

        Returns:
            tuple[Tensor, ...]: Outputs of the type ``out_type``.
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
