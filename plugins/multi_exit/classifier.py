"""Image classifier with early exits."""

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
from smallvit.plugins.multi_exit.thresholds import NEVER_EXIT, check_thresholds

MODES = ("anytime", "budgeted", "fixed")


class MultiExitClassifier(ImageClassifier):
    """Image classifier with a cascade of networks and one classification head per exit.

    Predictions have ``exit_index``, the exit that an image left at, in addition to the scores
    and the label. In *anytime* mode they are those of the last exit, and ``exit_logits``
    (exits, classes) holds the logits of all exits.

    Args:
        backbone (dict): A :class:`DynamicViT`.
        head (dict): A :class:`MultiExitHead`.
        inference (dict, optional): Arguments of :meth:`set_inference`.
            Defaults to None, which means ``dict(mode="anytime")``.
        **kwargs: Other arguments of MMPretrain's ImageClassifier.

    Raises:
        ValueError: If the head does not match the number or the channels of the exits, or
            ``inference`` is invalid.
    """

    def __init__(self, backbone: dict, head: dict, inference: dict | None = None, **kwargs) -> None:
        super().__init__(backbone=backbone, head=head, **kwargs)
        if self.head.num_exits != self.num_exits:
            raise ValueError(
                f"the backbone has {self.num_exits} exits, but the head has classifiers for "
                f"{self.head.num_exits}. Set num_exits of the head"
            )
        _check_channels(self.backbone, self.head)
        self.calibration = None
        self.set_inference(**(inference or {}))

    @property
    def calibration(self) -> Calibration | None:
        """Calibration | None: Thresholds for budgets, with their exit policy.

        Saved in the state dict if the model is in evaluation mode and has not been trained since
        it was calibrated, because training invalidates the thresholds.
        """
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        if calibration is not None:
            check_exits(calibration, self.num_exits)
        self._calibration = calibration
        self._trained_since = False

    def loss(self, *args, **kwargs) -> dict[str, Tensor]:
        """Compute the losses of a batch; see MMPretrain's ImageClassifier."""
        self._trained_since = True
        return super().loss(*args, **kwargs)

    def get_extra_state(self) -> Tensor:
        """Encode the calibration for :meth:`state_dict`."""
        return to_tensor(None if self._calibration is None else self._calibration.to_dict())

    def set_extra_state(self, state: Tensor) -> None:
        """Load the calibration in :meth:`load_state_dict`.

        Args:
            state (Tensor): Output of :meth:`get_extra_state`.

        Raises:
            CalibrationError: If it is malformed, or of a model with another number of exits.
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
        self.calibration = None  # the thresholds are not valid for other weights
        key = prefix + EXTRA_STATE
        if key in state_dict and readable(lambda: decode_calibration(state_dict[key])) is None:
            state_dict = {name: value for name, value in state_dict.items() if name != key}
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, *rest)
        if prefix + EXTRA_STATE in missing:
            missing.remove(prefix + EXTRA_STATE)

    def load_content(self, content: Mapping) -> None:
        """Load the calibration of a checkpoint that stores it outside the state dict.

        Args:
            content (Mapping): The whole checkpoint, whose weights are already loaded.

        Raises:
            CalibrationError: If it is of a model with another number of exits, or differs from
                the calibration in the state dict.
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
        """Set the inference mode.

        Args:
            mode (str): "anytime" runs all exits, "budgeted" runs each image up to the first
                exit whose confidence reaches its threshold, and "fixed" runs all images up to one
                exit. Defaults to "anytime".
            exit_index (int): Exit for the mode "fixed". Defaults to -1, the last.
            thresholds (list[float], optional): Minimum confidence to leave at each exit, for the
                mode "budgeted"; the last exit may be omitted. Defaults to None, which uses the
                calibration.
            policy (str | dict, optional): Exit policy, see :func:`build_policy`.
                Defaults to None: the calibration's, or "max_softmax".
            temperatures (list[float], optional): Divisor of the logits of each exit
                before the confidence is computed. Defaults to None: the calibration's,
                or 1.
            max_gflops (float, optional): Use the most accurate thresholds of the calibration
                within this mean cost per image. Defaults to None.
            min_accuracy (float, optional): Use the cheapest thresholds of the calibration that
                reach this accuracy in percent. Defaults to None.

        Raises:
            ValueError: If an argument does not match the model or the mode.
        """
        if mode not in MODES:
            raise ValueError(f"expected mode to be one of {', '.join(MODES)}, got {mode!r}")
        if not -self.num_exits <= exit_index < self.num_exits:
            raise ValueError(
                f"expected exit_index from 0 to {self.num_exits - 1} with {self.num_exits} exits, "
                f"got {exit_index}"
            )
        asked = [each is not None for each in (thresholds, max_gflops, min_accuracy)]
        if mode == "budgeted" and sum(asked) != 1:
            raise ValueError(
                "budgeted inference requires one of thresholds, max_gflops and min_accuracy"
            )
        if temperatures is not None and len(temperatures) != self.num_exits:
            raise ValueError(f"expected {self.num_exits} temperatures, got {len(temperatures)}")
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
        """list[float]: Minimum confidence to leave at each exit, in budgeted inference."""
        if self._thresholds is not None:
            return self._thresholds
        return self._calibrated("max_gflops or min_accuracy").select_thresholds(**self._budget)

    def _calibrated(self, purpose: str) -> Calibration:
        if self.calibration is None:
            raise ValueError(
                f"{purpose} requires a calibrated checkpoint. Run tools/multi_exit/calibrate.py "
                "and load its output (older ones with smallvit.apis.load_model), or set thresholds"
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
        """Predict a batch in the current inference mode.

        Args:
            inputs (Tensor): Images, (B, C, H, W).
            data_samples (list[DataSample], optional): Samples to add the predictions to.
                Defaults to None, which creates new ones.
            **kwargs: Ignored, as in MMPretrain's heads.

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
        """Predict at one exit; earlier exits run only if their features or relations are reused.

        Args:
            images (Tensor): (B, C, H, W).
            exit_index (int): Exit that answers all images, starting at 0.

        Returns:
            Tensor: Logits, (B, num_classes).
        """
        state = None
        for index in range(0 if self.backbone.reuses else exit_index, exit_index + 1):
            feat, state = self.backbone.forward_exit(index, images, state)
        return self.head.forward_exit(exit_index, feat)

    def predict_budgeted(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict each image at the first exit whose confidence reaches its threshold.

        The batch is compacted after each exit: later exits only compute the images that reach
        them. For an exit with an unreachable threshold the classifier is skipped, and without
        reuse the network too. The host synchronizes with the device once per exit, to read which
        images leave.

        Args:
            images (Tensor): (B, C, H, W).

        Returns:
            tuple[Tensor, Tensor]: Logits (B, num_classes) of the exit that each image
            left at, and the indices of these exits, int64 (B, ), both in the order of the images.
        """
        answers = self._run_budgeted(images)
        return answers.logits(), to_device(answers.exits, images.device)

    def _run_budgeted(self, images: Tensor) -> Answers:
        answers, state = Answers(len(images)), None
        for index, threshold in enumerate(self.thresholds):
            last = index == self.num_exits - 1
            closed = threshold > 1 and not last  # confidences are at most 1
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
            f"the exits return vectors of {list(backbone.out_channels)} channels, but the head "
            f"expects {list(head.in_channels)}. Set in_channels of the head"
        )


def _check_confidences(thresholds: Sequence[float]) -> None:
    """Check the range of user-provided thresholds; confidences of all policies are in [0, 1]."""
    wrong = [each for each in thresholds if not (0 <= each <= 1 or abs(each) >= NEVER_EXIT)]
    if wrong:
        raise ValueError(
            f"expected thresholds between 0 and 1 (0.9, not 90), or float('inf') to disable an "
            f"exit, got {list(thresholds)}"
        )
