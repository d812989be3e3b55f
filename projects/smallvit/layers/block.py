"""Pre-norm transformer block of plain backbones."""

from mmcv.cnn import build_norm_layer
from timm.layers import DropPath, LayerScale
from torch import Tensor, nn


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: attention and feed-forward, each with a norm and a residual.

    Args:
        embed_dims (int): Channels of the tokens.
        attn (nn.Module): Attention layer from tokens (B, N, C) to tokens of the same shape.
        mlp (nn.Module): Feed-forward network from tokens (B, N, C) to tokens of the same shape.
        drop_path_rate (float): Stochastic depth rate. Defaults to 0.
        layer_scale_init_value (float, optional): Initial value of a learnable scale of
            both residuals. Defaults to None, which means no scale.
        norm_cfg (dict): Config of the norm layers. Defaults to ``dict(type="LN", eps=1e-6)``.
    """

    def __init__(
        self,
        embed_dims: int,
        attn: nn.Module,
        mlp: nn.Module,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type="LN", eps=1e-6)
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = attn
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.mlp = mlp
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()
        scaled = layer_scale_init_value is not None
        self.ls1 = LayerScale(embed_dims, layer_scale_init_value) if scaled else nn.Identity()
        self.ls2 = LayerScale(embed_dims, layer_scale_init_value) if scaled else nn.Identity()

    def attend(self, x: Tensor) -> Tensor:
        """Apply the attention branch without its residual connection."""
        return self.attn(self.norm1(x))

    def feed_forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Apply the feed-forward branch without its residual; subclasses may use the grid."""
        return self.mlp(self.norm2(x))

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Apply the block.

        Args:
            x (Tensor): Tokens, (B, N, C).
            hw (tuple[int, int]): Height and width of the grid of patch tokens.

        Returns:
            Tensor: Tokens of the same shape.
        """
        x = x + self.drop_path(self.ls1(self.attend(x)))
        return x + self.drop_path(self.ls2(self.feed_forward(x, hw)))
