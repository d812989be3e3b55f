"""An image classifier that answers early where it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from smallvit.plugins.multi_exit.answers import Answers, read_staying, to_device
from smallvit.plugins.multi_exit.calibration import Calibration, check_exits
from smallvit.plugins.multi_exit.policies import build_policy
from smallvit.plugins.multi_exit.storage import (
    check_same,
    decode_calibration,
    has_calibration,
    read_calibration,
    readable,
)
from smallvit.plugins.multi_exit.stored import EXTRA_STATE, to_tensor
from smallvit.plugins.multi_exit.thresholds import NOBODY, check_thresholds

MODES = ("anytime", "budgeted", "fixed")


class MultiExitClassifier(ImageClassifier):
    """A cascade of networks with one classifier behind each.

    Predictions carry ``exit_index``, the exit that an image left at, beside the scores
    and the label. In the mode *anytime* they are the last exit's, and ``exit_logits``
    (exits, classes) holds the logits of all.

    Args:
        backbone (dict): A :class:`DynamicViT`.
        head (dict): A :class:`MultiExitHead`.
        inference (dict, optional): How to predict; arguments of :meth:`set_inference`.
            Defaults to None, which means ``dict(mode="anytime")``.
        **kwargs: Other arguments of MMPretrain's ImageClassifier.

    Raises:
        ValueError: If the head has not one classifier for each exit, of the exit's channels,
            or ``inference`` is wrong.
    """

    def __init__(self, backbone: dict, head: dict, inference: dict | None = None, **kwargs) -> None:
        super().__init__(backbone=backbone, head=head, **kwargs)
        if self.head.num_exits != self.num_exits:
            raise ValueError(
                f"the backbone has {self.num_exits} exits, but the head has classifiers for "
                f"{self.head.num_exits}; set num_exits of the head"
            )
        _check_channels(self.backbone, self.head)
        self.calibration = None
        self.set_inference(**(inference or {}))

    @property
    def calibration(self) -> Calibration | None:
        """Calibration | None: Thresholds for budgets, and what confidence is.

        A state dict carries them, of a model in evaluation mode that was not trained since:
        training changes what thresholds mean.
        """
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        if calibration is not None:
            check_exits(calibration, self.num_exits)
        self._calibration = calibration
        self._trained_since = False

    def loss(self, *args, **kwargs) -> dict[str, Tensor]:
        """Loss of a batch, as of MMPretrain's ImageClassifier."""
        self._trained_since = True
        return super().loss(*args, **kwargs)

    def get_extra_state(self) -> Tensor:
        """Encode the calibration for a state dict; torch calls this."""
        return to_tensor(None if self._calibration is None else self._calibration.to_dict())

    def set_extra_state(self, state: Tensor) -> None:
        """Take the calibration of a state dict; torch calls this.

        Args:
            state (Tensor): What :meth:`get_extra_state` returned.

        Raises:
            CalibrationError: If it is malformed, or of a model with other exits.
        """
        self.calibration = decode_calibration(state)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.training or self._trained_since or self._calibration is None:
            del destination[prefix + EXTRA_STATE]

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing: list,
        *rest,
    ) -> None:
        self.calibration = None  # other weights, other thresholds
        key = prefix + EXTRA_STATE
        if key in state_dict and readable(lambda: decode_calibration(state_dict[key])) is None:
            state_dict = {name: value for name, value in state_dict.items() if name != key}
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, *rest)
        if prefix + EXTRA_STATE in missing:
            missing.remove(prefix + EXTRA_STATE)

    def load_content(self, content: Mapping) -> None:
        """Take the calibration of a checkpoint whose weights do not carry it.

        Args:
            content (Mapping): The whole checkpoint, its weights loaded already.

        Raises:
            CalibrationError: If it is of a model with other exits, or another than that of the
                weights.
        """
        beside = readable(lambda: read_calibration(content)) if has_calibration(content) else None
        if beside is not None:
            among, self.calibration = self.calibration, beside
            check_same(among, self.calibration)

    @property
    def num_exits(self) -> int:
        """int: Number of exits."""
        return self.backbone.num_exits

    def set_inference(
        self,
        mode: str = "anytime",
        exit_index: int = -1,
        thresholds: list[float] | None = None,
        policy: str | dict | None = None,
        temperatures: list[float] | None = None,
        max_gflops: float | None = None,
        min_accuracy: float | None = None,
    ) -> None:
        """Choose how images are predicted.

        Args:
            mode (str): Runs every exit ("anytime"), each image to the first exit that is
                sure enough ("budgeted"), or all to one exit ("fixed").
                Defaults to "anytime".
            exit_index (int): Exit of the mode "fixed". Defaults to -1, the last.
            thresholds (list[float], optional): Of the mode "budgeted": the least
                confidence to leave with, for each exit (but the last). Defaults to None,
                which takes them from the calibration.
            policy (str | dict, optional): What confidence is, see :func:`build_policy`.
                Defaults to None: the calibration's, or "max_softmax".
            temperatures (list[float], optional): What logits are divided by at each exit
                before the confidence is computed. Defaults to None: the calibration's,
                or 1.
            max_gflops (float, optional): Takes those thresholds of the calibration that
                are most accurate at this mean cost. Defaults to None.
            min_accuracy (float, optional): Takes those that cost least at this accuracy
                in percent. Defaults to None.

        Raises:
            ValueError: If an argument does not fit the model or the mode.
        """
        if mode not in MODES:
            raise ValueError(f"there is no inference mode {mode!r}; use one of {', '.join(MODES)}")
        if not -self.num_exits <= exit_index < self.num_exits:
            raise ValueError(
                f"exit_index={exit_index} does not fit {self.num_exits} exits; use 0 to "
                f"{self.num_exits - 1}"
            )
        asked = [each is not None for each in (thresholds, max_gflops, min_accuracy)]
        if mode == "budgeted" and sum(asked) != 1:
            raise ValueError(
                "budgeted inference needs one of thresholds, max_gflops and min_accuracy"
            )
        if temperatures is not None and len(temperatures) != self.num_exits:
            raise ValueError(f"{len(temperatures)} temperatures do not fit {self.num_exits} exits")
        if thresholds is not None:
            _check_confidences(thresholds)
            thresholds = check_thresholds(thresholds, self.num_exits).tolist()
        self.mode = mode
        self.exit_index = exit_index % self.num_exits
        self._thresholds = thresholds
        self._policy = None if policy is None else build_policy(policy)
        self._temperatures = temperatures
        self._budget = dict(max_gflops=max_gflops, min_accuracy=min_accuracy)

    @property
    def thresholds(self) -> list[float]:
        """list[float]: Least confidence to leave with at each exit, in budgeted inference."""
        if self._thresholds is not None:
            return self._thresholds
        return self._calibrated("max_gflops or min_accuracy").choose(**self._budget)

    def _calibrated(self, purpose: str) -> Calibration:
        if self.calibration is None:
            raise ValueError(
                f"{purpose} needs a calibrated checkpoint: run tools/multi_exit/calibrate.py, and "
                "load what it writes (an older one with smallvit.apis.load_model), or give "
                "thresholds"
            )
        return self.calibration

    def _confidence(self, index: int, logits: Tensor) -> Tensor:
        stored = self.calibration
        policy = self._policy or build_policy("max_softmax" if stored is None else stored.policy)
        temperatures = self._temperatures or (None if stored is None else stored.temperatures)
        return policy(logits, 1.0 if temperatures is None else temperatures[index])

    def predict(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs
    ) -> list[DataSample]:
        """Predict a batch in the chosen mode.

        Args:
            inputs (Tensor): Images, (B, C, H, W).
            data_samples (list[DataSample], optional): What to write the predictions to.
                Defaults to None.
            **kwargs: Ignored, as MMPretrain's heads do.

        Returns:
            list[DataSample]: The predictions, in the order of the images.
        """
        everything = None
        if self.mode == "anytime":
            everything = torch.stack(self.head(self.backbone(inputs)), dim=1)
            logits, exits = everything[:, -1], [self.num_exits - 1] * len(inputs)
        elif self.mode == "fixed":
            logits = self.predict_fixed(inputs, self.exit_index)
            exits = [self.exit_index] * len(inputs)
        else:
            answers = self._run_budgeted(inputs)
            logits, exits = answers.logits(), answers.exits.tolist()
        samples = data_samples or [DataSample() for _ in exits]
        scores = logits.float().softmax(dim=1)
        labels = scores.argmax(dim=1, keepdim=True)
        rows = zip(samples, scores.unbind(), labels.unbind(), exits, strict=True)
        for sample, score, label, exit_index in rows:
            sample.set_pred_score(score).set_pred_label(label)
            sample.set_field(exit_index, "exit_index")
        if everything is not None:
            for sample, each in zip(samples, everything.float().unbind(), strict=True):
                sample.set_field(each, "exit_logits")
        return samples

    def predict_fixed(self, images: Tensor, exit_index: int) -> Tensor:
        """Predict at one exit; earlier ones run only as far as it reuses them.

        Args:
            images (Tensor): (B, C, H, W).
            exit_index (int): The exit.

        Returns:
            Tensor: Logits, (B, num_classes).
        """
        state = None
        for index in range(0 if self.backbone.reuses else exit_index, exit_index + 1):
            feat, state = self.backbone.forward_exit(index, images, state)
        return self.head.forward_exit(exit_index, feat)

    def predict_budgeted(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Let each image leave at the first exit that is sure enough.

        What stays is compacted: later exits compute the images that reach them and no
        others. An exit that nobody can leave at is not classified, and without reuse not
        run. The host waits for the device once an exit, to learn which images leave.

        Args:
            images (Tensor): (B, C, H, W).

        Returns:
            tuple[Tensor, Tensor]: Logits (B, num_classes) of the exit that each image
            left at, and these exits, int64 (B, ), both in the order of the images.
        """
        answers = self._run_budgeted(images)
        return answers.logits(), to_device(answers.exits, images.device)

    def _run_budgeted(self, images: Tensor) -> Answers:
        answers, state = Answers(len(images)), None
        for index, threshold in enumerate(self.thresholds):
            last = index == self.num_exits - 1
            closed = threshold > 1 and not last  # a confidence is 1 at most
            if closed and not self.backbone.reuses:
                continue
            feat, state = self.backbone.forward_exit(index, images, state)
            if closed:
                continue
            logits = self.head.forward_exit(index, feat)
            answers.add(index, logits)
            if last:
                break
            staying = read_staying(self._leaving(index, logits, threshold, last))
            if len(staying) == 0:
                break
            if len(staying) < len(images):
                answers.keep(staying)
                places = to_device(staying, images.device)
                images, state = images.index_select(0, places), state.select(places)
        return answers

    def _leaving(self, index: int, logits: Tensor, threshold: float, last: bool) -> Tensor:
        if last:
            return torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        return self._confidence(index, logits) >= threshold


def _check_channels(backbone: nn.Module, head: nn.Module) -> None:
    pairs = zip(getattr(backbone, "out_channels", ()), getattr(head, "in_channels", ()))  # noqa: B905
    wrong = [index for index, (own, taken) in enumerate(pairs) if own not in (None, taken)]
    if wrong:
        raise ValueError(
            f"the exits return vectors of {list(backbone.out_channels)} channels and the head "
            f"takes {list(head.in_channels)}: set in_channels of the head"
        )


def _check_confidences(thresholds: Sequence[float]) -> None:
    """Thresholds of a user: confidences, which every policy keeps between 0 and 1."""
    wrong = [each for each in thresholds if not (0 <= each <= 1 or abs(each) >= NOBODY)]
    if wrong:
        raise ValueError(
            f"thresholds={list(thresholds)}: confidences lie between 0 and 1 (0.9, not 90); "
            "float('inf') lets no image leave at an exit"
        )
