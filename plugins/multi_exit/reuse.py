"""Feature and relation reuse between the exits of a cascade."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn


def resize_matrix(old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Compute the matrix of the linear map that resizes values from one grid to another.

    Values are repeated by the smallest integer factor with which the old grid covers the new
    one, then average-pooled.

    Args:
        old (tuple[int, int]): Rows and columns of the old grid.
        new (tuple[int, int]): Rows and columns of the new grid.

    Returns:
        Tensor: (new rows * new columns, old rows * old columns); its rows sum to one.
    """
    size = [side * max(1, -(-target // side)) for side, target in zip(old, new, strict=True)]
    # onnxruntime has no double precision Resize, which a graph with dynamic grids contains.
    captured = torch.compiler.is_compiling() or torch.jit.is_tracing()
    dtype = torch.float32 if captured else torch.float64
    basis = torch.eye(old[0] * old[1], dtype=dtype).unflatten(1, old).unsqueeze(1)
    repeated = F.interpolate(basis, size=size, mode="nearest")
    return F.adaptive_avg_pool2d(repeated, new).flatten(1).t().to(torch.get_default_dtype())


class FeatureReuse(nn.Module):
    """Compute a context for each block of an exit from the tokens of the previous exit.

    From `Not All Images are Worth 16x16 Words <https://arxiv.org/abs/2105.15075>`_.

    Args:
        in_dims (int): Channels of the previous exit's tokens.
        num_layers (int): Number of blocks of the exit.
        context_dims (int): Channels of the context. Defaults to 48.
        hidden_dims (int): Hidden channels of the MLP. Defaults to 128.
        norm_eps (float): Epsilon of the LayerNorm. Defaults to 1e-5.
    """

    def __init__(
        self,
        in_dims: int,
        num_layers: int,
        context_dims: int = 48,
        hidden_dims: int = 128,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(in_dims, eps=norm_eps) for _ in range(num_layers))
        self.mlps = nn.ModuleList(
            Mlp(in_dims, hidden_dims, context_dims) for _ in range(num_layers)
        )

    def forward(self, patches: Tensor, matrix: Tensor, num_extra: int) -> tuple[Tensor, ...]:
        """Compute the contexts.

        Args:
            patches (Tensor): Patch tokens of the previous exit, (B, M, in_dims).
            matrix (Tensor): Resize matrix, (N, M).
            num_extra (int): Number of tokens before the new patches; their context is zero.

        Returns:
            tuple[Tensor, ...]: For each block (B, num_extra + N, context_dims).
        """
        contexts = [mlp(norm(patches)) for norm, mlp in zip(self.norms, self.mlps, strict=True)]
        # A single matrix product resizes the contexts of all blocks.
        resized = matrix.to(contexts[0].dtype) @ torch.cat(contexts, dim=-1)
        return F.pad(resized, (0, 0, num_extra, 0)).chunk(len(contexts), dim=-1)


class RelationReuse(nn.Module):
    """Compute an attention bias for each block from all attention logits of the previous exit.

    Applies two 1x1 convolutions over heads and layers, then resizes over keys and queries. The
    resize is repetition followed by average pooling over patches, which is a multiplication with
    a fixed matrix on each side; rows and columns of extra tokens are preserved.

    From `Not All Images are Worth 16x16 Words <https://arxiv.org/abs/2105.15075>`_.

    Args:
        in_heads (int): Total number of heads of all blocks of the previous exit.
        num_heads (Sequence[int]): Number of heads of each block of this exit.
        hidden_ratio (int): Ratio of hidden channels to ``in_heads``. Defaults to 3.
    """

    def __init__(self, in_heads: int, num_heads: Sequence[int], hidden_ratio: int = 3) -> None:
        super().__init__()
        self.num_heads = tuple(num_heads)
        self.conv1 = nn.Conv2d(in_heads, hidden_ratio * in_heads, 1)
        self.conv2 = nn.Conv2d(hidden_ratio * in_heads, sum(self.num_heads), 1)

    def forward(
        self,
        logits: Sequence[Tensor],
        matrix: Tensor,
        num_extra: int,
        old_extra: int | None = None,
        trailing: int | None = None,
    ) -> tuple[Tensor, ...]:
        """Compute the biases.

        If the exits have different numbers of extra tokens, those that both have (the class token
        first) are matched by position; the others get a bias of zero.

        Args:
            logits (Sequence[Tensor]): Attention logits of each block of the previous exit,
                (B, num_heads, old_extra + M + T, old_extra + M + T) with T tokens
                after the patches; or those of all blocks concatenated.
            matrix (Tensor): Resize matrix of the patches, (N, M).
            num_extra (int): Number of tokens before the patches of this exit.
            old_extra (int, optional): Number of tokens before the patches of the previous exit.
                Defaults to None, which means ``num_extra``.
            trailing (int, optional): Number of tokens after the patches of this exit. Defaults to
                None, which means T.

        Returns:
            tuple[Tensor, ...]: For each block (B, num_heads, num_extra + N + trailing,
            num_extra + N + trailing).
        """
        joined = logits[0] if len(logits) == 1 else torch.cat(tuple(logits), dim=1)
        relations = self.conv2(F.gelu(self.conv1(joined)))
        old_extra = num_extra if old_extra is None else old_extra
        found = relations.shape[-1] - old_extra - matrix.shape[1]
        behind = (found if trailing is None else trailing, found)
        matrix = keep_extra(matrix.to(relations.dtype), (num_extra, old_extra), behind)
        return (matrix @ (relations @ matrix.t())).split(self.num_heads, dim=1)


def keep_extra(matrix: Tensor, before: tuple[int, int], behind: tuple[int, int]) -> Tensor:
    """Extend a resize matrix of patches to all tokens, with the identity for extra tokens.

    Args:
        matrix (Tensor): Resize matrix of the patches, (N, M).
        before (tuple[int, int]): Numbers of tokens before the N and before the M patches. Tokens
            without a counterpart have zeros.
        behind (tuple[int, int]): Numbers of tokens after the N and after the M patches.

    Returns:
        Tensor: (before[0] + N + behind[0], before[1] + M + behind[1]).
    """
    # Not torch.block_diag, which has no ONNX counterpart.
    first, last = (
        torch.eye(*sizes, dtype=matrix.dtype, device=matrix.device) for sizes in (before, behind)
    )
    columns = matrix.shape[1]
    return torch.cat(
        (
            F.pad(first, (0, columns + behind[1])),
            F.pad(matrix, (before[1], behind[1])),
            F.pad(last, (before[1] + columns, 0)),
        )
    )
