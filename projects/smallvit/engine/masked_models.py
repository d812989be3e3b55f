"""Check that the backbone of a masked image modeling config accepts a mask."""

from __future__ import annotations

from inspect import isclass, signature
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from smallvit.errors import UserError

#: Models that call ``backbone(images, mask)``.
MASKING = ("MAE", "SimMIM")


def check_masking(cfg: Config) -> None:
    """Refuse a backbone that MMPretrain's masked image modeling cannot call.

    Args:
        cfg (Config): The merged config.

    Raises:
        UserError: If the backbone of MAE or SimMIM does not accept a mask, or that of SparK has no
            sparse convolutions.
    """
    model = cfg.get("model") or {}
    kind = str(model.get("type", "")).rpartition(".")[2]
    backbone = (model.get("backbone") or {}).get("type")
    if kind not in (*MASKING, "SparK") or not isinstance(backbone, str):
        return
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        found = _find(backbone)
    if kind == "SparK" and "Sparse" not in backbone:
        raise UserError(
            f"model.backbone: SparK requires a sparse convolutional network (MMPretrain's "
            f"SparseResNet or SparseConvNeXt), got {backbone}. Use SimMIM with "
            "smallvit.MaskedBackbone instead"
        )
    if kind in MASKING and isclass(found) and "mask" not in signature(found.forward).parameters:
        raise UserError(
            f"model.backbone: {kind} calls its backbone with a mask, which {backbone} does not "
            'support. Set backbone=dict(type="smallvit.MaskedBackbone", '
            f'backbone=dict(type="{backbone}", ...))'
        )


def _find(kind: str) -> Any:
    with MODELS.switch_scope_and_registry(None) as registry:
        return registry.get(kind)
