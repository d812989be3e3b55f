"""Channels of tokens as attention heads, and back."""

from torch import Tensor


def check_heads(embed_dims: int, num_heads: int) -> None:
    """Refuse a number of heads that does not divide the channels.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Heads.

    Raises:
        ValueError: If it does not.
    """
    if embed_dims % num_heads:
        raise ValueError(
            f"embed_dims={embed_dims} cannot be split into num_heads={num_heads}; "
            "choose a number of heads that divides it"
        )


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """View tokens (B, N, C) as heads (B, num_heads, N, C // num_heads)."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Put heads (B, num_heads, N, c) together to tokens (B, N, num_heads * c)."""
    return x.transpose(1, 2).flatten(2)


def split_joint(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Split what one linear layer computed for queries, keys and values.

    The backward pass joins the gradients in one copy. Indexing a permuted view fills a tensor of
    the size of ``x`` with zeros for each part, and adds them.

    Args:
        x (Tensor): (B, N, parts * C).
        parts (int): 3, or 2 for two of them.
        num_heads (int): Attention heads.

    Returns:
        tuple[Tensor, ...]: ``parts`` views (B, num_heads, N, C // num_heads).
    """
    joint = x.unflatten(2, (parts, num_heads, -1))
    return tuple(part.transpose(1, 2) for part in joint.unbind(2))
