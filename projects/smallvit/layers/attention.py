"""Multi-head self-attention."""

from torch import Tensor, nn

from smallvit.layers.attention_form import attend
from smallvit.layers.heads import check_heads, join_heads, split_joint


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values.

    The attention itself is :func:`~smallvit.layers.attention_form.attend`. It is called
    through the attribute ``scaled_dot_product_attention``, as in MMPretrain's attention, and
    can be replaced by any module of the same signature as PyTorch's function of that name.

    Args:
        embed_dims (int): Channels of the output.
        num_heads (int): Number of heads; must divide ``embed_dims``.
        input_dims (int, optional): Channels of the input. Defaults to None, which
            means ``embed_dims``.
        qkv_bias (bool): Whether queries, keys and values have a bias. Defaults to True.
        qk_scale (float, optional): Factor of the logits. Defaults to None, which means
            ``(embed_dims // num_heads) ** -0.5``.
        attn_drop_rate (float): Dropout of the attention weights. Defaults to 0.
        proj_drop_rate (float): Dropout of the output. Defaults to 0.

    Raises:
        ValueError: If ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        input_dims: int | None = None,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(embed_dims, num_heads)
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.qk_scale = qk_scale
        self.attn_drop_rate = attn_drop_rate
        self.scaled_dot_product_attention = attend
        self.qkv = nn.Linear(input_dims or embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def mix(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute attention without the output projection.

        Args:
            x (Tensor): Tokens, (B, N, input_dims).

        Returns:
            tuple[Tensor, Tensor]: The mixed tokens (B, N, embed_dims) and the values
            (B, num_heads, N, embed_dims // num_heads).
        """
        query, key, value = split_joint(self.qkv(x), 3, self.num_heads)
        mixed = self.scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=self.attn_drop_rate if self.training else 0.0,
            scale=self.qk_scale,
        )
        return join_heads(mixed), value

    def forward(self, x: Tensor) -> Tensor:
        """Apply self-attention.

        Args:
            x (Tensor): Tokens, (B, N, input_dims).

        Returns:
            Tensor: Tokens, (B, N, embed_dims).
        """
        return self.proj_drop(self.proj(self.mix(x)[0]))
