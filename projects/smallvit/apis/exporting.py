"""Export trained models to ONNX, torch.export and TorchScript, verified against PyTorch."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.apis.graph_inputs import input_images
from smallvit.apis.graphs import backbone_of, graph_of, run_all
from smallvit.apis.predictor import Predictor
from smallvit.engine.predictions import DETECTION
from smallvit.errors import UserError
from smallvit.utils.files import whole_file
from smallvit.utils.versions import release

FORMATS = ("onnx", "torch-export", "torchscript")
ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2", "torchscript": ".pt"}
#: Maximum difference of a graph from PyTorch, relative to the largest value.
TOLERANCE = 1e-4
METADATA = "smallvit.json"
#: Oldest torch whose ONNX exporter supports these graphs; that of 2.6 fails on classifiers.
OLDEST_TORCH_OF_ONNX = "2.7"
#: Additional batch sizes with which a graph with a dynamic batch is verified.
BATCHES, LARGER_BATCH = (1, 3), 17
#: Maximum number of values of an image for which the larger batch is verified too.
SMALL_IMAGE = 3 * 64 * 64


@dataclass(frozen=True)
class Wish:
    """Export options.

    Args:
        dynamic_batch (bool): Support any batch size. Defaults to True.
        dynamic_size (bool): Support any image size. Defaults to False.
        preprocesses (bool): Include preprocessing: the input has values 0 to 255 in BGR order.
            Defaults to False: the input is already normalized.
        part (str): "whole", or "backbone" for the maps of backbone and neck. Defaults to
            "whole".
        precision (str): "fp32"; "bf16", except for ONNX; or "int8", only for ONNX. Defaults to
            "fp32".
    """

    dynamic_batch: bool = True
    dynamic_size: bool = False
    preprocesses: bool = False
    part: str = "whole"
    precision: str = "fp32"


def export(
    predictor: Predictor,
    path: str | os.PathLike,
    kind: str = "onnx",
    wish: Wish | None = None,
    images: Sequence[Any] | None = None,
    calibration: Sequence[Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> float:
    """Export a model and verify the written graph against PyTorch.

    Args:
        predictor (Predictor): Predictor with the model, on the CPU.
        path (str | os.PathLike): Path to write.
        kind (str): "onnx", "torch-export" or "torchscript". Defaults to "onnx".
        wish (Wish, optional): Export options. Defaults to None: a dynamic batch of normalized
            images.
        images (Sequence, optional): Images to compare on, as accepted by a predictor. Defaults to
            None: two photographs included in scikit-learn, in 32 pieces for bf16 and int8.
        calibration (Sequence, optional): Images to calibrate the activation ranges of int8 on, as
            accepted by a predictor. Defaults to None, which computes the ranges in each call.
        tell (Callable, optional): Callback that receives how often decisions in bf16 or int8 agree
            with float32, which is also stored in the metadata of the file. Defaults to None.

    Returns:
        float: Largest difference from PyTorch in float32, relative to the largest value.

    Raises:
        UserError: If the model or the format does not support the options, or the output of the
            graph differs; no file is written then.
    """
    if kind not in FORMATS:
        raise UserError(f"expected a format of {', '.join(FORMATS)}, got {kind!r}")
    from smallvit.apis.reduced_precision import require_possible, write_reduced

    wish = wish or Wish()
    require_possible(kind, wish.precision, predictor.task, wish.part, calibration is not None)
    inputs = input_images(predictor, wish.preprocesses, images, wish.precision)
    if wish.part == "backbone":
        graph: nn.Module = backbone_of(predictor.model, wish.preprocesses)
    else:
        graph = graph_of(predictor.model, predictor.task, wish.preprocesses, inputs)
        if predictor.task == DETECTION:
            if wish.dynamic_size:
                raise UserError(
                    "--dynamic-size is not supported for detectors, whose anchors are fixed"
                )
            wish, inputs = replace(wish, dynamic_batch=False), inputs[:1]
    metadata = describe(predictor, wish, inputs.shape)
    if wish.precision == "fp32":
        return write_graph(graph, (inputs,), path, kind, wish, metadata)
    ranges = (input_images(predictor, wish.preprocesses, calibration),) if calibration else None
    return write_reduced(graph, (inputs,), path, kind, wish, metadata, ranges, tell)


def write_graph(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    path: str | os.PathLike,
    kind: str,
    wish: Wish,
    metadata: dict[str, Any],
    tolerance: float = TOLERANCE,
) -> float:
    """Write a graph atomically, if its output matches that of the module; see :func:`export`."""
    write = {"onnx": _write_onnx, "torch-export": _write_export, "torchscript": _write_script}[kind]
    with whole_file(path) as temporary:
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = write(graph, inputs, temporary, wish, metadata)
        except ModuleNotFoundError as error:
            raise UserError(
                f"{kind} requires {error.name}, which is not installed: pip install "
                "'smallvit[export]'"
            ) from error
        except UserError:
            raise
        except Exception as error:  # exporters raise exceptions of any type
            raise UserError(_refusal(kind, wish, error)) from error
        return compare(graph, inputs, run, wish, tolerance)


def _refusal(kind: str, wish: Wish, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    known = [line for line in lines if "onstraint" in line or "pecializ" in line or "Error" in line]
    reason = (known or lines or [type(error).__name__])[0][:300]
    hint = ""
    if wish.dynamic_size:
        hint = ". If its position embeddings or windows have a fixed size, remove --dynamic-size"
    return f"{kind}: torch cannot export this model: {reason}{hint}"


def describe(predictor: Predictor, wish: Wish, shape: torch.Size) -> dict[str, Any]:
    """Describe the graph for programs that run it, as JSON values.

    Args:
        predictor (Predictor): Predictor with the exported model.
        wish (Wish): Export options.
        shape (torch.Size): Shape of the example input.

    Returns:
        dict[str, Any]: Task, part, classes, input and dynamic dimensions.
    """
    preprocessor = predictor.model.data_preprocessor
    mean, std = (getattr(preprocessor, name, None) for name in ("mean", "std"))
    swaps = getattr(preprocessor, "to_rgb", getattr(preprocessor, "_channel_conversion", False))
    told = {
        "mean": None if mean is None else mean.flatten().tolist(),
        "std": None if std is None else std.flatten().tolist(),
        "channels": "RGB" if swaps else "BGR",
    }
    if wish.preprocesses:
        told = {"mean": None, "std": None, "channels": "BGR"}
    return {
        "task": predictor.task,
        "part": wish.part,
        "classes": list(predictor.classes),
        "input": {"size": list(shape[2:]), "values": "0 to 255 before mean and std", **told},
        "dynamic": [
            name for name, on in (("batch", wish.dynamic_batch), ("size", wish.dynamic_size)) if on
        ],
    }


def _dynamic_shapes(inputs: tuple[Tensor, ...], wish: Wish) -> tuple | None:
    if not (wish.dynamic_batch or wish.dynamic_size):
        return None
    free = getattr(torch.export.Dim, "DYNAMIC", None)
    if free is None:
        raise UserError(
            f"torch {torch.__version__} exports only graphs of fixed sizes. Use torch 2.6 or "
            "later, or --fixed-batch"
        )
    batch = {0: free} if wish.dynamic_batch else {}
    size = {2: free, 3: free} if wish.dynamic_size else {}
    first, others = {**batch, **size}, tuple(batch for _ in inputs[1:])
    return (first, others) if others else (first,)  # the others are passed as *args


Run = Callable[..., tuple[Tensor, ...]]


def _program(graph: nn.Module, inputs: tuple[Tensor, ...], wish: Wish) -> Any:
    shapes = _dynamic_shapes(inputs, wish)
    return torch.export.export(graph, inputs, dynamic_shapes=shapes, strict=False)


def _write_onnx(
    graph: nn.Module, inputs: tuple, path: str, wish: Wish, metadata: dict[str, Any]
) -> Run:
    import onnx
    import onnxruntime

    if release(torch.__version__) < release(OLDEST_TORCH_OF_ONNX):
        raise UserError(
            f"onnx: torch {torch.__version__} cannot export this graph. Use torch "
            f"{OLDEST_TORCH_OF_ONNX} or later, or --format torch-export --fixed-batch"
        )
    shapes = _dynamic_shapes(inputs, wish)
    names = ["images", *(f"state_{number}" for number in range(len(inputs) - 1))]
    count = len(run_all(graph, *inputs))
    first = "logits" if hasattr(graph, "takes") else "scores"
    outputs = [first, *(f"next_{number}" for number in range(count - 1))]
    outputs = list(getattr(graph, "outputs", outputs))
    if wish.part == "backbone":
        outputs = [f"map_{number}" for number in range(count)]
    program = torch.onnx.export(
        graph,
        inputs,
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=names,
        output_names=outputs,
        verbose=False,
    )
    model = program.model_proto
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.metadata_props.add(key=f"smallvit.{key}", value=text)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return partial(run_session, session)


def run_session(session: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Run a session of onnxruntime on tensors.

    Args:
        session (onnxruntime.InferenceSession): Session of the graph.
        *inputs (Tensor): Inputs in the order of the session, without those that the graph does
            not use.

    Returns:
        tuple[Tensor, ...]: Outputs of the graph.
    """
    names = [each.name for each in session.get_inputs()]
    fed = dict(zip(names, (each.numpy() for each in inputs), strict=True))
    return tuple(torch.from_numpy(each) for each in session.run(None, fed))


