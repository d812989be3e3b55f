"""Visual explanations: Grad-CAM, attention rollout, head tokens and predicted kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from smallvit.errors import HostError, UserError
from smallvit.hosts import view_host
from smallvit.hosts.taps import Taps
from smallvit.layers.attention_form import attention_weights
from smallvit.layers.dynamic_dwconv import DynamicDWConv2d, InhomogeneousDWConv2d
from smallvit.layers.head_interaction import HeadInteractedAttention


class AttentionWeights(TorchFunctionMode):
    """Context manager that records the attention weights of all layers that run inside it.

    Fused attention does not return its weights, so they are computed additionally. For explicit
    attention, the output of the softmax is recorded if it is square.

    Attributes:
        weights (list[Tensor]): Attention weights (B, heads, N, N) of each layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable,
        types: Any,
        args: tuple = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a torch function and record the attention weights, if it computes any."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            with torch._C.DisableTorchFunction():
                self.weights.append(_weights(*args, **kwargs))
        elif _is_attention(func, result):
            self.weights.append(result)
        return result


def _is_attention(func: Callable, result: Any) -> bool:
    """Whether a result is the output of the softmax of explicit attention."""
    softmax = getattr(func, "__name__", "") == "softmax"
    return softmax and result.ndim == 4 and result.shape[-1] == result.shape[-2]


def _weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    if is_causal:
        size = (query.shape[-2], key.shape[-2])
        attn_mask = torch.ones(size, dtype=torch.bool, device=query.device).tril()
    return attention_weights(query, key, attn_mask, scale)


def rollout(backbone: nn.Module, images: Tensor) -> Tensor:
    """Attention rollout: multiply the attention of all layers, each averaged with the identity.

    From `Quantifying Attention Flow in Transformers <https://arxiv.org/abs/2005.00928>`_.

    Args:
        backbone (nn.Module): Vision transformer with global attention in all layers.
        images (Tensor): Images (B, C, H, W).

    Returns:
        Tensor: Attention (B, h, w) of the class token, or of the mean of the patches if there is
        no class token, to each patch.

    Raises:
        UserError: If layers use window attention, or differ in the number of tokens.
    """
    taps = Taps(backbone, [-1])
    try:
        with torch.no_grad(), AttentionWeights() as found, taps:
            backbone(images)
            (tokens,), (maps,) = taps.tokens(), taps.maps()
    finally:
        taps.remove()
    height, width = maps.shape[-2:]
    if tokens.ndim != 3:
        raise _no_rollout(backbone, "its blocks operate on maps")
    count = tokens.shape[1]
    layers = [weights.mean(dim=1)[:, :count, :count] for weights in found.weights]
    if not layers or any(
        layer.shape[0] != len(images) or layer.shape[-1] != count for layer in layers
    ):
        raise _no_rollout(backbone, "its layers attend to different tokens")
    flow = torch.eye(count, device=images.device).expand(len(images), -1, -1)
    for layer in layers:
        mixed = layer / layer.sum(-1, keepdim=True) + torch.eye(count, device=images.device)
        flow = (mixed / 2) @ flow
    extra = count - height * width
    row = flow[:, 0] if extra else flow.mean(dim=1)
    return row[:, extra:].unflatten(1, (height, width))


def _no_rollout(backbone: nn.Module, reason: str) -> UserError:
    return UserError(
        f"attention rollout is not defined for {type(backbone).__name__}: {reason}. Use gradcam"
    )


def head_tokens(backbone: nn.Module, images: Tensor) -> Tensor:
    """Compute the attention of the head tokens of a DHVT in its last layer.

    Args:
        backbone (nn.Module): Backbone with head-interacted attention.
        images (Tensor): Images (B, C, H, W).

    Returns:
        Tensor: Attention (B, heads, h, w) of each head token to the patches.

    Raises:
        UserError: If the backbone has no head tokens.
    """
    layers = [each for each in backbone.modules() if isinstance(each, HeadInteractedAttention)]
    if not layers:
        raise UserError(
            f"expected DHVT, whose blocks have head tokens, got {type(backbone).__name__}"
        )
    heads = layers[-1].num_heads
    taps = Taps(backbone, [-1])
    try:
        with torch.no_grad(), AttentionWeights() as found, taps:
            backbone(images)
            (tokens,), (maps,) = taps.tokens(), taps.maps()
    finally:
        taps.remove()
    count, size = tokens.shape[1], maps.shape[-2:]
    rows = found.weights[-1].mean(dim=1)[:, count : count + heads]
    return rows[:, :, count - size.numel() : count].unflatten(2, size)


