"""Calibration of exit thresholds for a sweep of budgets, and its layout in checkpoints.

Layout: a calibrated checkpoint has the key ``multi_exit``, a dict of plain values. The same
dict, as JSON in a uint8 tensor, is the entry ``_extra_state`` of its state dict, so that loading
the weights always loads the thresholds too.

============== ==========================================================================
key            value
============== ==========================================================================
version        1
policy         "max_softmax", "margin", "entropy", or another name in ``policies.POLICIES``
temperatures   divisor of the logits of each exit, K numbers
flops          GFLOPs (multiply-adds) of an image that leaves at each exit, K numbers
thresholds     minimum confidence to leave: S rows of K numbers, cheapest first
calibration    on the images that the thresholds were found on: ``anytime``, the accuracy
               of each exit in percent; ``accuracy`` and ``flops``, S numbers each, the
               result of each row; ``num_images``
evaluation     the same on the images of the last evaluation, or None
============== ==========================================================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from smallvit.compat.moved import forward
from smallvit.errors import CalibrationError
from smallvit.plugins.multi_exit.policies import build_policy, policy_name
from smallvit.plugins.multi_exit.stored import check_stored
from smallvit.plugins.multi_exit.thresholds import (
    ThresholdSearch,
    choose_exits,
    evaluate_exits,
    fit_temperature,
    geometric_shares,
    share_grid,
)
from smallvit.utils.json_files import brief
from smallvit.utils.progress import track

__getattr__ = forward(__name__)

KEY = "multi_exit"
VERSION = 1
#: The paper's sweep: p = i / 20 for i = 1 to 59.
SWEEP = tuple(number / 20 for number in range(1, 60))
#: How thresholds are found: by the paper's rule, or by a search over the shares of all exits.
RULES = ("geometric", "search")


@dataclass
class AccuracyCostCurve:
    """Accuracy and cost of a cascade on one set of images.

    Args:
        anytime (list[float]): Accuracy of each exit in percent.
        accuracy (list[float]): Accuracy with each row of thresholds, in percent.
        flops (list[float]): Mean GFLOPs per image with each row of thresholds.
        num_images (int): Size of the set; 0 if unknown. Defaults to 0.
    """

    anytime: list[float]
    accuracy: list[float]
    flops: list[float]
    num_images: int = 0


@dataclass
class Calibration:
    """Thresholds of a cascade; see the layout in :mod:`smallvit.plugins.multi_exit.calibration`.

    Args:
        flops (list[float]): GFLOPs of an image that leaves at each exit.
        thresholds (list[list[float]]): Rows of thresholds, cheapest first.
        calibration (AccuracyCostCurve, optional): Results on the images that the thresholds were
            found on. Defaults to None.
        evaluation (AccuracyCostCurve, optional): Results on the images of the last evaluation.
            Defaults to None.
        policy (str | dict): Exit policy, which computes the confidence. Defaults to
            "max_softmax".
        temperatures (list[float], optional): Divisor of each exit's logits. Defaults to
            None, which means 1 for each.
    """

    flops: list[float]
    thresholds: list[list[float]]
    calibration: AccuracyCostCurve | None = None
    evaluation: AccuracyCostCurve | None = None
    policy: str | dict = "max_softmax"
    temperatures: list[float] | None = None

    def __post_init__(self) -> None:
        if not self.flops:
            raise CalibrationError("a calibration requires the GFLOPs of each exit, got none")
        if self.temperatures is None:
            self.temperatures = [1.0] * self.num_exits
        wrong = next((row for row in self.thresholds if len(row) != self.num_exits), None)
        if wrong is not None:
            raise CalibrationError(
                f"expected thresholds for {self.num_exits} exits as in flops, got {wrong}"
            )

    @property
    def num_exits(self) -> int:
        """int: Number of exits."""
        return len(self.flops)

    def select_thresholds(
        self, max_gflops: float | None = None, min_accuracy: float | None = None
    ) -> list[float]:
        """Choose a row of thresholds by its results on the calibration images.

        Args:
            max_gflops (float, optional): Upper bound on the mean cost per image. Defaults to None.
            min_accuracy (float, optional): Lower bound on the accuracy in percent. Defaults to
                None.

        Returns:
            list[float]: The most accurate row within the cost, or the cheapest row that reaches
            the accuracy.

        Raises:
            CalibrationError: If no row meets the bound, or not exactly one bound is given.
        """
        curve = self.calibration or self.evaluation
        if curve is None or not self.thresholds:
            raise CalibrationError("the calibration has no thresholds. Run calibrate.py")
        return self.thresholds[choose_point(curve, self.flops, max_gflops, min_accuracy)]

    def evaluate(self, logits: Tensor, labels: Tensor) -> AccuracyCostCurve:
        """Evaluate all rows of thresholds on other images.

        Args:
            logits (Tensor): Logits of each exit, (K, N, num_classes).
            labels (Tensor): int64 (N, ).

        Returns:
            AccuracyCostCurve: Accuracy and cost on these images.

        Raises:
            CalibrationError: If the number of exits does not match.
        """
        check_exits(self, len(logits))
        confidence, correct = score_exits(logits, labels, self.policy, self.temperatures)
        points = [
            evaluate_exits(choose_exits(confidence, row), correct, self.flops)
            for row in self.thresholds
        ]
        return _curve(correct, points)

    def to_dict(self) -> dict:
        """Convert to the plain values of the documented layout.

        Raises:
            CalibrationError: If the policy is not in the table of named policies.
        """
        return {"version": VERSION, **asdict(self), "policy": policy_name(self.policy)}

    @classmethod
    def from_dict(cls, stored: Mapping) -> "Calibration":
        """Create a calibration from the documented layout.

        Args:
            stored (Mapping): Output of :meth:`to_dict`.

        Returns:
        Calibration: Validated calibration.

        Raises:
            CalibrationError: If the layout has another version, is incomplete or malformed, or
                names a policy that is not in the table of named policies.
        """
        version = stored.get("version") if isinstance(stored, Mapping) else None
        if type(version) is not int or version != VERSION:
            raise CalibrationError(
                f"expected a calibration with layout version {VERSION}, got {brief(version)}. "
                "Calibrate again"
            )
        values = check_stored({key: stored[key] for key in stored if key != "version"})
        for key in ("calibration", "evaluation"):
            if key in values:
                values[key] = AccuracyCostCurve(**values[key])
        return cls(**values)


def choose_point(
    curve: AccuracyCostCurve,
    flops: Sequence[float],
    max_gflops: float | None,
    min_accuracy: float | None,
) -> int:
    """Find the best point of a curve; see :meth:`Calibration.select_thresholds`."""
    if (max_gflops is None) == (min_accuracy is None):
        raise CalibrationError("expected either max_gflops or min_accuracy")
    points = list(zip(curve.accuracy, curve.flops, strict=True))
    if max_gflops is not None:
        _check_budget(max_gflops, flops)
        possible = [index for index, (_, cost) in enumerate(points) if cost <= max_gflops]
        if not possible:
            raise CalibrationError(
                f"no thresholds cost at most {max_gflops:g} GFLOPs per image; the cheapest cost "
                f"{min(curve.flops):.4g}. Calibrate with --max-gflops {max_gflops:g}"
            )
        return max(possible, key=lambda index: (points[index][0], -points[index][1]))
    if not 1 < min_accuracy <= 100:
        raise CalibrationError(
            f"expected min_accuracy in percent, above 1 and up to 100 (79, not 0.79), got "
            f"{min_accuracy:g}"
        )
    possible = [index for index, (accuracy, _) in enumerate(points) if accuracy >= min_accuracy]
    if not possible:
        raise CalibrationError(
            f"no thresholds reach an accuracy of {min_accuracy:g}%; the best reach "
            f"{max(curve.accuracy):.2f}%"
        )
    return min(possible, key=lambda index: (points[index][1], -points[index][0]))


def _check_budget(max_gflops: float, flops: Sequence[float]) -> None:
    if max_gflops < flops[0]:
        raise CalibrationError(
            f"a budget of {max_gflops:g} GFLOPs per image is below the cost of the first exit, "
            f"{flops[0]:.4g}"
        )


def check_exits(calibration: Calibration, num_exits: int) -> None:
    """Check that a calibration matches the number of exits of a model.

    Args:
        calibration (Calibration): Calibration to check.
        num_exits (int): Number of exits of the model.

    Raises:
        CalibrationError: If the numbers of exits differ.
    """
    if calibration.num_exits != num_exits:
        raise CalibrationError(
            f"the calibration is for {calibration.num_exits} exits, but the model has {num_exits}. "
            "Calibrate this model"
        )


def score_exits(
    logits: Tensor,
    labels: Tensor,
    policy: str | dict = "max_softmax",
    temperatures: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the confidence and the correctness of each exit.

    Args:
        logits (Tensor): Logits of each exit, (K, N, num_classes).
        labels (Tensor): int64 (N, ).
        policy (str | dict): Exit policy, which computes the confidence. Defaults to
            "max_softmax".
        temperatures (Sequence[float], optional): Divisor of each exit's logits. Defaults
            to None, which means 1 for each.

    Returns:
        tuple[Tensor, Tensor]: Confidence, float32 (K, N), and whether the prediction of each
        exit is correct, bool (K, N).
    """
    policy = build_policy(policy)
    temperatures = temperatures or [1.0] * len(logits)
    confidence = [policy(each, t) for each, t in zip(logits, temperatures, strict=True)]
    correct = [each.argmax(dim=1) == labels for each in logits]
    return torch.stack(confidence), torch.stack(correct)


