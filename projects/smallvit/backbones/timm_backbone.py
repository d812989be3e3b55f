"""Wrapper of timm models as backbones."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import timm
import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import resample_abs_pos_embed
from timm.models.convit import GPSA
from timm.models.pvt_v2 import MlpWithDepthwiseConv
from torch import Tensor, nn

from smallvit.backbones.base.common import resolve_indices
from smallvit.errors import UserError
from smallvit.layers.depthwise_mlp import DepthwiseMlp
from smallvit.layers.gpsa import FusedGPSA
from smallvit.registry import MODELS
from smallvit.utils.versions import release

#: Oldest supported timm: earlier versions silently drop the class token with
#: ``pos_embed="none"``, which gives another model.
OLDEST_TIMM = "1.0.26"


def _check_timm() -> None:
    if release(timm.__version__) < release(OLDEST_TIMM):
        raise UserError(
            f"smallvit requires timm {OLDEST_TIMM} or later, got {timm.__version__}, which builds "
            f"a different model without position embedding: pip install 'timm>={OLDEST_TIMM}'"
        )


def _check_name(model_name: str) -> None:
    # Names with a scheme (hf-hub:...) are resolved by timm itself.
    if ":" in model_name or timm.is_model(model_name):
        return
    names = timm.list_models()
    near = get_close_matches(model_name, names, n=4) or timm.list_models(f"*{model_name}*")[:4]
    hint = f"Did you mean {', '.join(near)}?" if near else "See timm.list_models()"
    raise ValueError(f"timm {timm.__version__} has no model {model_name!r}. {hint}")


def _create(model_name: str, pretrained: bool, **options: Any) -> nn.Module:
    try:
        return timm.create_model(model_name, pretrained=pretrained, **options)
    except OSError as error:  # network errors are subclasses
        if not pretrained:
            raise
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise UserError(
            f"cannot download timm's weights of {model_name} ({reason[:200]}). Check the network "
            "connection, or pass a weight file (init_cfg; --pretrained FILE with --data)"
        ) from error


def _set_norm_eps(model: nn.Module, eps: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


def _replace_parts(model: nn.Module) -> None:
    """Replace some of timm's modules by faster ones with the same parameters."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, GPSA):
                setattr(parent, name, FusedGPSA(child, model.patch_embed.grid_size))
            elif isinstance(child, MlpWithDepthwiseConv):
                setattr(parent, name, DepthwiseMlp(child))


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """timm model that returns pooled features for classification, or feature maps.

    MMPretrain's ``TIMMBackbone`` returns the last features only, unpooled, or renames
    the parameters to return several. This wrapper keeps timm's parameter names and pooling,
    so that the same checkpoint can be used for both kinds of output.

    Args:
        model_name (str): Name of a timm model, e.g. ``pvt_v2_b0``. Nothing is downloaded
            unless ``pretrained`` is True.
        out_type (str): Type of the outputs: "pooled", the input (B, C) of timm's classifier;
            "featmap", the maps (B, C_i, H_i, W_i) of the levels in ``out_indices``; "raw", the
            output of the model's ``forward_features``. Defaults to "pooled".
        out_indices (int | Sequence[int]): Levels to return with "featmap", as counted in
            the model's ``feature_info``. Defaults to -1.
        out_norm (bool): Whether to apply the model's final norm to the maps of
            "featmap", for models that support it. Defaults to False.
        in_channels (int): Channels of the image. Defaults to 3.
        pretrained (bool): Whether timm loads its pretrained weights. Defaults to False.
        frozen (bool): Whether to freeze the weights for a linear probe: no gradients, and
            evaluation mode also in training. Defaults to False.
        drop_path_rate (float, optional): Stochastic depth rate. Defaults to None: the default
            of the model.
        norm_eps (float, optional): Epsilon of all layer norms. Defaults to None: the default
            of the model.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
        init_cfg (dict | list[dict], optional): Config of MMEngine's initialization. Defaults to
            None: timm's initialization.
        **kwargs (dict): Arguments of the model's constructor, e.g. ``img_size``.

    Raises:
        UserError: If timm is older than smallvit requires, or its pretrained weights cannot be
            downloaded.
        ValueError: If timm has no model of that name, or the model does not support an option.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import TimmBackbone
        >>> model = TimmBackbone("pvt_v2_b0", out_type="featmap", out_indices=(0, 1, 2, 3))
        >>> outputs = model(torch.rand(1, 3, 64, 64))
        >>> for output in outputs:
        ...     print(tuple(output.shape))
        (1, 32, 16, 16)
        (1, 64, 8, 8)
        (1, 160, 4, 4)
        (1, 256, 2, 2)
    """

    out_types = ("pooled", "featmap", "raw")

    def __init__(
        self,
        model_name: str,
        out_type: str = "pooled",
        out_indices: int | Sequence[int] = -1,
        out_norm: bool = False,
        in_channels: int = 3,
        pretrained: bool = False,
        frozen: bool = False,
        drop_path_rate: float | None = None,
        norm_eps: float | None = None,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
        **kwargs,
    ) -> None:
        super().__init__(init_cfg)
        _check_timm()
        if out_type not in self.out_types:
            raise ValueError(
                f"expected out_type to be one of {', '.join(self.out_types)}, got {out_type!r}"
            )
        _check_name(model_name)
        self.model_name = model_name
        self.out_type = out_type
        self.out_norm = out_norm
        options = dict(num_classes=0, drop_path_rate=drop_path_rate, **kwargs)
        self.timm_model = _create(model_name, pretrained, in_chans=in_channels, **options)
        _replace_parts(self.timm_model)
        if norm_eps is not None:
            _set_norm_eps(self.timm_model, norm_eps)
        if with_cp:
            self._checkpoint_gradients()
        if out_type == "featmap":
            self._prepare_maps(out_indices)
        self.frozen = frozen
        if frozen:
            self.timm_model.requires_grad_(False).eval()
        self._register_load_state_dict_pre_hook(self._resize_pos_embed)

    def _resize_pos_embed(self, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
        """Resize a stored position embedding to this image size, as other backbones here do."""
        own = getattr(self.timm_model, "pos_embed", None)
        stored = state_dict.get(f"{prefix}timm_model.pos_embed")
        if own is None or stored is None or stored.shape == own.shape:
            return
        if own.ndim == 4:  # a map (1, C, H, W), as in PiT
            resized = F.interpolate(stored, own.shape[2:], mode="bicubic", antialias=True)
        else:
            grid = self.timm_model.patch_embed.grid_size
            extra = own.shape[1] - grid[0] * grid[1]  # 0 in ConViT and CaiT
            resized = resample_abs_pos_embed(stored, new_size=grid, num_prefix_tokens=extra)
        state_dict[f"{prefix}timm_model.pos_embed"] = resized

    def _checkpoint_gradients(self) -> None:
        try:
            self.timm_model.set_grad_checkpointing(True)
        except (AssertionError, AttributeError) as error:
            raise ValueError(
                f"timm's {self.model_name} does not support gradient checkpointing. Set "
                "with_cp=False"
            ) from error

    def _prepare_maps(self, out_indices: int | Sequence[int]) -> None:
        if not hasattr(self.timm_model, "forward_intermediates"):
            raise ValueError(
                f"out_type='featmap' requires forward_intermediates, which {self.model_name} does "
                f"not have in timm {timm.__version__}. Update timm, or choose another model"
            )
        info = list(self.timm_model.feature_info)
        indices = resolve_indices(out_indices, len(info), "level")
        self.out_channels = tuple(info[index]["num_chs"] for index in indices)
        self.out_indices = indices
        # Unused layers would have no gradient, and DDP would fail.
        self.timm_model.prune_intermediate_layers(
            list(indices), prune_norm=not self.out_norm, prune_head=True
        )

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Set the mode; a frozen timm model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.timm_model.eval()
        return self

    def init_weights(self) -> None:
        """Initialize from ``init_cfg``; otherwise keep timm's initial or pretrained weights."""
        if self.init_cfg:
            super().init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the model.

        Args:
            x (Tensor): Images (B, C, H, W).

        Returns:
            tuple[Tensor, ...]: Outputs of the type ``out_type``.
        """
        if self.out_type == "featmap":
            maps = self.timm_model.forward_intermediates(
                x, indices=list(self.out_indices), norm=self.out_norm, intermediates_only=True
            )
            return tuple(maps)
        features = self.timm_model.forward_features(x)
        if self.out_type == "raw":
            return (features,)
        return (self.timm_model.forward_head(features, pre_logits=True),)