def predicted_kernels(backbone: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Get the kernels that dynamic depth-wise convolutions predict for images.

    Args:
        backbone (nn.Module): DWNet with dynamic or inhomogeneous convolutions.
        images (Tensor): Images (B, C, H, W).

    Returns:
        dict[str, Tensor]: Kernels by name of the layer, (B, channels, k, k); for inhomogeneous
        convolutions the mean over all positions, (B, groups, k, k).

    Raises:
        UserError: If the backbone predicts no kernels.
    """
    kinds = (DynamicDWConv2d, InhomogeneousDWConv2d)
    layers = {name: each for name, each in backbone.named_modules() if isinstance(each, kinds)}
    if not layers:
        raise UserError(
            f"expected DWNet with conv='dynamic' or 'inhomogeneous', which predicts kernels, got "
            f"{type(backbone).__name__}"
        )
    found: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, args: tuple) -> None:
        kernels = layer.kernels(args[0])
        if kernels.ndim == 5:
            side = math.isqrt(kernels.shape[2])
            kernels = kernels.mean(dim=(3, 4)).unflatten(2, (side, side))
        found[name] = kernels

    handles = [
        layer.register_forward_pre_hook(partial(keep, name)) for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def grad_cam(
    model: nn.Module, inputs: Mapping[str, Any], label: int | None = None, block: int | float = -1
) -> tuple[Tensor, list[int]]:
    """Grad-CAM: weight the feature map of a block by its average gradient for a class.

    From `Grad-CAM <https://arxiv.org/abs/1610.02391>`_. The *input* of the block is used: of the
    output of a ViT's last block, only the class token reaches the head.

    Args:
        model (nn.Module): Classifier or segmentor of the MM libraries, in evaluation mode.
        inputs (Mapping): Output of its data preprocessor.
        label (int, optional): Class index. Defaults to None: the predicted class; for a
            segmentor, the predicted classes of all pixels.
        block (int | float): Position of the block, see :meth:`HostView.index`. Defaults to -1.

    Returns:
        tuple[Tensor, list[int]]: Maps (B, h, w) from 0 to 1, and the class of each image.

    Raises:
        UserError: If the model returns no class scores for an image or its pixels.
    """
    if hasattr(model, "roi_head") or hasattr(model, "bbox_head"):
        raise UserError("Grad-CAM supports classifiers and segmentors, but not detectors")
    try:
        taps = Taps(view_host(model.backbone), [block], where="input")
    except HostError as error:
        raise UserError(f"Grad-CAM requires the blocks of the backbone: {error}") from error
    try:
        with torch.enable_grad(), taps:
            scores = model(**inputs, mode="tensor")
            (tokens,), (maps,) = taps.tokens(), taps.maps()
            scores = scores[-1] if isinstance(scores, (tuple, list)) else scores
            chosen, labels = _choose(scores, label)
            (gradient,) = torch.autograd.grad(chosen.sum(), tokens)
            gradient = taps.block(taps.indices[0]).to_map(gradient, tuple(maps.shape[-2:]))
    finally:
        taps.remove()
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = (weights * maps).sum(dim=1).clamp(min=0).detach()
    return scaled(heat), labels


def _choose(scores: Tensor, label: int | None) -> tuple[Tensor, list[int]]:
    classes = scores.shape[1]
    if label is not None and not 0 <= label < classes:
        raise UserError(f"expected a class from 0 to {classes - 1}, got {label}")
    pixels = scores.flatten(2).mean(dim=2) if scores.ndim == 4 else scores
    if label is not None:
        return pixels[:, label], [label] * len(scores)
    if scores.ndim == 4:
        return scores.amax(dim=1).mean(dim=(1, 2)), pixels.argmax(dim=1).tolist()
    return scores.amax(dim=1), scores.argmax(dim=1).tolist()


def scaled(heat: Tensor) -> Tensor:
    """Scale each map to the range from 0 to 1.

    Args:
        heat (Tensor): Maps (..., h, w).

    Returns:
        Tensor: Maps of the same shape; constant maps become 0.
    """
    low, high = heat.amin(dim=(-2, -1), keepdim=True), heat.amax(dim=(-2, -1), keepdim=True)
    return (heat - low) / (high - low).clamp(min=1e-12)
