"""Parameter groups of the official optimizers.

An optimizer's state refers to parameters by their position in its groups, so the order of the
groups is needed to assign moments to parameter names.
"""

from collections.abc import Callable, Mapping, Sequence

#: Maps the number of dimensions of each parameter, by name in the order of the model, and the sizes
#: of the groups in the file to the names in each group.
Grouping = Callable[[Mapping[str, int], Sequence[int]], list[list[str]]]

_PLAIN = ("pos_embed", "cls_token", "dist_token")
_TINY = ("cls_token", "pos_embed", "distill_token")


def _is_vector(name: str, num_dims: int) -> bool:
    return num_dims == 1 or name.endswith(".bias")


def timm_groups(dims: Mapping[str, int], sizes: Sequence[int]) -> list[list[str]]:
    """Groups without weight decay first, as in timm 0.4 and copies of it; see ``Grouping``."""
    exempt = [name for name, n in dims.items() if _is_vector(name, n) or name in _PLAIN]
    return [exempt, [name for name in dims if name not in exempt]]


def swin_groups(dims: Mapping[str, int], sizes: Sequence[int]) -> list[list[str]]:
    """Groups with weight decay first, as in Swin's code; see ``Grouping``."""
    exempt = [
        name
        for name, n in dims.items()
        if _is_vector(name, n)
        or name == "absolute_pos_embed"
        or "relative_position_bias_table" in name
    ]
    return [[name for name in dims if name not in exempt], exempt]


def tiny_groups(dims: Mapping[str, int], sizes: Sequence[int]) -> list[list[str]]:
    """Groups of head and body, each without weight decay first, as in tiny-transformers.

    In the optimizer of a guided student, all names have an additional prefix, so that its head
    counts as body. Its parameters are followed by those of the feature transforms.

    Args:
        dims (Mapping[str, int]): Number of dimensions of each parameter, by name.
        sizes (Sequence[int]): Number of parameters in each group of the file.

    Returns:
        list[list[str]]: Parameter names of each group.
    """
    guided = list(sizes[:2]) == [0, 0]
    groups: list[list[str]] = [[], [], [], []]
    for name, num_dims in dims.items():
        in_head = name.startswith("head.") and not guided
        skipped = not in_head and any(word in name for word in _TINY)
        decays = not (_is_vector(name, num_dims) or skipped)
        groups[2 * (not in_head) + decays].append(name)
    return groups
