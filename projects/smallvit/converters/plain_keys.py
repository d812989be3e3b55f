"""Key maps of plain transformers that several official repositories share."""

from collections.abc import Sequence

from .keymap import Rule

# The six layers of a block: norm, qkv, projection, norm, and two linear layers.
TIMM_BLOCK = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
MMPRETRAIN_BLOCK = ("ln1", "attn.qkv", "attn.proj", "ln2", "ffn.layers.0.0", "ffn.layers.1")
TINY_BLOCK = ("norm1", "attn.qkv_transform", "attn.projection", "norm2", "mlp.fc1", "mlp.fc2")

# The seven entries of a token performer, with the random features second.
OUR_PERFORMER = ("norm1", "features", "kqv", "proj", "norm2", "mlp.fc1", "mlp.fc2")
TINY_PERFORMER = (
    "norm1",
    "attn.w",
    "attn.qkv_transform",
    "attn.projection",
    "norm2",
    "mlp.fc1",
    "mlp.fc2",
)
DVT_PERFORMER = ("norm1", "w", "kqv", "proj", "norm2", "mlp.0", "mlp.2")


def block_rules(
    official: str,
    names: Sequence[str],
    ours: str,
    our_names: Sequence[str],
    qkv_bias: bool,
) -> list[Rule]:
    """Rules of all blocks.

    Args:
        official (str): Official prefix of a block, with an index.
        names (Sequence[str]): Official names of its layers, in the order of ``TIMM_BLOCK``.
        ours (str): Our prefix, with the same index.
        our_names (Sequence[str]): Our names in the same order.
        qkv_bias (bool): Whether queries, keys and values have a bias.

    Returns:
        list[Rule]: Rules of weights and biases.
    """
    leaves = ["{affine}"] * len(names)
    leaves[1] = "{affine}" if qkv_bias else "weight"
    return [
        Rule(f"{official}.{theirs}.{leaf}", f"{ours}.{mine}.{leaf}")
        for theirs, mine, leaf in zip(names, our_names, leaves, strict=True)
    ]


def performer_rules(official: str, names: Sequence[str], ours: str) -> list[Rule]:
    """Rules of all token performers.

    Args:
        official (str): Official prefix of an encoder, with an index.
        names (Sequence[str]): Official names in the order of ``OUR_PERFORMER``.
        ours (str): Our prefix, with the same index.

    Returns:
        list[Rule]: Rules of weights, biases and random features.
    """
    leaves = [".{affine}", "", *[".{affine}"] * 5]
    return [
        Rule(f"{official}.{theirs}{leaf}", f"{ours}.{mine}{leaf}", frozen=mine == "features")
        for theirs, mine, leaf in zip(names, OUR_PERFORMER, leaves, strict=True)
    ]
