"""Export a cascade as one ONNX graph per exit, and run it with early exit without torch."""

from __future__ import annotations

import json
import os
import os.path as osp
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from smallvit.errors import UserError
from smallvit.utils.files import write_whole
from smallvit.utils.json_files import read_object

CASCADE = "cascade.json"


def _tell_of_exit(tell: Callable[[str], None], number: int, text: str) -> None:
    tell(f"exit {number}, {text}")


def export_cascade(
    predictor: Any,
    folder: str | os.PathLike,
    wish: Any,
    images: Sequence[Any] | None = None,
    calibration: Sequence[Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> float:
    """Export each exit of a cascade as an ONNX graph.

    With reuse, the graph of an exit takes the tokens and attention logits of the previous exit as
    additional inputs.

    Args:
        predictor (Predictor): Predictor with a cascade, on the CPU.
        folder (str | os.PathLike): Folder to write ``exit_1.onnx``, ... and ``cascade.json`` to.
        wish (Wish): Export options; ``dynamic_size`` is not supported.
        images (Sequence, optional): Images to compare the graphs with PyTorch on. Defaults to
            None: photographs.
        calibration (Sequence, optional): Images to calibrate the activation ranges of int8 on.
            Defaults to None, which computes the ranges in each call.
        tell (Callable, optional): Callback that receives, for int8, how often the decision of each
            exit agrees with float32. Defaults to None.

    Returns:
        float: Largest difference from PyTorch, relative to the largest value.

    Raises:
        UserError: If torch cannot export the cascade, or the output of a graph differs.
    """
    import torch
    from torch import Tensor, nn

    from smallvit.apis.exporting import describe, write_graph
    from smallvit.apis.graph_inputs import input_images
    from smallvit.apis.graphs import ExitGraph, Preprocessing, run_all
    from smallvit.apis.reduced_precision import require_possible, write_reduced

    if wish.dynamic_size:
        raise UserError("--dynamic-size is not supported for cascades, whose grids are fixed")
    calibrates = calibration is not None
    require_possible("onnx", wish.precision, predictor.task, wish.part, calibrates)
    os.makedirs(folder, exist_ok=True)
    model = predictor.model
    before = Preprocessing(model.data_preprocessor) if wish.preprocesses else nn.Identity()
    inputs = input_images(predictor, wish.preprocesses, images, wish.precision)
    ranges = input_images(predictor, wish.preprocesses, calibration) if calibrates else None
    metadata = describe(predictor, wish, inputs.shape)
    state: tuple[Tensor, ...] = ()
    state_of_ranges: tuple[Tensor, ...] = ()
    hw, worst = None, 0.0
    for index in range(model.num_exits):
        graph = ExitGraph(model, before, index, hw).eval()
        given = (inputs, *state) if graph.takes else (inputs,)
        path = osp.join(folder, f"exit_{index + 1}.onnx")
        about = {**metadata, "exit": index + 1}
        if wish.precision == "fp32":
            far = write_graph(graph, given, path, "onnx", wish, about)
        else:
            found = None
            if ranges is not None:
                found = (ranges, *state_of_ranges) if graph.takes else (ranges,)
                state_of_ranges = run_all(graph, *found)[1:]
            told = partial(_tell_of_exit, tell, index + 1) if tell else None
            far = write_reduced(graph, given, path, "onnx", wish, about, found, told)
        worst = max(worst, far)
        state = run_all(graph, *given)[1:]
        with torch.no_grad():
            hw = _grid(model, index, before(inputs), hw, given[1:])
    write_whole(osp.join(folder, CASCADE), json.dumps({**metadata, **_decisions(model)}, indent=1))
    return worst


def _grid(model: Any, index: int, images: Any, hw: Any, state: tuple) -> tuple | None:
    from smallvit.plugins.multi_exit.dynamic_vit import ExitState

    before = ExitState(state[0], hw, tuple(state[1:])) if state else None
    return model.backbone.forward_exit(index, images, before)[1].hw


def _decisions(model: Any) -> dict[str, Any]:
    """Collect what the runner needs of the calibration."""
    stored = model.calibration
    found = {} if stored is None else stored.to_dict()
    curve = found.get("calibration") or found.get("evaluation")
    if curve is None or not found["thresholds"]:
        return {"exits": model.num_exits, "policy": "max_softmax", "temperatures": None}
    return {
        "exits": model.num_exits,
        "policy": found.get("policy", "max_softmax"),
        "temperatures": found.get("temperatures"),
        "flops": found["flops"],
        "thresholds": found["thresholds"],
        "accuracy": curve["accuracy"],
        "mean_flops": curve["flops"],
    }


class CascadeRunner:
    """Early-exit inference of an exported cascade with onnxruntime.

    Args:
        folder (str | os.PathLike): Folder written by :func:`export_cascade`.
        thresholds (Sequence[float], optional): Minimum confidence to leave at each exit; the last
            exit may be omitted. Defaults to None.
        max_gflops (float, optional): Use the most accurate thresholds of the calibration within
            this mean cost per image. Defaults to None. Exactly one of ``thresholds`` and
            ``max_gflops`` must be given.
        providers (Sequence[str]): Execution providers of onnxruntime. Defaults to the CPU.

    Attributes:
        classes (list[str]): Class names.

    Raises:
        UserError: If the folder has no exported cascade, or ``max_gflops`` is given without a
            calibration or cannot be met.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        thresholds: Sequence[float] | None = None,
        max_gflops: float | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        import onnxruntime

        try:
            self.about = read_object(osp.join(folder, CASCADE))
        except (FileNotFoundError, ValueError) as error:
            raise UserError(f"{folder} contains no exported cascade: {error}") from error
        self.classes = self.about["classes"]
        self.sessions = [
            onnxruntime.InferenceSession(
                osp.join(folder, f"exit_{number}.onnx"), providers=list(providers)
            )
            for number in range(1, self.about["exits"] + 1)
        ]
        self.thresholds = self._choose(thresholds, max_gflops)

    def _choose(self, thresholds: Sequence[float] | None, max_gflops: float | None) -> list[float]:
        if (thresholds is None) == (max_gflops is None):
            raise UserError("a cascade requires either thresholds or max_gflops")
        if thresholds is not None:
            if len(thresholds) not in (len(self.sessions) - 1, len(self.sessions)):
                raise UserError(f"expected {len(self.sessions)} thresholds, got {len(thresholds)}")
            return list(thresholds)[: len(self.sessions) - 1]
        if "thresholds" not in self.about:
            raise UserError(
                "max_gflops requires a cascade that was exported from a calibrated checkpoint"
            )
        costs, accuracy = self.about["mean_flops"], self.about["accuracy"]
        allowed = [number for number, cost in enumerate(costs) if cost <= max_gflops]
        if not allowed:
            raise UserError(f"expected max_gflops >= {min(costs):.4g}, got {max_gflops}")
        best = max(allowed, key=lambda number: (accuracy[number], -costs[number]))
        return list(self.about["thresholds"][best])[: len(self.sessions) - 1]

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classify images.

        Args:
            images (np.ndarray): Input as described in ``cascade.json``, float32 (B, C, H, W).

        Returns:
            tuple[np.ndarray, np.ndarray]: Logits (B, classes), and the index of the exit of each
            image, starting at 0, (B, ).
        """
        places = np.arange(len(images))
        exits = np.full(len(images), len(self.sessions) - 1)
        logits = np.empty((0, 0))
        state: list[np.ndarray] = []
        for index, session in enumerate(self.sessions):
            names = [each.name for each in session.get_inputs()]
            given = dict(zip(names, [images, *state], strict=False))
            found, *state = session.run(None, given)
            if index == 0:
                logits = np.empty((len(exits), found.shape[1]), found.dtype)
            leaving = np.ones(len(places), bool)
            if index < len(self.thresholds):
                leaving = self._confidence(index, found) >= self.thresholds[index]
            logits[places[leaving]], exits[places[leaving]] = found[leaving], index
            stay = ~leaving
            places, images, state = places[stay], images[stay], [each[stay] for each in state]
            if len(places) == 0:
                break
        return logits, exits

    def _confidence(self, index: int, logits: np.ndarray) -> np.ndarray:
        temperatures = self.about.get("temperatures")
        logits = logits.astype(np.float64) / (temperatures[index] if temperatures else 1.0)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = powers / powers.sum(axis=1, keepdims=True)
        policy = self.about["policy"]
        if policy == "margin":
            first, second = np.sort(shares, axis=1)[:, :-3:-1].T
            return first - second
        if policy == "entropy":
            logs = np.log(np.maximum(shares, 1e-300))
            return 1 + (shares * logs).sum(axis=1) / np.log(shares.shape[1])
        return shares.max(axis=1)
