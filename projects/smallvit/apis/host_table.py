"""Compatibility of the libraries' backbones with plugins, detectors and segmentors."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import nn

from smallvit.apis import host_checks as checks
from smallvit.apis.dense_checks import as_detector, as_segmentor
from smallvit.apis.small_backbones import ABSTRACT, SMALL, UNSET, small_timm_model
from smallvit.errors import HostError
from smallvit.hosts import view_host
from smallvit.plugins.locality_guidance.teacher import Teacher
from smallvit.registry import MODELS

#: Libraries, in the order of the table.
LIBRARIES = ("mmpretrain", "mmdet", "mmseg", "timm")
#: Uses of a backbone, in the order of the columns.
USES = ("shortcut", "student", "teacher", "exit", "detector", "segmentor")
#: Arguments with which backbones of MMPretrain return feature maps.
_DENSE = {"out_type": "featmap", "gap_before_final_norm": False, "gap_before_output": False}


@dataclass(frozen=True)
class HostRow:
    """Compatibility of one backbone.

    Args:
        library (str): "mmpretrain", "mmdet", "mmseg" or "timm".
        name (str): Name of the class, or of the module for timm.
        what (str): Number and layout of the blocks, or the reason why it is not a host.
        uses (dict[str, str]): For each of :data:`USES`, "yes" or the reason why not.
    """

    library: str
    name: str
    what: str
    uses: dict[str, str] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """bool: Whether all checks with DW shortcuts pass."""
        return self.uses.get("shortcut") == "yes"


def names(library: str) -> list[str]:
    """List the backbone classes of a library, or timm's modules of models.

    Args:
        library (str): Member of :data:`LIBRARIES`.

    Returns:
        list[str]: Sorted names.
    """
    if library == "timm":
        import timm

        return sorted(timm.list_modules())
    return sorted(import_module(f"{library}.models.backbones").__all__)


def look(library: str, name: str) -> HostRow:
    """Build a small instance of a backbone and check all uses.

    Args:
        library (str): Member of :data:`LIBRARIES`.
        name (str): Backbone, as listed by :func:`names`.

    Returns:
        HostRow: Result of the checks.
    """
    reason = ABSTRACT.get((library, name))
    if reason:
        return _nothing(library, name, reason)
    torch.manual_seed(0)
    try:
        host = build(library, name)
        shape = checks.shape_of(host)
    except Exception as error:
        return _nothing(library, name, f"build failed: {checks.short(error)}")
    try:
        return HostRow(library, name, *_tried(library, name, host, shape))
    finally:
        del host
        gc.collect()


def _nothing(library: str, name: str, reason: str) -> HostRow:
    return HostRow(library, name, reason, dict.fromkeys(USES, "no"))


def _tried(
    library: str, name: str, host: nn.Module, shape: tuple[int, int, int]
) -> tuple[str, dict[str, str]]:
    uses = {"exit": checks.as_exit(host, shape)}
    try:
        view = view_host(host)
    except HostError as error:
        what = str(error).split("\n")[0].partition(": ")[2].rstrip(".")
        uses |= {"shortcut": "no", "student": "no"}
    else:
        stages = "+".join(str(len(stage)) for stage in view.stages)
        what = f"{stages} blocks, {view.blocks[0].layout}"
        uses["student"] = checks.as_student(host, shape)
        found = checks.ShortcutChecks(host, shape).run()
        uses["shortcut"] = "; ".join(
            f"{check}: {result}" for check, result in found.items() if result not in ("", "-")
        )
    uses["teacher"] = _as_teacher(library, name, shape, host)
    same = _config(library, name) == _config(library, name, dense=True)
    uses |= _as_dense(library, name, shape, host if same else None, not uses["shortcut"])
    return what, {use: uses[use] or "yes" for use in USES}


def _config(library: str, name: str, dense: bool = False) -> dict[str, Any]:
    if library == "timm":
        model, options = small_timm_model(name)
        kind = dict(out_type="featmap") if dense else {}
        return dict(type="smallvit.TimmBackbone", model_name=model, **kind, **options)
    cls = getattr(import_module(f"{library}.models.backbones"), name)
    more = {k: v for k, v in _DENSE.items() if checks.takes(cls, k)} if dense else {}
    return dict(type=f"{library}.{name}", **SMALL[library].get(name, {}) | more)


def build(library: str, name: str, dense: bool = False) -> nn.Module:
    """Build a small instance of a backbone.

    Args:
        library (str): Member of :data:`LIBRARIES`.
        name (str): Backbone, as listed by :func:`names`.
        dense (bool): Whether to request feature maps, if an argument exists for it. Defaults to
            False.

    Returns:
        nn.Module: Backbone with random weights.
    """
    with DefaultScope.overwrite_default_scope("mmpretrain" if library == "timm" else library):
        host = MODELS.build(_config(library, name, dense))  # some build parts in the default scope
    for module in host.modules():
        if type(module).__name__ in UNSET:
            nn.init.kaiming_normal_(module.weight)
    return host


def _as_teacher(library: str, name: str, shape: tuple[int, int, int], host: nn.Module) -> str:
    config = dict(_config(library, name), _scope_=library if library != "timm" else "smallvit")
    config.pop("out_indices", None)
    own = getattr(host, "out_indices", 0)  # other stages may lack an output norm
    last = own if isinstance(own, int) else list(own)[-1]
    why = ""
    for stage in (last, 0):  # the host view may have fewer stages
        try:
            shapes = Teacher(config, size=shape[1:], stages=(stage,)).shapes
        except Exception as error:
            why = why or checks.short(error)
            continue
        return "" if all(len(each) == 3 for each in shapes) else f"outputs are not maps: {shapes}"
    return why


def _as_dense(
    library: str,
    name: str,
    shape: tuple[int, int, int],
    host: nn.Module | None,
    shortcuts: bool,
) -> dict[str, str]:
    """Check detection and segmentation, with shortcuts if the backbone supports them."""
    try:
        if host is None:
            host = build(library, name, dense=True)
            if shortcuts:
                checks.attach_dw_shortcuts(host)
    except Exception as error:
        return dict.fromkeys(("detector", "segmentor"), checks.short(error))
    return {"detector": as_detector(host, shape), "segmentor": as_segmentor(host, shape)}
