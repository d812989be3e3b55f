"""DWNet, a hierarchical backbone with depth-wise convolutions in place of local attention."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks.transformer import PatchEmbed
from mmengine.model import BaseModule
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from timm.layers import trunc_normal_
from torch import Tensor, nn

from smallvit.backbones.base.common import (
    LINEAR_INIT,
    freeze,
    owner_takes_maps,
    resolve_indices,
    run_blocks,
)
from smallvit.layers.arch import resolve_arch
from smallvit.layers.dw_block import CONVS, DWBlock
from smallvit.layers.patch_merging import PatchMerging
from smallvit.registry import MODELS

OUT_TYPES = ("avg_featmap", "featmap")


class DWStage(nn.Module):
    """Blocks at one resolution, followed by patch merging except in the last stage.

    Args:
        blocks (Sequence[DWBlock]): Blocks of the stage in order.
        downsample (PatchMerging, optional): Patch merging after the blocks. Defaults to None.
    """

    def __init__(self, blocks: Sequence[DWBlock], downsample: PatchMerging | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


@MODELS.register_module()
class DWNet(BaseModule):
    """Hierarchical backbone of depth-wise convolution blocks for classification and dense tasks.

    A PyTorch implementation of `On the Connection between Local Attention and Dynamic
    Depth-wise Convolution <https://arxiv.org/abs/2106.04263>`_ (ICLR 2022).

    With the last stage only, as in a classifier, ``forward`` returns one pooled vector. With
    several ``out_indices``, or in a model with a neck or a decode head, as in detectors and
    segmentors, it returns feature maps, each normalized by its own layer::

        backbone=dict(_delete_=True, type="smallvit.DWNet", arch="tiny",
                      out_indices=(0, 1, 2, 3)),
        neck=dict(in_channels=[96, 192, 384, 768])

    Args:
        arch (str | dict): "tiny", "base", "mini" (for images of 8 to 64 pixels), or a dict
            with these keys:

            - **embed_dims** (int): Channels of the first stage; each stage doubles them.
            - **depths** (Sequence[int]): Number of blocks in each stage.
            - **group_channels** (Sequence[int]): Number of channels that share a kernel in each
              stage, used if ``conv="inhomogeneous"``.

            Defaults to "tiny".
        conv (str): Type of the depth-wise convolution: "static", "dynamic" (kernels predicted
            for each sample) or "inhomogeneous" (for each sample and position). Defaults to
            "static".
        img_size (int | tuple[int, int]): Size of the training images; it only determines the
            size of the position embedding. Defaults to 224.
        in_channels (int): Channels of the image. Defaults to 3.
        patch_size (int): Height and width of a patch. Defaults to 4.
        kernel_size (int): Odd size of the depth-wise kernels. Defaults to 7.
        mlp_ratio (float): Ratio of the hidden width of the feed-forward to the channels.
            Defaults to 4.
        out_indices (int | Sequence[int]): Stages whose outputs are returned. Defaults to
            -1, the last stage.
        out_type (str, optional): "avg_featmap", the mean (B, C) of the last stage's
            normalized tokens, or "featmap", the normalized map (B, C, H, W) of each stage
            in ``out_indices``. Defaults to None: "featmap" if ``out_indices`` has other
            stages than the last, or the model that builds the backbone has a neck, a
            decode head or a detector's head; else "avg_featmap".
        pad_to_kernel (bool, optional): Whether each block pads its map to a multiple of
            the kernel size, as the official code does for detection and segmentation,
            but not for classification. Defaults to None: with "featmap" only.
        drop_rate (float): Dropout after the patch embedding and in the feed-forward.
            Defaults to 0.
        drop_path_rate (float): Stochastic depth rate of the last block; it increases linearly
            from zero. Defaults to 0.
        use_abs_pos_embed (bool): Whether to add an absolute position embedding, interpolated
            to the size of the image. Defaults to False.
        norm_cfg (dict): Config of the norm layers in the blocks and of the maps;
            ``dict(type="SyncBN")`` on several GPUs. Defaults to ``dict(type="BN")``.
        frozen_stages (int): The patch embedding and the stages ``0 .. frozen_stages`` are
            not trained; -1 trains all. Defaults to -1.
        norm_eval (bool): Whether batch norms use fixed running statistics in training.
            Defaults to False.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
        init_cfg (dict | list[dict], optional): Config of MMEngine's initialization; for a
            checkpoint ``dict(type="Pretrained", checkpoint=..., prefix="backbone.")``. Defaults
            to a truncated normal for linear layers.

    Raises:
        ValueError: If ``arch``, ``conv``, ``out_type``, ``out_indices``, ``kernel_size`` or
            ``frozen_stages`` is invalid.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import DWNet
        >>> model = DWNet("tiny", out_indices=(0, 1, 2, 3))
        >>> outputs = model(torch.rand(1, 3, 64, 64))
        >>> for output in outputs:
        ...     print(tuple(output.shape))
        (1, 96, 16, 16)
        (1, 192, 8, 8)
        (1, 384, 4, 4)
        (1, 768, 2, 2)
    """

    arch_zoo = {
        "mini": dict(embed_dims=32, depths=(1, 1, 2, 1), group_channels=(1, 2, 4, 8)),
        "tiny": dict(embed_dims=96, depths=(2, 2, 6, 2), group_channels=(3, 6, 12, 24)),
        "base": dict(embed_dims=128, depths=(2, 2, 18, 2), group_channels=(4, 8, 16, 32)),
    }

    def __init__(
        self,
        arch: str | Mapping = "tiny",
        conv: str = "static",
        img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        patch_size: int = 4,
        kernel_size: int = 7,
        mlp_ratio: float = 4.0,
        out_indices: int | Sequence[int] = -1,
        out_type: str | None = None,
        pad_to_kernel: bool | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        use_abs_pos_embed: bool = False,
        norm_cfg: dict = dict(type="BN"),  # noqa: B006
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list | None = LINEAR_INIT,
    ) -> None:
        super().__init__(init_cfg)
        settings = resolve_arch(arch, self.arch_zoo, type(self).__name__)
        self.depths = tuple(settings["depths"])
        self.embed_dims = tuple(settings["embed_dims"] * 2**i for i in range(len(self.depths)))
        self.out_indices = resolve_indices(out_indices, len(self.depths))
        self.out_type = self._resolve_out_type(out_type)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self._check(conv, kernel_size)

        self.patch_embed = PatchEmbed(
            in_channels,
            self.embed_dims[0],
            kernel_size=patch_size,
            stride=patch_size,
            norm_cfg=dict(type="LN"),
            input_size=img_size,
        )
        self.absolute_pos_embed = None
        if use_abs_pos_embed:
            shape = (1, self.embed_dims[0], *self.patch_embed.init_out_size)
            self.absolute_pos_embed = nn.Parameter(torch.zeros(shape))
            self._register_load_state_dict_pre_hook(self._resize_loaded_positions)
        self.drop_after_pos = nn.Dropout(drop_rate)
        pad = self.out_type == "featmap" if pad_to_kernel is None else pad_to_kernel
        common = dict(
            conv=conv,
            kernel_size=kernel_size,
            mlp_ratio=mlp_ratio,
            drop_rate=drop_rate,
            pad_to_kernel=pad,
            norm_cfg=norm_cfg,
        )
        self.stages = self._build_stages(settings["group_channels"], drop_path_rate, common)
        self._add_out_norms(norm_cfg)
        self._freeze()

    def _resolve_out_type(self, out_type: str | None) -> str:
        pooled = self.out_indices == (len(self.depths) - 1,)
        if out_type is None:
            return "avg_featmap" if pooled and not owner_takes_maps() else "featmap"
        if out_type not in OUT_TYPES:
            raise ValueError(
                f"expected out_type to be one of {', '.join(OUT_TYPES)}, got {out_type!r}"
            )
        if out_type == "avg_featmap" and not pooled:
            raise ValueError(
                f"out_type='avg_featmap' requires the last stage in out_indices, got "
                f"{self.out_indices}. Set out_indices=(-1,) or out_type='featmap'"
            )
        return out_type

    def _check(self, conv: str, kernel_size: int) -> None:
        if conv not in CONVS:
            raise ValueError(f"expected conv to be one of {', '.join(CONVS)}, got {conv!r}")
        if kernel_size % 2 == 0:
            raise ValueError(
                f"expected an odd kernel_size, which keeps the size, got {kernel_size}"
            )
        if not -1 <= self.frozen_stages < len(self.depths):
            raise ValueError(
                f"expected frozen_stages from -1 to {len(self.depths) - 1} with "
                f"{len(self.depths)} stages, got {self.frozen_stages}"
            )

    def _build_stages(
        self, group_channels: Sequence[int], drop_path_rate: float, common: dict
    ) -> nn.ModuleList:
        rates = iter(torch.linspace(0, drop_path_rate, sum(self.depths), device="cpu").tolist())
        stages = nn.ModuleList()
        for dims, depth, group in zip(self.embed_dims, self.depths, group_channels, strict=True):
            blocks = [
                DWBlock(dims, group_channels=group, drop_path_rate=next(rates), **common)
                for _ in range(depth)
            ]
            is_last = dims == self.embed_dims[-1]
            stages.append(DWStage(blocks, None if is_last else PatchMerging(dims)))
        return stages

    def _add_out_norms(self, norm_cfg: dict) -> None:
        # The names differ so that weights of a layer norm are not loaded into a batch norm.
        if self.out_type == "avg_featmap":
            self.norm = nn.LayerNorm(self.embed_dims[-1])
            return
        for index in self.out_indices:
            norm = build_norm_layer(norm_cfg, self.embed_dims[index])[1]
            self.add_module(f"norm{index}", norm)

    def init_weights(self) -> None:
        """Initialize the weights, or load the checkpoint in ``init_cfg``."""
        super().init_weights()
        pretrained = isinstance(self.init_cfg, dict) and self.init_cfg["type"] == "Pretrained"
        if self.absolute_pos_embed is not None and not pretrained:
            trunc_normal_(self.absolute_pos_embed, std=0.02)

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        freeze([self.patch_embed, self.drop_after_pos, *self.stages[: self.frozen_stages + 1]])
        if self.absolute_pos_embed is not None:
            self.absolute_pos_embed.requires_grad_(False)
        if self.out_type == "featmap":
            freeze(getattr(self, f"norm{i}") for i in self.out_indices if i <= self.frozen_stages)

    def train(self, mode: bool = True) -> "DWNet":
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone.

        Args:
            x (Tensor): Images (B, in_channels, H, W) of any size.

        Returns:
            tuple[Tensor, ...]: One pooled vector (B, C), or maps (B, C_i, H_i, W_i), depending
            on ``out_type``.
        """
        x = self.embed(x)
        maps = []
        for index, stage in enumerate(self.stages):
            x = run_blocks(stage.blocks, x, with_cp=self.with_cp)
            if self.out_type == "featmap" and index in self.out_indices:
                norm = getattr(self, f"norm{index}")
                maps.append(norm(x.permute(0, 3, 1, 2)).contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x)
        return tuple(maps) if self.out_type == "featmap" else (self.norm(x).mean((1, 2)),)

    def embed(self, x: Tensor) -> Tensor:
        """Embed image patches and add the position embedding.

        Args:
            x (Tensor): Images (B, in_channels, H, W).

        Returns:
            Tensor: Feature map (B, h, w, C).
        """
        tokens, size = self.patch_embed(x)
        x = tokens.unflatten(1, size)
        if self.absolute_pos_embed is not None:
            x = x + self._positions(size)
        return self.drop_after_pos(x)

    def _positions(self, size: Sequence[int]) -> Tensor:
        return resize_map(self.absolute_pos_embed, size).permute(0, 2, 3, 1)

    def _resize_loaded_positions(self, state_dict: dict, prefix: str, *_) -> None:
        key = f"{prefix}absolute_pos_embed"
        if key in state_dict:
            size = self.absolute_pos_embed.shape[2:]
            state_dict[key] = resize_map(state_dict[key], size)


def resize_map(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a position embedding by bicubic interpolation, if its size differs.

    Args:
        x (Tensor): Position embedding (1, C, h, w).
        size (Sequence[int]): Target height and width.

    Returns:
        Tensor: Position embedding (1, C, *size).
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bicubic")
