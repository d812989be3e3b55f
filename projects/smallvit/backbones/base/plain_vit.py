"""Base class of plain vision transformers, which keep one token grid through all blocks."""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from smallvit.backbones.base.common import LINEAR_INIT, freeze, resolve_indices, run_blocks
from smallvit.layers.position import fit_loaded_positions, resize_positions, sinusoid_table
from smallvit.layers.tokens import tokens_to_map

OUT_TYPES = ("cls_token", "avg_featmap", "featmap", "raw")
POS_EMBEDS = ("learnable", "sinusoid", None)


class PlainViT(BaseModule):
    """Base class of plain vision transformers.

    A subclass passes its patch embedding and blocks; the base class adds
    extra tokens and a position embedding that is interpolated to the input size, runs the
    blocks, normalizes the last output and formats the outputs.

    Args:
        patch_embed (nn.Module): Module from images (B, C, H, W) to tokens (B, h * w,
            embed_dims) and their grid (h, w).
        layers (Sequence[nn.Module]): Blocks, called with tokens (B, N, embed_dims) and
            the grid, that return tokens of the same shape.
        embed_dims (int): Channels of the tokens.
        with_cls_token (bool): Whether to prepend a class token. Defaults to True.
        with_dist_token (bool): Whether to add a distillation token before the patches.
            Defaults to False.
        pos_embed (str, optional): Type of the position embedding: "learnable", "sinusoid"
            (fixed) or None. Defaults to None.
        patch_resolution (tuple[int, int], optional): Grid for which the position
            embedding is created; required if there is one. Defaults to None.
        interpolate_mode (str): Interpolation mode of the position embedding.
            Defaults to "bicubic".
        drop_rate (float): Dropout after the position embedding. Defaults to 0.
        norm_cfg (dict): Config of the final norm. Defaults to ``dict(type="LN", eps=1e-6)``.
        final_norm (bool): Whether to normalize the last block's output. Defaults to True.
        out_indices (int | Sequence[int]): Blocks whose outputs are returned.
            Defaults to -1.
        out_type (str): Type of the outputs:

            - "cls_token": the class token (B, C), or the class and the distillation
              token as a tuple if there are two.
            - "avg_featmap": the mean over the patches (B, C).
            - "featmap": the patches as a map (B, C, h, w).
            - "raw": all tokens (B, N, C).

            Defaults to "cls_token".
        frozen_stages (int): -1 freezes nothing, 0 the embedding, n also the first n
            blocks. Defaults to -1.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
        init_cfg (dict | list, optional): Config of MMEngine's initialization. Defaults to None:
            a truncated normal with standard deviation 0.02 for linear layers.

    Raises:
        ValueError: If an argument is invalid, or contradicts another.
    """

    def __init__(
        self,
        patch_embed: nn.Module,
        layers: Sequence[nn.Module],
        embed_dims: int,
        with_cls_token: bool = True,
        with_dist_token: bool = False,
        pos_embed: str | None = None,
        patch_resolution: tuple[int, int] | None = None,
        interpolate_mode: str = "bicubic",
        drop_rate: float = 0.0,
        norm_cfg: dict | None = None,
        final_norm: bool = True,
        out_indices: int | Sequence[int] = -1,
        out_type: str = "cls_token",
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or LINEAR_INIT)
        self._check(out_type, pos_embed, frozen_stages, len(layers))
        self.embed_dims = embed_dims
        self.num_layers = len(layers)
        self.out_indices = resolve_indices(out_indices, self.num_layers, "block")
        self.out_type = out_type
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp

        self.patch_embed = patch_embed
        self.cls_token = self._token() if with_cls_token else None
        self.dist_token = self._token() if with_dist_token else None
        self.num_extra_tokens = int(with_cls_token) + int(with_dist_token)
        self.patch_resolution = patch_resolution
        self.interpolate_mode = interpolate_mode
        self._make_pos_embed(pos_embed)
        self.drop_after_pos = nn.Dropout(drop_rate)
        self.layers = nn.ModuleList(layers)
        norm_cfg = norm_cfg or dict(type="LN", eps=1e-6)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1] if final_norm else nn.Identity()

    def _check(self, out_type: str, pos_embed: str | None, frozen: int, num_layers: int) -> None:
        name = type(self).__name__
        if out_type not in OUT_TYPES:
            raise ValueError(
                f"{name}: expected out_type to be one of {OUT_TYPES}, got {out_type!r}"
            )
        if pos_embed not in POS_EMBEDS:
            raise ValueError(
                f"{name}: expected pos_embed to be one of {POS_EMBEDS}, got {pos_embed!r}"
            )
        if not -1 <= frozen <= num_layers:
            raise ValueError(
                f"{name}: expected frozen_stages from -1 to {num_layers} with {num_layers} blocks, "
                f"got {frozen}"
            )

    def _token(self) -> nn.Parameter:
        return nn.Parameter(torch.zeros(1, 1, self.embed_dims))

    def _make_pos_embed(self, kind: str | None) -> None:
        if kind is None:
            self.pos_embed = None
            return
        length = self.patch_resolution[0] * self.patch_resolution[1] + self.num_extra_tokens
        if kind == "sinusoid":
            self.register_buffer("pos_embed", sinusoid_table(length, self.embed_dims))
        else:
            self.pos_embed = nn.Parameter(torch.zeros(1, length, self.embed_dims))
        self._register_load_state_dict_pre_hook(self._fit_loaded_pos_embed)

    def init_weights(self) -> None:
        """Initialize tokens and a learnable position embedding from a truncated normal."""
        super().init_weights()
        if isinstance(self.init_cfg, dict) and self.init_cfg["type"] == "Pretrained":
            return
        for value in (self.cls_token, self.dist_token, self.pos_embed):
            if isinstance(value, nn.Parameter):
                trunc_normal_(value, std=0.02)

    def train(self, mode: bool = True) -> "PlainViT":
        """Set the mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        if mode:
            self._freeze_stages()
        return self

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        freeze([self.patch_embed, self.drop_after_pos, *self.layers[: self.frozen_stages]])
        freeze(self.modules_after_blocks() if self.frozen_stages == self.num_layers else [])
        for value in (*self.extra_tokens(), self.pos_embed):
            if value is not None:
                value.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple:
        """Extract features.

        Args:
            x (Tensor): Images, (B, C, H, W), of any height and width.

        Returns:
            tuple: One output of the type ``out_type`` for each of ``out_indices``.
        """
        x, hw = self.embed(x)
        outs = []
        for i, layer in enumerate(self.layers):
            x = run_blocks([layer], x, hw, with_cp=self.with_cp)
            if i == self.num_layers - 1:
                x = self.finish(x)
            if i in self.out_indices:
                outs.append(self.format_output(x, hw))
        return tuple(outs)

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images as tokens, prepend extra tokens and add the position embedding.

        Args:
            x (Tensor): Images, (B, C, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (B, N, embed_dims) and the grid (h, w).
        """
        x, hw = self.patch_embed(x)
        extra = self.extra_tokens()
        if extra:
            x = torch.cat([*(token.expand(x.shape[0], -1, -1) for token in extra), x], dim=1)
        if self.pos_embed is not None:
            x = x + resize_positions(
                self.pos_embed,
                self.patch_resolution,
                hw,
                self.num_extra_tokens,
                self.interpolate_mode,
            )
        return self.drop_after_pos(x), hw

    def extra_tokens(self) -> list[nn.Parameter]:
        """Tokens (1, 1, C) that precede the patches in the first block."""
        return [token for token in (self.cls_token, self.dist_token) if token is not None]

    def modules_after_blocks(self) -> list[nn.Module]:
        """Modules that are frozen together with all blocks."""
        return [self.norm]

    def finish(self, x: Tensor) -> Tensor:
        """Normalize the tokens (B, N, C) of the last block."""
        return self.norm(x)

    def format_output(self, x: Tensor, hw: tuple[int, int]) -> Tensor | tuple[Tensor, Tensor]:
        """Convert the tokens of a block to an output of the type ``out_type``.

        Args:
            x (Tensor): Tokens (B, N, C), with the patches last.
            hw (tuple[int, int]): Height and width of the grid of patches.

        Returns:
            Tensor | tuple[Tensor, Tensor]: Vectors, a map, all tokens, or the class and the
            distillation token.
        """
        if self.out_type == "raw":
            return x
        if self.out_type == "cls_token":
            return x[:, 0] if self.dist_token is None else (x[:, 0], x[:, 1])
        patches = x[:, x.shape[1] - hw[0] * hw[1] :]
        return patches.mean(dim=1) if self.out_type == "avg_featmap" else tokens_to_map(patches, hw)

    def _fit_loaded_pos_embed(self, state_dict: dict, prefix: str, *_) -> None:
        fit_loaded_positions(
            state_dict,
            f"{prefix}pos_embed",
            self.pos_embed,
            self.patch_resolution,
            self.num_extra_tokens,
            self.interpolate_mode,
        )

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning-rate decay.

        Args:
            param_name (str): Name of the parameter.
            prefix (str): Prefix of the backbone's parameters. Defaults to "".

        Returns:
            tuple[int, int]: Depth (0 for the embedding, ``num_layers + 1`` for parameters
            after the blocks) and number of depths.
        """
        num_depths = self.num_layers + 2
        name = param_name.removeprefix(prefix)
        if not param_name.startswith(prefix):
            return num_depths - 1, num_depths
        if name.startswith("layers."):
            return int(name.split(".")[1]) + 1, num_depths
        in_stem = name.startswith(("patch_embed.", "cls_token", "dist_token", "pos_embed"))
        return (0 if in_stem else num_depths - 1), num_depths
