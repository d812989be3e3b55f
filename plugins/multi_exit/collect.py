"""Collect the inputs of a calibration: logits of all exits and the FLOPs of each."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.dist import collect_results, get_dist_info
from torch import Tensor, nn

from smallvit.analysis.complexity import FLOP_HANDLES
from smallvit.plugins.multi_exit.calibration import Calibration, calibrate
from smallvit.utils.progress import track


@torch.no_grad()
def collect_logits(
    model: nn.Module, loader: Iterable, progress: bool = False
) -> tuple[Tensor, Tensor]:
    """Run all exits on all images of a loader.

    Args:
        model (nn.Module): A :class:`MultiExitClassifier`; it runs in evaluation mode, and its
            mode is restored afterwards.
        loader (Iterable): Batches before the data preprocessor, with labels.
        progress (bool): Whether to show a progress bar. Defaults to False.

    Returns:
        tuple[Tensor, Tensor]: Logits, float32 (exits, N, num_classes), and labels, int64
        (N, ), on the CPU. In a distributed run, every process returns those of all processes.
    """
    training = model.training
    model.eval()
    logits, labels = [], []
    try:
        for batch in track(loader, "logits of all exits", progress):
            data = model.data_preprocessor(batch, training=False)
            outputs = model(data["inputs"], mode="tensor")
            logits += torch.stack(outputs, dim=1).float().cpu()
            labels += [int(sample.gt_label) for sample in data["data_samples"]]
    finally:
        model.train(training)
    if get_dist_info()[1] > 1:
        logits, labels = _gather(logits, labels, len(loader.dataset))
    return torch.stack(logits, dim=1), torch.tensor(labels)


def _gather(logits: list, labels: list, size: int) -> tuple[list, list]:
    from mmengine.dist import broadcast_object_list

    pairs = [collect_results(list(zip(logits, labels, strict=True)), size, device="cpu")]
    broadcast_object_list(pairs)
    logits, labels = zip(*pairs[0], strict=True)
    return list(logits), list(labels)


class _UpTo(nn.Module):
    """The exits of a cascade up to a given one, with their classifiers."""

    def __init__(self, model: nn.Module, last: int) -> None:
        super().__init__()
        self.backbone, self.head, self.last = model.backbone, model.head, last

    def forward(self, images: Tensor) -> list[Tensor]:
        logits, state = [], None
        for index in range(self.last + 1):
            feat, state = self.backbone.forward_exit(index, images, state)
            logits.append(self.head.forward_exit(index, feat))
        return logits


@torch.no_grad()
def exit_gflops(model: nn.Module, shape: tuple[int, int]) -> list[float]:
    """Count the FLOPs of an image that leaves at each exit.

    Args:
        model (nn.Module): A :class:`MultiExitClassifier`.
        shape (tuple[int, int]): Height and width of the image.

    Returns:
        list[float]: Multiply-adds in 10^9 for each exit, including those of the earlier exits.
    """
    training = model.training
    model.eval()
    image = torch.zeros(1, 3, *shape, device=next(model.parameters()).device)
    try:
        return [_flops(_UpTo(model, index), image) / 1e9 for index in range(model.num_exits)]
    finally:
        model.train(training)


def _flops(module: nn.Module, image: Tensor) -> int:
    analyzer = FlopAnalyzer(module.eval(), image)
    for name, handle in FLOP_HANDLES.items():
        analyzer.set_op_handle(name, handle)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analyzer.tracer_warnings("none")
    return int(analyzer.total())


def calibrate_model(
    model: nn.Module,
    loader: Iterable,
    shape: tuple[int, int] | None = None,
    progress: bool = False,
    **settings,
) -> Calibration:
    """Calibrate a model on the images of a loader.

    Args:
        model (nn.Module): A :class:`MultiExitClassifier`.
        loader (Iterable): Batches of held-out training images with test transforms.
        shape (tuple[int, int], optional): Height and width of the images, for the FLOPs.
            Defaults to None, which uses the size of the first image.
        progress (bool): Whether to show progress bars. Defaults to False.
        **settings: Arguments of :func:`calibrate`.

    Returns:
        Calibration: Thresholds with their accuracy and cost on these images.
    """
    logits, labels = collect_logits(model, loader, progress)
    if shape is None:
        shape = tuple(loader.dataset[0]["inputs"].shape[-2:])
    return calibrate(logits, labels, exit_gflops(model, shape), progress=progress, **settings)
