"""Training on multispectral images: transforms, normalization and pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from smallvit.datasets.io.bands import Bands
from smallvit.datasets.recognition.survey import Survey
from smallvit.engine.checkpoint.fit import measure_fit, weights_of
from smallvit.engine.checkpoint.reading import read_checkpoint
from smallvit.errors import UserError
from smallvit.registry import MODELS

#: Transforms that take any number of bands of any range; others are for 8-bit colors.
GEOMETRIC = (
    *("RandomResizedCrop", "ResizeEdge", "Resize", "RandomCrop", "CenterCrop", "RandomFlip"),
    *("Pad", "PackInputs"),
)
LOADER, ERASING = "LoadImageFromFile", "RandomErasing"


def steps_of_bands(steps: Sequence[dict], bands: Bands, survey: Survey) -> Iterator[dict]:
    """Adapt the transforms of an RGB recipe to multispectral images.

    Args:
        steps (Sequence[dict]): Configs of the transforms.
        bands (Bands): Bands of the images.
        survey (Survey): Their mean and standard deviation.

    Yields:
        dict: Configs of those that can be used, reading bands.
    """
    for step in steps:
        kind = _short(step)
        if kind == LOADER:
            yield bands.step()
        elif kind == ERASING:
            # Noise of the mean and deviation of each band; the bands are in order.
            measured = {"mean": list(survey.mean), "std": list(survey.std)}
            yield {**step, "type": "smallvit.RandomErasing", "channel_order": "rgb", **measured}
        elif kind in GEOMETRIC:
            kept = {key: deepcopy(value) for key, value in step.items() if key != "backend"}
            yield kept  # Pillow only resizes 8-bit images


def left_out(steps: Sequence[dict]) -> list[str]:
    """List the transforms of a recipe that do not support multispectral images.

    Args:
        steps (Sequence[dict]): Configs of the transforms.

    Returns:
        list[str]: Names.
    """
    return [kind for kind in map(_short, steps) if kind not in (*GEOMETRIC, LOADER, ERASING)]


def _short(step: dict) -> str:
    return step["type"].rpartition(".")[2]


def normalization(survey: Survey) -> dict[str, Any]:
    """Describe the measured normalization.

    Args:
        survey (Survey): Mean and standard deviation of the bands.

    Returns:
        dict: Arguments of a data preprocessor of MMPretrain.
    """
    return {"mean": list(survey.mean), "std": list(survey.std), "to_rgb": False}


def check_weights(file: str, by_timm: bool, backbone: ConfigDict, survey: Survey) -> None:
    """Refuse weights for another number of channels.

    Args:
        file (str): ``official``, or a path or URL of a checkpoint.
        by_timm (bool): Whether the official weights are timm's, which adapts its first layer.
        backbone (ConfigDict): Backbone for the bands.
        survey (Survey): Bands of the images.

    Raises:
        UserError: If the first layer has another shape.
    """
    ways = (
        "Pretrain on these images (smallvit pretrain MODEL --data PATH --channels N), use "
        "timm:NAME, whose weights --pretrained adapts to any number of bands, or select three "
        "bands (--bands)"
    )
    if file == "official":
        if not by_timm and survey.channels != 3:
            raise UserError(
                f"--pretrained: the official weights require three channels, got {survey.channels} "
                f"bands. {ways}"
            )
        return
    state = {
        name.removeprefix("backbone."): value
        for name, value in weights_of(read_checkpoint(file)).items()
        if name.startswith("backbone.")
    }
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        fit = measure_fit(MODELS.build(deepcopy(backbone)), state)
    if fit.misshapen:
        raise UserError(
            f"--pretrained {file}: the weights do not fit a network with {survey.channels} bands "
            f"({fit.misshapen[0]}). {ways}"
        )
