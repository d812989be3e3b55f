"""Conversion between tokens of any layout and maps (B, C, H, W), with extra tokens separated."""

import torch
from einops import rearrange
from torch import Tensor

#: Axes of each layout; "BNC" may have extra tokens before and after its patches.
AXES = {"BNC": "b (h w) c", "BHWC": "b h w c", "BCHW": "b c h w"}
LAYOUTS = tuple(AXES)


def grid_of_map(x: Tensor, layout: str) -> tuple[int, int]:
    """Height and width of a feature map.

    Args:
        x (Tensor): Feature map (B, H, W, C) or (B, C, H, W).
        layout (str): Layout of ``x``, "BHWC" or "BCHW".

    Returns:
        tuple[int, int]: Height and width.
    """
    return (x.shape[1], x.shape[2]) if layout == "BHWC" else (x.shape[2], x.shape[3])


def to_map(x: Tensor, layout: str, hw: tuple[int, int], behind: int = 0) -> Tensor:
    """View the patch tokens as a map, without a copy.

    Args:
        x (Tensor): Tokens (B, extra + H * W, C), (B, H, W, C) or (B, C, H, W).
        layout (str): Layout of ``x``, "BNC", "BHWC" or "BCHW".
        hw (tuple[int, int]): Height and width of the grid; used for "BNC" only.
        behind (int): Number of extra tokens after the patches. Defaults to 0.

    Returns:
        Tensor: Map (B, C, H, W), in channels-last memory format unless the layout is
        "BCHW".
    """
    if layout != "BNC":
        return rearrange(x, f"{AXES[layout]} -> b c h w")
    end = x.shape[1] - behind
    patches = x[:, end - hw[0] * hw[1] : end]
    return rearrange(patches, "b (h w) c -> b c h w", h=hw[0], w=hw[1])


def extra_tokens(x: Tensor, layout: str, hw: tuple[int, int], behind: int = 0) -> Tensor | None:
    """Get the tokens that are not patches: class, distillation and register tokens.

    Args:
        x (Tensor): Tokens, see :func:`to_map`.
        layout (str): Layout of ``x``, "BNC", "BHWC" or "BCHW".
        hw (tuple[int, int]): Height and width of the grid.
        behind (int): Number of extra tokens after the patches, which are returned last.
            Defaults to 0.

    Returns:
        Tensor | None: Extra tokens (B, extra, C), or None for layouts without them.
    """
    if layout != "BNC":
        return None
    end = x.shape[1] - behind
    front = x[:, : end - hw[0] * hw[1]]
    return torch.cat((front, x[:, end:]), dim=1) if behind else front


def from_map(feature: Tensor, layout: str, extra: Tensor | None = None, behind: int = 0) -> Tensor:
    """Convert a map back to tokens; the inverse of :func:`to_map` and :func:`extra_tokens`.

    Args:
        feature (Tensor): Feature map (B, C, H, W).
        layout (str): Layout of the output, "BNC", "BHWC" or "BCHW".
        extra (Tensor, optional): Extra tokens (B, extra, C) to prepend to the patches.
            Defaults to None.
        behind (int): Number of extra tokens, the last ones, to append instead. Defaults to 0.

    Returns:
        Tensor: Tokens (B, extra + H * W, C), (B, H, W, C) or (B, C, H, W).
    """
    tokens = rearrange(feature, f"b c h w -> {AXES[layout]}")
    if layout != "BNC" or extra is None or not extra.shape[1]:
        return tokens
    front = extra.shape[1] - behind
    return torch.cat((extra[:, :front], tokens, extra[:, front:]), dim=1)


def add_map(x: Tensor, feature: Tensor, layout: str, behind: int = 0) -> Tensor:
    """Add a map to the patch tokens; extra tokens are unchanged.

    Args:
        x (Tensor): Tokens (B, extra + H * W, C), (B, H, W, C) or (B, C, H, W).
        feature (Tensor): Feature map (B, C, H, W).
        layout (str): Layout of ``x``, "BNC", "BHWC" or "BCHW".
        behind (int): Number of extra tokens after the patches. Defaults to 0.

    Returns:
        Tensor: A new tensor of the shape of ``x``.
    """
    tokens = from_map(feature, layout)
    extra = x.shape[1] - tokens.shape[1]
    if not extra:
        return x + tokens
    start, end = extra - behind, x.shape[1] - behind
    if not torch.is_grad_enabled() and x.dtype == tokens.dtype:
        # Allocate one tensor instead of two: on a CPU the second takes longer than the addition.
        out = x.clone()
        out[:, start:end].add_(tokens)
        return out
    return torch.cat((x[:, :start], x[:, start:end] + tokens, x[:, end:]), dim=1)
