"""Parameters and FLOPs of a model of any of the three tasks.

A multiply-add counts as one FLOP, as in the published tables. MMEngine's analyzer traces the model;
this module adds handlers for operators that it does not support.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from mmengine import Config
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.analysis.jit_handles import get_shape
from mmengine.analysis.print_helper import complexity_stats_table
from mmengine.registry import init_default_scope
from torch import nn

from smallvit.analysis.fake_data import PUBLISHED_SHAPES, fake_batch, task_of
from smallvit.analysis.published_rois import published_rois
from smallvit.engine.config_files import read_config
from smallvit.engine.model_settings import channels_of
from smallvit.engine.models import build_model

Handle = Callable[[list[Any], list[Any]], int]


def complexity(
    cfg: Config | dict | str, shape: tuple[int, int] | None = None, depth: int = 3
) -> dict[str, Any]:
    """Count the parameters and FLOPs of a config's model.

    Args:
        cfg (Config | dict | str): Config, or path of a config file.
        shape (tuple[int, int], optional): Height and width of the input. Defaults to None: the
            size of the published tables (224x224 for classification, 800x1280 for detection,
            512x2048 for segmentation).
        depth (int): Maximum depth of modules in the table. Defaults to 3.

    Returns:
        dict: ``params`` and ``flops`` (int) for one image, ``shape`` and ``task``, the ``table`` by
        module (str), and ``uncounted``, the number of calls of each custom operator without a
        handler.
    """
    cfg = read_config(cfg) if isinstance(cfg, str) else cfg
    init_default_scope(cfg.get("default_scope") or "mmengine")
    return model_complexity(build_model(cfg), shape, depth, channels_of(cfg))


def model_complexity(
    model: nn.Module,
    shape: tuple[int, int] | None = None,
    depth: int = 3,
    channels: int = 3,
) -> dict[str, Any]:
    """Count the parameters and FLOPs of a built model; see :func:`complexity`.

    Args:
        model (nn.Module): Model of MMPretrain, mmdet or mmseg.
        shape (tuple[int, int], optional): Height and width of the input. Defaults to None, see
            :func:`complexity`.
        depth (int): Maximum depth of modules in the table. Defaults to 3.
        channels (int): Channels of the input. Defaults to 3.

    Returns:
        dict: See :func:`complexity`.
    """
    task = task_of(model)
    shape = tuple(shape or PUBLISHED_SHAPES[task])
    device = next(model.parameters()).device
    image = torch.zeros(1, channels, *shape, device=device)
    forward = model.forward
    if task == "detection":
        # Two-stage detectors read the image size from the samples, also in a trace.
        model.forward = partial(forward, data_samples=fake_batch(model, shape)["data_samples"])
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), published_rois(model):
            analyzer = FlopAnalyzer(model, image)
            for name, handle in FLOP_HANDLES.items():
                analyzer.set_op_handle(name, handle)
            analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            analyzer.tracer_warnings("none")
            flops = int(analyzer.total())
            table = complexity_stats_table(analyzer, max_depth=depth, show_param_shapes=False)
            uncounted = {
                name: count
                for name, count in analyzer.unsupported_ops().items()
                if not name.startswith(("aten::", "prim::"))
            }
    finally:
        model.forward = forward
        model.train(training)
    params = int(parameter_count(model)[""])
    return {
        "task": task,
        "shape": shape,
        "params": params,
        "flops": flops,
        "table": table,
        "uncounted": uncounted,
    }


def attention_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """FLOPs of ``F.scaled_dot_product_attention``: both matrix products.

    Args:
        inputs (list): Traced values of query (..., L, E), key (..., S, E) and value (..., S, D).
        outputs (list): Traced values, unused.

    Returns:
        int: Number of multiply-adds.
    """
    query, key, value = (get_shape(item) for item in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def dynamic_dwconv_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """FLOPs of :mod:`smallvit.ops`: one multiply-add per kernel tap for each output value.

    Args:
        inputs (list): Traced values of the map (B, C, H, W) and the kernels, (B, C, k, k) or
            (B, G, k * k, H, W).
        outputs (list): Traced values, unused.

    Returns:
        int: Number of multiply-adds.
    """
    feature_map, kernels = (get_shape(item) for item in inputs[:2])
    taps = prod(kernels[2:]) if len(kernels) == 4 else kernels[2]
    return prod(feature_map) * taps


#: Handlers of operators that MMEngine's analyzer does not count, by name in the traced graph.
FLOP_HANDLES: dict[str, Handle] = {
    "aten::scaled_dot_product_attention": attention_flops,
    "smallvit::dynamic_dwconv2d": dynamic_dwconv_flops,
    "smallvit::inhomogeneous_dwconv2d": dynamic_dwconv_flops,
}
