"""The depth-wise convolution that runs beside transformer blocks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.layers.conv_norm import normalize
from smallvit.layers.inference import activate, looks_back


class DepthwiseBranch(nn.Module):
    """Norm, then a depth-wise convolution that keeps the size of the map.

    Args:
        channels (int): Channels of the map.
        kernel_size (int): Size of the kernel. Defaults to 3.
        norm_cfg (dict, optional): Norm, None for none. Defaults to ``dict(type="BN")``.
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
        """Norm and convolve.

        Args:
            x (Tensor): Map (B, C, H, W).
            is_free (bool): Whether nobody else holds it; its memory may then be written again.
                Defaults to False.

        Returns:
            Tensor: Map of the same shape.
        """
        return self.conv(normalize(x, self.norm, is_free))


class DepthwiseShortcut(nn.Module):
    """Activation, then branches of norm and depth-wise convolution, summed.

    From `Depth-Wise Convolutions in Vision Transformers for Efficient Training on Small
    Datasets <https://arxiv.org/abs/2407.19394>`_.

    Args:
        channels (int): Channels of the map.
        kernel_sizes (Sequence[int]): One branch for each; none leaves the map as it is, without
            activation. Defaults to (3,).
        act_cfg (dict, optional): Activation, None for none. Defaults to
            ``dict(type="GELU")``.
        norm_cfg (dict, optional): Norm of each branch, None for none. Defaults to
            ``dict(type="BN")``.
    """

    def __init__(
        self,
        channels: int,
        kernel_sizes: Sequence[int] = (3,),
        act_cfg: dict | None = dict(type="GELU"),  # noqa: B006
        norm_cfg: dict | None = dict(type="BN"),  # noqa: B006
    ) -> None:
        super().__init__()
        # It has no parameters, so the branches share its output.
        self.act = build_activation_layer(act_cfg) if act_cfg else nn.Identity()
        self.branches = nn.ModuleList(
            DepthwiseBranch(channels, size, norm_cfg) for size in kernel_sizes
        )
        self.frozen = False

    def freeze(self) -> None:
        """Take it out of training for good: no gradients, and norms stay in evaluation."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "DepthwiseShortcut":
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        return super().train(mode and not self.frozen)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        if not self.branches:
            return x
        activated = activate(self.act, x)
        first, *others = self.branches  # a slice would build a ModuleList in each call
        is_free = not others and activated is not x and not looks_back(self.act)
        x = activated
        out = first(x, is_free)
        for branch in others:
            out = out + branch(x)
        return out

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Within this context batch norms do not count the batch, which they have seen before."""
        norms = [m for m in self.modules() if isinstance(m, _BatchNorm) and m.training]
        kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            # The statistics must still be passed: they are among the tensors saved.
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked = norm.num_batches_tracked.clone()
        try:
            yield
        finally:
            for norm, (momentum, count) in zip(norms, kept, strict=True):
                norm.momentum, norm.num_batches_tracked = momentum, count
