"""Exit policies: confidence scores for early exit."""

import torch
from torch import Tensor

from smallvit.errors import CalibrationError
from smallvit.registry import MODELS
from smallvit.utils.json_files import brief


class ExitPolicy:
    """Base class of exit policies: a confidence in [0, 1] from the logits of an exit.

    Subclasses implement :meth:`of_probabilities` and are registered in ``MODELS``.
    """

    def __call__(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Compute the confidence of one exit.

        Args:
            logits (Tensor): (B, num_classes).
            temperature (float): Divisor of the logits. Defaults to 1.

        Returns:
            Tensor: Confidence of each image in float32, (B, ).
        """
        # The softmax is computed in float32, also for logits in half precision.
        logits = logits.float()
        logits = logits if temperature == 1.0 else logits / temperature
        return self.of_probabilities(logits.softmax(dim=1))

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        raise NotImplementedError


@MODELS.register_module()
class MaxSoftmax(ExitPolicy):
    """Maximum softmax probability, as in `DVT <https://arxiv.org/abs/2105.15075>`_."""

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        return probabilities.amax(dim=1)


@MODELS.register_module()
class Margin(ExitPolicy):
    """Difference between the largest and the second largest probability."""

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        best = probabilities.topk(2, dim=1).values
        return best[:, 0] - best[:, 1]


@MODELS.register_module()
class NegativeEntropy(ExitPolicy):
    """One minus the normalized entropy, after the entropy criterion of `BranchyNet
    <https://arxiv.org/abs/1709.01686>`_.
    """

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        largest = torch.log(torch.tensor(float(probabilities.shape[1])))
        return 1 + torch.xlogy(probabilities, probabilities).sum(dim=1) / largest


#: Policies by name. Checkpoints may only refer to these; add custom policies here.
POLICIES = {"max_softmax": MaxSoftmax, "margin": Margin, "entropy": NegativeEntropy}


def build_policy(policy: str | dict | ExitPolicy) -> ExitPolicy:
    """Build an exit policy from its name or config.

    A config can name any class, which the registry then imports: values read from a checkpoint
    must be checked with :func:`policy_name` first.

    Args:
        policy (str | dict | ExitPolicy): "max_softmax", "margin" or "entropy"; or the config
            of a registered policy; or a policy, which is returned unchanged.

    Returns:
        ExitPolicy: Callable from logits to confidences.

    Raises:
        ValueError: If there is no policy of this name.
    """
    if isinstance(policy, ExitPolicy):
        return policy
    if isinstance(policy, dict):
        return MODELS.build(policy)
    if policy not in POLICIES:
        raise ValueError(
            f"expected an exit policy of {', '.join(POLICIES)}, or the config of a registered one, "
            f"got {policy!r}"
        )
    return POLICIES[policy]()


def policy_name(policy: object) -> str:
    """Look up the name of a policy in ``POLICIES`` without building anything.

    Args:
        policy (object): A name, or a config that has only the ``type`` of a policy in
            ``POLICIES``.

    Returns:
        str: A key of ``POLICIES``.

    Raises:
        CalibrationError: If it is not a policy in ``POLICIES``.
    """
    if isinstance(policy, dict) and list(policy) == ["type"]:
        for name, kind in POLICIES.items():
            if policy["type"] in (kind.__name__, f"smallvit.{kind.__name__}"):
                return name
    if isinstance(policy, str) and policy in POLICIES:
        return policy
    raise CalibrationError(
        f"expected an exit policy of {', '.join(POLICIES)} in the calibration, got "
        f"{brief(policy)}. Calibrate again with one of these, or add yours to "
        "smallvit.plugins.multi_exit.policies.POLICIES under this name first"
    )
