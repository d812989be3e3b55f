"""Export in bfloat16 and int8, with the agreement of decisions with float32."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.apis.exporting import BATCHES, Wish, run_session, write_graph
from smallvit.apis.graphs import run_all
from smallvit.errors import UserError
from smallvit.utils.files import whole_file

#: Fraction of equal decisions below which the message suggests what to try.
LEAST_AGREEMENT = 0.95
#: Maximum difference between two runs in bfloat16, relative to the largest value: kernels with
#: another order of summation round differently, and a deep network amplifies the difference.
BF16_TOLERANCE = 0.1
#: Batch size of the comparison.
CHUNK = 8
#: Layers whose weights are stored in bfloat16: those that autocast runs in bfloat16.
CAST_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
#: Quantized operators. Dynamic quantization excludes convolutions, for which onnxruntime's kernel
#: with ranges computed in each call is slower.
DYNAMIC_OPERATORS, STATIC_OPERATORS = ("MatMul", "Gemm"), ("MatMul", "Gemm", "Conv")


@dataclass(frozen=True)
class Agreement:
    """Agreement of a graph with the float32 network.

    Args:
        same (int): Number of images or pixels with the same class.
        of (int): Total number of images or pixels; 0 if the graph predicts no classes.
        difference (float): Largest difference of an output, relative to the largest value.
    """

    same: int
    of: int
    difference: float

    def __str__(self) -> str:
        far = f"differs from float32 by up to {self.difference:.1e} of the largest value"
        if not self.of:
            return far
        text = f"same class as float32 for {self.same} of {self.of}, {far}"
        if self.same < LEAST_AGREEMENT * self.of:
            text += ". Low: calibrate int8 on more of your images (--calibrate), or use bf16"
        return text


def require_possible(kind: str, precision: str, task: str, part: str, calibrates: bool) -> None:
    """Check that a combination of export options is supported.

    Args:
        kind (str): Format of the graph.
        precision (str): "fp32", "bf16" or "int8".
        task (str): "classification", "detection" or "segmentation".
        part (str): "whole" or "backbone".
        calibrates (bool): Whether there are images to calibrate on.

    Raises:
        UserError: If the combination is not supported.
    """
    if precision not in ("fp32", "bf16", "int8"):
        raise UserError(f"expected --precision fp32, bf16 or int8, got {precision}")
    if calibrates and precision != "int8":
        raise UserError(f"--calibrate requires --precision int8, got {precision}")
    if precision == "bf16" and kind == "onnx":
        raise UserError(
            "--precision bf16: onnxruntime supports few bfloat16 ops on a CPU. Use --format "
            "torch-export, or int8"
        )
    if precision == "int8" and kind != "onnx":
        raise UserError(f"--precision int8 requires --format onnx, got {kind}")
    if precision == "int8" and task == "detection" and part == "whole":
        raise UserError(
            "--precision int8 does not support the box selection of detectors. Use --part "
            "backbone, which contains most of the computation"
        )


def write_reduced(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    path: str | os.PathLike,
    kind: str,
    wish: Wish,
    metadata: dict[str, Any],
    calibration: tuple[Tensor, ...] | None = None,
    tell: Callable[[str], None] | None = None,
) -> float:
    """Write a graph in bfloat16 or int8, and compare it with the float32 network.

    Args:
        graph (nn.Module): Module in float32.
        inputs (tuple[Tensor, ...]): Inputs to compare on; the first two images are the example
            inputs of the export.
        path (str | os.PathLike): Path to write.
        kind (str): Format of the graph.
        wish (Wish): Export options.
        metadata (dict[str, Any]): Metadata of the file, to which the agreement is added.
        calibration (tuple[Tensor, ...], optional): Inputs to calibrate the ranges of int8 on.
            Defaults to None, which computes the ranges in each call.
        tell (Callable, optional): Callback that receives the agreement as text. Defaults to None.

    Returns:
        float: Largest difference from the float32 network, relative to the largest value.

    Raises:
        UserError: If the graph cannot be written, or its outputs are not finite.
    """
    if wish.precision == "bf16":
        found = _write_bfloat16(graph, inputs, path, kind, wish, metadata)
    else:
        found = _write_int8(graph, inputs, path, wish, metadata, calibration)
    if tell is not None:
        tell(f"{wish.precision}: {found}")
    return found.difference


def _note(found: Agreement, precision: str, **more: Any) -> dict[str, Any]:
    return {"type": precision, **more, "same": found.same, "of": found.of, "far": found.difference}


class Bfloat16Graph(nn.Module):
    """Graph under autocast to bfloat16, with the weights of large layers stored in bfloat16.

    Norms and other operations that autocast runs in float32 stay in float32.

    Args:
        graph (nn.Module): Graph in float32, which is copied.
    """

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.network = deepcopy(graph)
        for module in self.network.modules():
            if isinstance(module, CAST_LAYERS):
                module.weight.data = module.weight.data.bfloat16()

    def forward(self, images: Tensor) -> Any:
        """Run the graph on images (B, C, H, W); takes float32 and returns float32."""
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            found = self.network(images)
        if isinstance(found, (tuple, list)):
            return tuple(each.float() for each in found)
        return found.float()


def _write_bfloat16(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    path: str | os.PathLike,
    kind: str,
    wish: Wish,
    metadata: dict[str, Any],
) -> Agreement:
    module = Bfloat16Graph(graph).eval()
    found = agreement(partial(run_all, module), graph, inputs, wish)
    about = {**metadata, "precision": _note(found, "bf16")}
    write_graph(module, _first(inputs, 2), path, kind, wish, about, BF16_TOLERANCE)
    return found


def _write_int8(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    path: str | os.PathLike,
    wish: Wish,
    metadata: dict[str, Any],
    calibration: tuple[Tensor, ...] | None,
) -> Agreement:
    with tempfile.TemporaryDirectory() as folder, whole_file(path) as temporary:
        plain = os.path.join(folder, "float32.onnx")
        write_graph(graph, _first(inputs, 2), plain, "onnx", wish, metadata)
        quantize(plain, temporary, calibration)

        import onnx
        import onnxruntime

        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        found = agreement(partial(run_session, session), graph, inputs, wish)
        count = 0 if calibration is None else len(calibration[0])
        model = onnx.load(temporary)
        kept = {each.key for each in model.metadata_props}
        about = {**metadata, "precision": _note(found, "int8", calibrated_on=count)}
        for key, value in about.items():
            if f"smallvit.{key}" not in kept:
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                model.metadata_props.add(key=f"smallvit.{key}", value=text)
        onnx.save(model, temporary)
    return found


def quantize(source: str, target: str, calibration: tuple[Tensor, ...] | None = None) -> None:
    """Quantize the operators of an ONNX graph that have weights to 8-bit integers.

    Weights have one scale per output channel and 7 bits, which avoids overflow on CPUs without
    VNNI instructions. Products of two activations, as in attention, stay in float32.

    Args:
        source (str): Path of the ONNX graph in float32.
        target (str): Path to write.
        calibration (tuple[Tensor, ...], optional): Inputs to calibrate the activation ranges on.
            Defaults to None: dynamic quantization, of matrix products only.

    Raises:
        UserError: If onnxruntime is missing or cannot quantize the graph.
    """
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise UserError(
            "--precision int8 requires onnx and onnxruntime: pip install 'smallvit[export]'"
        ) from error
    folder = os.path.dirname(os.path.abspath(source))
    folded = os.path.join(folder, "folded.onnx")  # weights that norms were folded into are constant
    options = {"MatMulConstBOnly": True}
    shared: dict[str, Any] = dict(per_channel=True, reduce_range=True, extra_options=options)
    try:
        with _quiet():
            quant_pre_process(source, folded, skip_symbolic_shape=True)
            if calibration is None:
                quantization.quantize_dynamic(
                    folded, target, op_types_to_quantize=list(DYNAMIC_OPERATORS), **shared
                )
                return
            quantization.quantize_static(
                folded,
                target,
                _reader(quantization.CalibrationDataReader, folded, calibration),
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                op_types_to_quantize=list(STATIC_OPERATORS),
                **shared,
            )
    except Exception as error:  # the quantizer raises exceptions of any type
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise UserError(f"onnxruntime cannot quantize this graph: {reason}") from error


def _reader(kind: type, path: str, calibration: tuple[Tensor, ...]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    batches = (
        dict(zip(names, (each.numpy() for each in chunk), strict=True))
        for chunk in chunks(calibration)
    )

    class Reader(kind):
        def get_next(self) -> dict | None:
            return next(batches, None)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantizer's messages about graphs that are already preprocessed."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)


def agreement(
    run: Callable[..., Sequence[Tensor]], graph: nn.Module, inputs: tuple[Tensor, ...], wish: Wish
) -> Agreement:
    """Compare the decisions of a graph with those of the float32 network.

    Args:
        run (Callable): Function that runs the graph.
        graph (nn.Module): Network in float32.
        inputs (tuple[Tensor, ...]): Inputs to compare on.
        wish (Wish): Export options.

    Returns:
        Agreement: Agreement over all inputs.

    Raises:
        UserError: If an output is not finite or has another shape.
    """
    same = of = 0
    worst = 0.0
    for chunk in chunks(inputs):
        found, expected = run(*chunk), run_all(graph, *chunk)
        for one, other in zip(found, expected, strict=True):
            if one.shape != other.shape or not torch.isfinite(one).all():
                raise UserError(
                    f"{wish.precision}: the output of the graph is not finite; it was deleted"
                )
            far = (one.float() - other).abs().max() / other.abs().max().clamp(min=1e-6)
            worst = max(worst, far.item())
        if wish.part == "whole":
            equal = _decided(found[0]) == _decided(expected[0])
            same, of = same + int(equal.sum()), of + equal.numel()
    if wish.dynamic_batch:
        for count in BATCHES:
            run(*_first(inputs, count))
    return Agreement(same, of, worst)


def _decided(scores: Tensor) -> Tensor:
    return scores.argmax(dim=1) if scores.shape[1] > 1 else scores >= 0.5


def chunks(inputs: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    """Split inputs into batches of up to :data:`CHUNK` images.

    Args:
        inputs (tuple[Tensor, ...]): Tensors of equal batch size.

    Yields:
        tuple[Tensor, ...]: Batch of each tensor.
    """
    yield from zip(*(each.split(CHUNK) for each in inputs), strict=True)


def _first(inputs: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
    return tuple(each[:count].contiguous() for each in inputs)
