"""How sure an exit is of its answer; images of which it is sure enough leave there."""

import torch
from torch import Tensor

from smallvit.errors import CalibrationError
from smallvit.registry import MODELS
from smallvit.utils.json_files import brief


class ExitPolicy:
    """A confidence between 0 and 1, larger where an image may rather leave.

    Subclasses define :meth:`of_probabilities` and are registered in ``MODELS``.
    """

    def __call__(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Judge the answers of one exit.

        Args:
            logits (Tensor): (B, num_classes).
            temperature (float): Divides the logits. Defaults to 1.

        Returns:
            Tensor: Confidence of each image in float32, (B, ).
        """
        # The same number whatever precision and batch the logits were computed in.
        logits = logits.float()
        logits = logits if temperature == 1.0 else logits / temperature
        return self.of_probabilities(logits.softmax(dim=1))

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        raise NotImplementedError


@MODELS.register_module()
class MaxSoftmax(ExitPolicy):
    """The largest probability, as in `DVT <https://arxiv.org/abs/2105.15075>`_."""

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        return probabilities.amax(dim=1)


@MODELS.register_module()
class Margin(ExitPolicy):
    """How far the largest probability is ahead of the second."""

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        best = probabilities.topk(2, dim=1).values
        return best[:, 0] - best[:, 1]


@MODELS.register_module()
class NegativeEntropy(ExitPolicy):
    """One minus the entropy over its largest possible value, as `BranchyNet
    <https://arxiv.org/abs/1709.01686>`_ exits by entropy.
    """

    def of_probabilities(self, probabilities: Tensor) -> Tensor:
        """Confidence (B, ) of probabilities (B, num_classes)."""
        largest = torch.log(torch.tensor(float(probabilities.shape[1])))
        return 1 + torch.xlogy(probabilities, probabilities).sum(dim=1) / largest


#: The policies by name. A checkpoint may name these and nothing else; add your own to it.
POLICIES = {"max_softmax": MaxSoftmax, "margin": Margin, "entropy": NegativeEntropy}


def build_policy(policy: str | dict | ExitPolicy) -> ExitPolicy:
    """Make a policy that the user chose.

    A config may name any class, which a registry then imports: what comes from a file goes
    through :func:`policy_name` first.

    Args:
        policy (str | dict | ExitPolicy): "max_softmax", "margin" or "entropy"; or the config
            of a registered policy; or one.

    Returns:
        ExitPolicy: The policy.

    Raises:
        ValueError: If there is no policy of this name.
    """
    if isinstance(policy, ExitPolicy):
        return policy
    if isinstance(policy, dict):
        return MODELS.build(policy)
    if policy not in POLICIES:
        raise ValueError(
            f"there is no exit policy {policy!r}; use one of {', '.join(POLICIES)}, or the config "
            "of a registered one"
        )
    return POLICIES[policy]()


def policy_name(policy: object) -> str:
    """Find the name of a policy in the closed table, without building anything.

    Args:
        policy (object): A name, or a config that says no more than the type of a policy of
            the table.

    Returns:
        str: A key of ``POLICIES``.

    Raises:
        CalibrationError: If it is anything else.
    """
    if isinstance(policy, dict) and list(policy) == ["type"]:
        for name, kind in POLICIES.items():
            if policy["type"] in (kind.__name__, f"smallvit.{kind.__name__}"):
                return name
    if isinstance(policy, str) and policy in POLICIES:
        return policy
    raise CalibrationError(
        f"the calibration has the exit policy {brief(policy)}, which is none of "
        f"{', '.join(POLICIES)}: a checkpoint names no class to build. Calibrate again with one of "
        "these, or add yours to smallvit.plugins.multi_exit.policies.POLICIES under this name first"
    )