def _write_export(
    graph: nn.Module, inputs: tuple, path: str, wish: Wish, metadata: dict[str, Any]
) -> Run:
    program = _program(graph, inputs, wish)
    with open(path, "wb") as file:
        torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})
    with open(path, "rb") as file:
        module = torch.export.load(file).module()
    return partial(run_all, module)


def _write_script(
    graph: nn.Module, inputs: tuple, path: str, wish: Wish, metadata: dict[str, Any]
) -> Run:
    script = torch.jit.trace(graph, inputs, check_trace=False)
    with open(path, "wb") as file:
        torch.jit.save(script, file, _extra_files={METADATA: json.dumps(metadata)})
    with open(path, "rb") as file:
        module = torch.jit.load(file)
    return partial(run_all, module)


def compare(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    run: Run,
    wish: Wish,
    tolerance: float = TOLERANCE,
) -> float:
    """Compare a written graph with PyTorch on the images, other batch sizes and another image size.

    Args:
        graph (nn.Module): Module that was exported.
        inputs (tuple[Tensor, ...]): Example inputs of the export.
        run (Callable): Function that runs the written graph.
        wish (Wish): Export options.
        tolerance (float): Maximum difference, relative to the largest value. Defaults to
            :data:`TOLERANCE`.

    Returns:
        float: Largest difference, relative to the largest value.

    Raises:
        UserError: If the difference is too large, or the graph does not accept an input.
    """
    trials = {"the images": inputs}
    if wish.dynamic_batch:
        small = inputs[0][0].numel() <= SMALL_IMAGE
        for count in (*BATCHES, LARGER_BATCH) if small else BATCHES:
            trials[f"a batch of {count}"] = tuple(_repeated(each, count) for each in inputs)
    if wish.dynamic_size:
        height, width = inputs[0].shape[2:]
        larger = nn.functional.interpolate(inputs[0], (height + 32, width + 64))
        trials["images of another size"] = (larger, *inputs[1:])
    worst = 0.0
    for name, trial in trials.items():
        try:
            found = run(*trial)
        except Exception as error:
            reason = str(error).splitlines()[0][:200]
            raise UserError(f"the graph does not accept {name}: {reason}") from error
        difference = _difference(found, run_all(graph, *trial))
        worst = max(worst, difference)
        if difference > tolerance:
            raise UserError(
                f"the output of the graph for {name} differs from PyTorch by {difference:.2g} of "
                "the largest value; the graph was deleted"
            )
    return worst


def _repeated(inputs: Tensor, count: int) -> Tensor:
    return torch.cat([inputs] * count)[:count].contiguous()


def _difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return float("inf")
        one, other = one.double(), other.double()
        scale = max(other.abs().max().item(), 1e-6)
        difference = (one - other).abs().max().item() / scale
        worst = max(worst, difference if difference == difference else float("inf"))
    return worst
