"""Build the network of a teacher and read the maps of its stages."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.hosts import HostView, Taps, view_host
from smallvit.hosts.probe import channels_for
from smallvit.registry import MODELS

#: Arguments with which the libraries' backbones return maps instead of vectors.
AS_MAPS = {"out_type": "featmap", "gap_before_final_norm": False}


class OwnMaps:
    """Network whose backbone returns the maps itself.

    Args:
        network (nn.Module): A backbone, or a classifier with one.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.in_channels = 3

    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Run the network.

        Args:
            images (Tensor): (B, C, H, W).

        Returns:
            tuple[list[Tensor], Tensor | None]: Maps, and logits if the network has a head.
        """
        net = self.network
        maps = _list_of(getattr(net, "backbone", net)(images))
        if getattr(net, "head", None) is None:
            return maps, None
        tail = net.neck(tuple(maps)) if net.with_neck else tuple(maps)
        return maps, _last(net.head(tail))


class TappedMaps:
    """Unmodified network whose maps are recorded from the outputs of its blocks.

    Args:
        network (nn.Module): A backbone, or a classifier with one.
        view (HostView): View of the backbone.
        positions (Sequence[int]): Indices of the blocks to record.
        classifies (bool): Whether the network returns logits.
    """

    def __init__(
        self, network: nn.Module, view: HostView, positions: Sequence[int], classifies: bool
    ) -> None:
        self.network = network
        self.in_channels = 3
        self.taps = Taps(view, positions)
        self.classifies = classifies

    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Run the network.

        Args:
            images (Tensor): (B, C, H, W).

        Returns:
            tuple[list[Tensor], Tensor | None]: Maps, and logits if ``classifies`` is set.
        """
        output, maps = self.taps.run(self.network, images)
        return maps, _last(output) if self.classifies else None


def open_network(
    config: dict, stages: Sequence[int], size: tuple[int, int], classifies: bool = False
) -> OwnMaps | TappedMaps:
    """Build a teacher's network and determine how to read its maps.

    First, the backbone is built with ``out_indices`` and, without a head, with the arguments in
    :data:`AS_MAPS` that it accepts. If it does not accept ``out_indices``, does not return maps or
    would need norms that the network of the config does not have, the network is built from the
    unmodified config, and the maps are the outputs of the last blocks of its stages (for a plain
    transformer, of its blocks), found by :mod:`smallvit.hosts`.

    Args:
        config (dict): Config of a backbone, or of a classifier with one.
        stages (Sequence[int]): Indices of the stages.
        size (tuple[int, int]): Height and width of the input.
        classifies (bool): Whether logits are needed too. Defaults to False.

    Returns:
        OwnMaps | TappedMaps: The wrapped network, with ``in_channels`` set.

    Raises:
        ValueError: If the maps cannot be read either way.
    """
    try:
        reader = OwnMaps(MODELS.build(_asking_for_maps(config, stages, classifies)))
        why = _probe(reader, len(stages), size, classifies)
    except Exception as error:  # classes of the libraries raise any type for unknown arguments
        why = (str(error) or type(error).__name__).split("\n")[0][:200]
    if not why and "timm_model" not in dict(reader.network.named_children()):
        why = _added_norms(reader.network, config)
    if not why:
        return reader
    network = MODELS.build(config)
    if classifies and not any(hasattr(network, name) for name in ("head", "model")):
        raise ValueError(
            f"guidance by logits requires a classifier as teacher, got the backbone "
            f"{config.get('type')}. Set guidance.teacher.model to the config of a classifier"
        )
    inner = getattr(network, "model", network) if classifies else network  # of a TimmClassifier
    backbone = getattr(network, "backbone", inner)
    try:
        backbone.eval()  # not chained: some of MMPretrain's backbones do not return self
        view = view_host(backbone)
        positions = ends_of_stages(view, stages)
        reader = TappedMaps(network, view, positions, classifies)
        fault, cause = _probe(reader, len(stages), size, classifies), None
    except Exception as error:
        fault, cause = str(error) or type(error).__name__, error
    if fault:
        raise ValueError(
            f"the teacher {config.get('type')} returns no maps of the stages {tuple(stages)} for "
            f"images of {size[0]} x {size[1]}: {why}; its blocks are not supported either: {fault}"
        ) from cause
    return reader


def ends_of_stages(view: HostView, stages: Sequence[int]) -> list[int]:
    """Find the last block of each of the given stages.

    Args:
        view (HostView): View of a backbone; if it has a single stage, each block counts as a stage.
        stages (Sequence[int]): Indices of the stages; negative indices count from the end.

    Returns:
        list[int]: Indices of the blocks.

    Raises:
        ValueError: If an index is out of range.
    """
    ends = [stage[-1] for stage in view.stages]
    what = "stages"
    if len(ends) == 1:
        ends, what = list(range(len(view))), "blocks"
    wrong = [stage for stage in stages if not -len(ends) <= stage < len(ends)]
    if wrong:
        raise ValueError(
            f"it has {len(ends)} {what}, got {wrong}. Set guidance.teacher.stages to numbers from "
            f"0 to {len(ends) - 1}"
        )
    return [ends[stage] for stage in stages]


def _asking_for_maps(config: dict, stages: Sequence[int], classifies: bool) -> dict:
    config = deepcopy(config)
    backbone = config.get("backbone", config)
    backbone["out_indices"] = tuple(stages)
    if not classifies:  # a head needs the output type that its backbone was trained with
        known = _arguments(backbone["type"], config.get("_scope_"))
        backbone.update({key: value for key, value in AS_MAPS.items() if key in known})
    return config


def _arguments(kind: str | type, scope: str | None) -> set[str]:
    """Collect argument names of a registered class, including those passed on to its parents."""
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    names: set[str] = set()
    for cls in getattr(kind, "__mro__", (kind,)):
        if cls is None or (isinstance(cls, type) and "__init__" not in vars(cls)):
            continue
        parameters = inspect.signature(cls).parameters.values()
        names.update(each.name for each in parameters)
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return names


def _probe(
    reader: OwnMaps | TappedMaps, count: int, size: tuple[int, int], classifies: bool
) -> str:
    """Run a network once, and describe what is wrong with its output, if anything."""
    network = reader.network
    network.eval()
    tried = channels_for(network)
    for number, channels in enumerate(tried, 1):
        try:
            with torch.no_grad():
                maps, logits = reader(torch.zeros(2, channels, *size))
        except RuntimeError:
            if number == len(tried):
                raise
            continue
        reader.in_channels = channels
        shapes = [tuple(each.shape) if isinstance(each, Tensor) else each for each in maps]
        if len(maps) != count or not all(_is_map(each) for each in maps):
            return f"expected {count} maps, got {_described(shapes)}"
        if classifies and not (isinstance(logits, Tensor) and logits.ndim == 2):
            return "its head returns no logits (B, classes)"
        break
    return ""


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _described(shapes: Sequence) -> str:
    shown = [str(shape) if isinstance(shape, tuple) else type(shape).__name__ for shape in shapes]
    return ", ".join(shown) or "nothing"


def _added_norms(network: nn.Module, config: dict) -> str:
    """Describe added norms that the network of the config, and so its checkpoint, lacks."""
    with torch.random.fork_rng(devices=[]):
        own = MODELS.build(config).state_dict()
    added = [key for key in network.state_dict() if key not in own]
    return f"its maps require {added[0]}, which the network does not have" if added else ""


def _list_of(output: Any) -> list:
    return list(output) if isinstance(output, (tuple, list)) else [output]


def _last(output: Any) -> Any:
    return output[-1] if isinstance(output, (tuple, list)) else output
