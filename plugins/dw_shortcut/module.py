"""Depth-wise convolution shortcut of a transformer block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.layers.conv_norm import normalize
from smallvit.layers.inference import activate, needs_intermediates


class DepthwiseBranch(nn.Module):
    """Norm followed by a depth-wise convolution that preserves the size of the map.

    Args:
        channels (int): Number of input and output channels.
        kernel_size (int): Side of the square kernel, odd. Defaults to 3.
        norm_cfg (dict, optional): Config of the norm; None disables it. Defaults to
            ``dict(type="BN")``.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        norm_cfg: dict | None = dict(type="BN"),  # noqa: B006
    ) -> None:
        super().__init__()
        self.norm = build_norm_layer(norm_cfg, channels)[1] if norm_cfg else nn.Identity()
        self.conv = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels
        )

    def forward(self, x: Tensor, is_free: bool = False) -> Tensor:
        """Apply the norm and the convolution.

        Args:
            x (Tensor): Map (B, C, H, W).
            is_free (bool): Whether ``x`` is not used elsewhere, so that its memory may be
                overwritten. Defaults to False.

        Returns:
            Tensor: Map of the same shape.
        """
        return self.conv(normalize(x, self.norm, is_free))


class DepthwiseShortcut(nn.Module):
    """Activation followed by the sum of parallel branches of norm and depth-wise convolution.

    From `Depth-Wise Convolutions in Vision Transformers for Efficient Training on Small
    Datasets <https://arxiv.org/abs/2407.19394>`_.

    Args:
        channels (int): Number of input and output channels.
        kernel_sizes (Sequence[int]): Kernel size of each branch; an empty sequence makes the
            module an identity, without activation. Defaults to (3,).
        act_cfg (dict, optional): Config of the activation; None disables it. Defaults to
            ``dict(type="GELU")``.
        norm_cfg (dict, optional): Config of the norm of each branch; None disables it. Defaults
            to ``dict(type="BN")``.
    """

    def __init__(
        self,
        channels: int,
        kernel_sizes: Sequence[int] = (3,),
        act_cfg: dict | None = dict(type="GELU"),  # noqa: B006
        norm_cfg: dict | None = dict(type="BN"),  # noqa: B006
    ) -> None:
        super().__init__()
        # The activation has no parameters, so the branches share its output.
        self.act = build_activation_layer(act_cfg) if act_cfg else nn.Identity()
        self.branches = nn.ModuleList(
            DepthwiseBranch(channels, size, norm_cfg) for size in kernel_sizes
        )
        self.frozen = False

    def freeze(self) -> None:
        """Freeze the shortcut permanently: no gradients, and norms stay in evaluation mode."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "DepthwiseShortcut":
        """Set training or evaluation mode; a frozen shortcut stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        if not self.branches:
            return x
        activated = activate(self.act, x)
        first, *others = self.branches  # slicing would create a ModuleList in each call
        is_free = not others and activated is not x and not needs_intermediates(self.act)
        x = activated
        out = first(x, is_free)
        for branch in others:
            out = out + branch(x)
        return out

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Disable batch norm statistics updates while a batch is recomputed."""
        norms = [m for m in self.modules() if isinstance(m, _BatchNorm) and m.training]
        kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            # The statistics must still be passed, because autograd saves them among its tensors.
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked = norm.num_batches_tracked.clone()
        try:
            yield
        finally:
            for norm, (momentum, count) in zip(norms, kept, strict=True):
                norm.momentum, norm.num_batches_tracked = momentum, count
