"""Hooks of the runs of a bench: progress, predictions, and the state to prolong from."""

from __future__ import annotations

import json
import os.path as osp
import time
from collections.abc import Callable
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.bench.predictions import FILE
from smallvit.bench.stored import check_curve, read_or_tell
from smallvit.bench.tasks import CLASSIFICATION, TASKS
from smallvit.utils.files import write_whole

ACCURACY = TASKS[CLASSIFICATION].metric
#: Metric if images may have several labels.
PRECISION = TASKS[CLASSIFICATION].other
#: Checkpoint before the learning rate decays, from which a run is extended.
STABLE = "stable.pth"


class Predictions(Hook):
    """Hook that collects the predictions of a test.

    MMPretrain's data samples contain the label, the scores and, for image files, the path.
    """

    def __init__(self) -> None:
        self.labels: list[int] = []
        self.predicted: list[int] = []
        self.confidence: list[float] = []
        self.paths: list[str | None] = []

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Collect the predictions of a batch."""
        for sample in outputs or []:
            self.labels.append(int(sample.gt_label))
            self.predicted.append(int(sample.pred_label))
            self.confidence.append(round(float(sample.pred_score.max()), 4))
            self.paths.append(sample.metainfo.get("img_path"))

    def write(self, folder: str, dataset: Any) -> None:
        """Write ``predictions.json``.

        Args:
            folder (str): Work folder of the run.
            dataset (Any): Test dataset; paths are relative to its ``data_root``, or to the folder
                of its table.
        """
        root = getattr(dataset, "data_root", None)
        root = root or osp.dirname(getattr(dataset, "ann_file", None) or "")
        names = [
            f"test image {number}" if path is None else osp.relpath(path, root or osp.dirname(path))
            for number, path in enumerate(self.paths)
        ]
        content = {
            "labels": self.labels,
            "predicted": self.predicted,
            "confidence": self.confidence,
            "images": names,
        }
        write_whole(osp.join(folder, FILE), json.dumps(content))


class KeepStable(Hook):
    """Hook that saves the checkpoint from which a run can be extended.

    It is that of the last step with a constant learning rate.

    Args:
        folder (str): Folder of the checkpoint.
        cooldown (int): Step at which the learning rate starts to decay.
    """

    def __init__(self, folder: str, cooldown: int) -> None:
        self.folder, self.cooldown = folder, cooldown

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Reset the best score of a shorter run."""
        if osp.basename(runner._load_from or "") == STABLE:
            # The best checkpoint of the shorter run has been deleted.
            info = checkpoint["message_hub"]["runtime_info"]
            for key in ("best_score", "best_ckpt"):
                info.pop(key, None)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Save the checkpoint at the end of the constant learning rate."""
        if runner.iter + 1 == self.cooldown:
            runner.save_checkpoint(self.folder, STABLE, by_epoch=False)


class BoxesOnly(Hook):
    """Hook that omits the masks of a detector in validation, which compares boxes.

    Predicting masks and fitting them into the images takes most of the time of a validation.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        """Detach the mask head."""
        self.mask_head = runner.model.roi_head.mask_head if runner.model.with_mask else None
        if self.mask_head is not None:
            runner.model.roi_head.mask_head = None

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Attach the mask head again, before a checkpoint is saved."""
        if self.mask_head is not None:
            runner.model.roi_head.mask_head = self.mask_head


class Progress(Hook):
    """Hook that reports the progress to the bench and stores the result of each validation.

    Args:
        report (Callable): Function that is called with the progress.
        iters (int): Steps of the run.
        path (str): File in which the validation curve is stored.
        task (str): Task of the run. Defaults to "classification".
        every (float): Seconds between reports. Defaults to 0.5.
    """

    def __init__(
        self,
        report: Callable,
        iters: int,
        path: str,
        task: str = CLASSIFICATION,
        every: float = 0.5,
    ) -> None:
        self.task = TASKS[task]
        self.report, self.iters, self.path, self.every = report, iters, path, every
        self.accuracy: float | None = None
        self.curve: dict[str, float] = {}
        self._reported = 0.0

    def before_train(self, runner: Runner) -> None:
        """Read the results of earlier validations."""
        best = runner.message_hub.runtime_info.get("best_score")
        self.accuracy = None if best is None else self.task.scale * float(best)
        found = read_or_tell(self.path, check_curve, "starting a new curve") if runner.iter else {}
        self.curve = {at: each for at, each in (found or {}).items() if int(at) <= runner.iter}
        self._send(runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Report the progress at the configured interval."""
        now = time.monotonic()
        if now - self._reported >= self.every:
            self._reported = now
            self._send(runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Store the accuracy."""
        found = self.task.percent(metrics or {})
        self.accuracy = max(self.accuracy or 0.0, found)
        self.curve[str(runner.iter)] = found
        write_whole(self.path, json.dumps(self.curve))
        self._send(runner.iter)

    def _send(self, iteration: int) -> None:
        self.report({"iter": iteration, "iters": self.iters, "accuracy": self.accuracy})