def calibrate(
    logits: Tensor,
    labels: Tensor,
    flops: Sequence[float],
    policy: str | dict = "max_softmax",
    with_temperature: bool = False,
    max_gflops: Sequence[float] = (),
    min_accuracy: Sequence[float] = (),
    sweep: Sequence[float] = SWEEP,
    rule: str = "geometric",
    progress: bool = False,
) -> Calibration:
    """Find thresholds for a sweep of budgets.

    The paper's rule assigns images to every exit, however inaccurate it is. The search compares
    all shares of images on a grid, and may skip exits.

    Args:
        logits (Tensor): Logits of each exit on held-out training images, (K, N, num_classes).
        labels (Tensor): int64 (N, ).
        flops (Sequence[float]): GFLOPs of an image that leaves at each exit.
        policy (str | dict): Exit policy, which computes the confidence. Defaults to
            "max_softmax".
        with_temperature (bool): Whether to fit a temperature to the logits of each exit and
            divide them by it. Defaults to False.
        max_gflops (Sequence[float]): Additional budgets: for each, the best row of the search
            and of a finer sweep is added. Defaults to ().
        min_accuracy (Sequence[float]): Additional accuracies in percent, likewise. Defaults to ().
        sweep (Sequence[float]): Values of p in the geometric rule. Defaults to the paper's,
            1/20 to 59/20.
        rule (str): "geometric" for ``sweep``, or "search" for the rows of the search that no
            cheaper row equals in accuracy. Defaults to "geometric".
        progress (bool): Whether to show a progress bar of the search. Defaults to False.

    Returns:
        Calibration: Thresholds with their accuracy and cost on these images.

    Raises:
        CalibrationError: If the numbers of exits of ``flops`` and ``logits`` differ, the rule is
            unknown, or a budget cannot be met.
    """
    if rule not in RULES:
        raise CalibrationError(f"unknown rule {rule!r}; expected one of {', '.join(RULES)}")
    if len(flops) != len(logits):
        raise CalibrationError(
            f"expected flops of {len(logits)} exits as in the logits, got {len(flops)}"
        )
    temperatures = [1.0] * len(logits)
    if with_temperature:
        temperatures = [fit_temperature(each, labels) for each in logits]
    confidence, correct = score_exits(logits, labels, policy, temperatures)
    search = ThresholdSearch(confidence)

    def point(shares: Tensor) -> tuple[tuple, list[float]]:
        row = search(shares)
        return evaluate_exits(choose_exits(confidence, row), correct, flops), row.tolist()

    searched = []
    if rule == "search" or max_gflops or min_accuracy:
        candidates = track(_candidates(len(logits)), "search over thresholds", progress)
        searched = [point(shares) for shares in candidates]
    if rule == "search":
        results = _front(searched)
    else:
        results = [point(geometric_shares(p, len(logits))) for p in sweep]
    curve = _curve(correct, [each for each, _ in searched])
    bounds = [(budget, None) for budget in max_gflops] + [(None, each) for each in min_accuracy]
    asked = [searched[choose_point(curve, flops, *bound)] for bound in bounds]
    results += [each for each in asked if each not in results]
    results.sort(key=lambda result: result[0][1])
    return Calibration(
        list(map(float, flops)),
        [row for _, row in results],
        _curve(correct, [each for each, _ in results]),
        policy=policy,
        temperatures=temperatures,
    )


def _candidates(num_exits: int) -> list[Tensor]:
    # From nearly all at the first exit to nearly all at the last.
    fine = [geometric_shares(p, num_exits) for p in torch.logspace(-2, 2, 201).tolist()]
    return [*fine, *share_grid(num_exits)]


def _front(points: Sequence[tuple]) -> list[tuple]:
    """Select the points that are more accurate than all cheaper ones."""
    chosen = []
    for point in sorted(points, key=lambda each: (each[0][1], -each[0][0])):
        if not chosen or point[0][0] > chosen[-1][0][0]:
            chosen.append(point)
    return chosen


def _curve(correct: Tensor, points: Sequence[tuple]) -> AccuracyCostCurve:
    return AccuracyCostCurve(
        anytime=(100.0 * correct.double().mean(dim=1)).tolist(),
        accuracy=[accuracy for accuracy, _, _ in points],
        flops=[cost for _, cost, _ in points],
        num_images=correct.shape[1],
    )
