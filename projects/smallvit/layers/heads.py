"""Reshaping between token channels and attention heads."""

from torch import Tensor


def check_heads(embed_dims: int, num_heads: int) -> None:
    """Check that the number of heads divides the number of channels.

    Args:
        embed_dims (int): Channels of the tokens.
        num_heads (int): Number of attention heads.

    Raises:
        ValueError: If ``embed_dims`` is not a multiple of ``num_heads``.
    """
    if embed_dims % num_heads:
        raise ValueError(f"embed_dims={embed_dims} must be divisible by num_heads={num_heads}")


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """View tokens (B, N, C) as heads (B, num_heads, N, C // num_heads)."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Concatenate heads (B, num_heads, N, c) to tokens (B, N, num_heads * c)."""
    return x.transpose(1, 2).flatten(2)


def split_joint(x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Split the output of a joint projection into queries, keys and values.

    ``unbind`` stacks the gradients in a single copy in the backward pass. Indexing a permuted
    view would allocate a zero tensor of the size of ``x`` for each part and sum them.

    Args:
        x (Tensor): Output of the projection, (B, N, parts * C).
        parts (int): Number of tensors projected jointly: 3, or 2 for two of them.
        num_heads (int): Number of attention heads.

    Returns:
        tuple[Tensor, ...]: ``parts`` views of shape (B, num_heads, N, C // num_heads).
    """
    joint = x.unflatten(2, (parts, num_heads, -1))
    return tuple(part.transpose(1, 2) for part in joint.unbind(2))
