"""Locality guidance: train a model with the features of a teacher as additional targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from smallvit.hosts import HostView, Taps, view_host
from smallvit.hosts.probe import channels_for
from smallvit.plugins.locality_guidance.balance import BALANCED, Balance
from smallvit.plugins.locality_guidance.losses import LOGIT_LOSSES, TRANSFORMS, feature_loss
from smallvit.plugins.locality_guidance.offline import StoredFeatures
from smallvit.plugins.locality_guidance.projection import Projection
from smallvit.plugins.locality_guidance.teacher import Teacher
from smallvit.registry import MODELS

if TYPE_CHECKING:
    from mmpretrain.structures import DataSample


#: Published block indices by number of blocks per stage, where they are not fractions of the
#: depth: PVT and PVTv2-B0, and CvT-13.
PUBLISHED = {(2, 2, 2, 2): (0, 3, 7), (1, 2, 10): (0, 6, 11)}


def default_indices(view: HostView) -> tuple[int | float, ...]:
    """Return the default blocks that are guided by the three stages of a teacher.

    Args:
        view (HostView): View of the student's backbone.

    Returns:
        tuple[int | float, ...]: Published block indices, or first, middle and last block as
        fractions of the depth.
    """
    sizes = tuple(len(stage) for stage in view.stages)
    return PUBLISHED.get(sizes, (0.0, 0.5, 1.0))


@MODELS.register_module()
class LocalityGuidance(nn.Module):
    """Feature distillation from a teacher, a small CNN in the paper, to the blocks of a model.

    From `Locality Guidance for Improving Vision Transformers on Tiny Datasets
    <https://arxiv.org/abs/2207.10026>`_. The teacher receives the images of the student, mixed
    images included, resized to its own input size; or its features are read from a store written
    by ``tools/locality_guidance/precompute.py``.

    An instance is the attribute ``guidance`` of a ``smallvit.GuidedClassifier``,
    ``GuidedDetector`` or ``GuidedSegmentor``.

    Args:
        student (nn.Module): Model to guide. No reference to it is stored, and its
            checkpoints do not contain the guidance.
        teacher (dict, optional): Arguments of :class:`Teacher`. With a store the network is
            not built, and the arguments are compared with those of the store. Defaults to None,
            which accepts any store.
        student_indices (Sequence[int | float], optional): Blocks of the student to guide, one
            for each stage of the teacher: indices, or fractions of the depth. Defaults to
            None: the published indices if the paper has a student with such stages, else
            (0.0, 0.5, 1.0).
        loss_weight (float | str): Weight of the feature loss; 0 disables it.
            ``"balanced"`` measures every 20 steps the weight at which the norm of its gradient
            in the backbone equals that of the other losses. Defaults to 2.5.
        transform (str): Compared quantity: the maps, after learned 1x1 convolutions
            ("linear"), their spatial attention ("attention"), or the pairwise similarity of the
            images of a batch ("similarity"). Defaults to "linear".
        logit (dict, optional): Guidance by logits: ``kind`` ("soft" or "hard"),
            ``weight`` w (0.5; the other losses are scaled by 1 - w, except the feature loss),
            ``temperature`` (1.0) and ``module``, the submodule of the student whose output is
            compared ("head"). Defaults to None, which disables it.
        store (str, optional): Folder with the teacher's features of the training images,
            used instead of its network. Defaults to None.

    Raises:
        HostError: If the student's backbone is not a host.
        ValueError: If arguments are inconsistent with each other, the student or the store.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: dict | None = None,
        student_indices: Sequence[int | float] | None = None,
        loss_weight: float | str = 2.5,
        transform: str = "linear",
        logit: dict | None = None,
        store: str | None = None,
    ) -> None:
        super().__init__()
        _check_name("transform", transform, TRANSFORMS)
        if isinstance(loss_weight, str):
            _check_name("loss_weight", loss_weight, (BALANCED,))
        if store is None and teacher is None:
            raise ValueError("guidance requires a teacher, or a store of teacher features")
        if store is not None and logit is not None:
            raise ValueError("a store contains no logits. Remove guidance.store or guidance.logit")
        if not hasattr(student, "head"):
            _check_of_classifiers(student, logit=logit, store=store)
        if store is not None and (teacher or {}).get("batch_statistics"):
            raise ValueError(
                "stored features were computed with the running statistics of the teacher. Set "
                "guidance.teacher.batch_statistics=False, or remove guidance.store"
            )
        self.teacher = self.stored = None
        if teacher is not None:
            self.teacher = Teacher(**teacher, with_logits=logit is not None)
            if loss_weight and not self.teacher.stages:
                raise ValueError(
                    "guidance.teacher.stages=() selects no features. Set stages such as (-1,), or "
                    "guidance.loss_weight=0"
                )
        if store is not None:
            self.stored = StoredFeatures(store, student.data_preprocessor)
        if store is None:
            _check_channels(student, self.teacher)
        channels = self.teacher.channels if store is None else self.stored.channels
        self.loss_weight = loss_weight
        self.balance = None
        if loss_weight == BALANCED:
            self.balance = Balance(list(student.backbone.parameters()))
        self.transform = transform
        self.logit = None if logit is None else LogitGuidance(student, **logit)
        if student_indices is None:
            student_indices = default_indices(view_host(student.backbone))
        if isinstance(student_indices, (int, float)):
            raise ValueError(
                f"expected guidance.student_indices to be a sequence with one block per stage of "
                f"the teacher, such as ({student_indices!r},), got {student_indices!r}"
            )
        stages = channels or (() if self.teacher is None else self.teacher.stages)
        if stages and len(student_indices) != len(stages):
            raise ValueError(
                f"expected {len(stages)} student_indices, one per stage of the teacher, got "
                f"{tuple(student_indices)}"
            )
        self.taps = Taps(student.backbone, student_indices)
        self.projections = nn.ModuleList()
        # With a missing store the channels are unknown: the model can be tested, but not trained.
        if transform == "linear" and loss_weight and channels:
            pairs = zip(self.taps.channels, channels, strict=True)
            self.projections.extend(Projection(*pair) for pair in pairs)
        self.is_ready = False

    def init_weights(self) -> None:
        """Prepare the teacher; MMEngine calls this before training."""
        self.load_teacher()

    def load_teacher(self) -> None:
        """Load the weights of the teacher, or check the store.

        Raises:
            CheckpointError: If the teacher's checkpoint is missing or of another network.
            FeatureStoreError: If the store is incomplete, or of another teacher.
        """
        if self.stored is not None:
            self.stored.check(self.teacher)
        else:
            self.teacher.load()
        if self.logit is not None:
            self.logit.check(self.teacher)
        self.is_ready = True

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record features and logits of the student within this context."""
        if not self.is_ready:  # if init_weights was not called
            self.load_teacher()
        with self.taps:
            try:
                yield
            finally:
                if self.logit is not None:
                    self.logit.found = None

    def add_losses(
        self,
        losses: Mapping[str, Tensor],
        images: Tensor,
        data_samples: Sequence[DataSample],
        preprocessor: nn.Module | None = None,
    ) -> dict[str, Tensor]:
        """Add the guidance losses of a step; call it within :meth:`recording`.

        Args:
            losses (Mapping[str, Tensor]): Losses of the student without guidance.
            images (Tensor): Input of the student, (B, C, H, W).
            data_samples (Sequence[DataSample]): Samples, with ``teacher_features`` if there is a
                store.
            preprocessor (nn.Module, optional): Data preprocessor that normalized the images.
                Defaults to None, which passes them to the teacher without renormalization.

        Returns:
            dict[str, Tensor]: All losses, weighted; ``loss_guidance`` is the feature loss,
            ``loss_logit_guidance`` the logit loss, and ``guidance_weight`` the balanced weight,
            for the log.
        """
        if self.stored is None:
            teacher_maps, logits = self.teacher(self.teacher.preprocess(images, preprocessor))
        else:
            teacher_maps, logits = self.stored.maps(data_samples, images, preprocessor), None
        losses = dict(losses)
        if self.logit is not None:
            share = self.logit.weight
            scaled = {key: value * (1 - share) for key, value in losses.items() if "loss" in key}
            losses |= scaled | {"loss_logit_guidance": share * self.logit.loss(logits)}
        if self.loss_weight:
            loss = torch.stack(self.feature_losses(teacher_maps)).sum()
            weight = self.loss_weight
            if self.balance is not None:
                weight = losses["guidance_weight"] = self.balance(_sum(losses), loss)
            losses["loss_guidance"] = weight * loss
        return losses

    def feature_losses(self, teacher_maps: Sequence[Tensor]) -> list[Tensor]:
        """Compute the unweighted feature losses; call it within :meth:`recording`.

        Args:
            teacher_maps (Sequence[Tensor]): Map (B, C_i, H_i, W_i) of each stage.

        Returns:
            list[Tensor]: Loss of each pair of block and stage.
        """
        maps = self.taps.maps()
        if self.projections:
            maps = [project(each) for project, each in zip(self.projections, maps, strict=True)]
        return [
            feature_loss(own, target, self.transform)
            for own, target in zip(maps, teacher_maps, strict=True)
        ]


def _sum(losses: Mapping[str, Tensor | Sequence[Tensor]]) -> Tensor:
    """Sum losses as MMEngine does; detectors have lists of losses."""
    parts = [value for key, value in losses.items() if "loss" in key]
    flat = [each for part in parts for each in ([part] if torch.is_tensor(part) else part)]
    return torch.stack([each.mean() for each in flat]).sum()


class LogitGuidance:
    """Distillation loss between the logits of a student and a teacher.

    Args:
        student (nn.Module): Classifier to guide.
        kind (str): "soft" for the KL divergence, "hard" for the cross-entropy with the teacher's
            predictions. Defaults to "soft".
        weight (float): Fraction of this loss in the total. Defaults to 0.5.
        temperature (float): Temperature of the soft loss. Defaults to 1.0.
        module (str): Submodule of the student that returns the logits: "head", or for a head
            with a distillation token "head.layers.head_dist". For the head of a
            cascade the logits of the last exit are used; "head.fcs.0" is the first exit.
            Defaults to "head".

    Raises:
        ValueError: If ``kind`` is unknown or the submodule does not exist.
    """

    def __init__(
        self,
        student: nn.Module,
        kind: str = "soft",
        weight: float = 0.5,
        temperature: float = 1.0,
        module: str = "head",
    ) -> None:
        _check_name("guidance.logit.kind", kind, LOGIT_LOSSES)
        self.kind = kind
        self.weight = weight
        self.temperature = temperature
        self.found: Tensor | None = None
        self.num_classes = student.head.num_classes
        try:
            student.get_submodule(module).register_forward_hook(_RecordLogits(self))
        except AttributeError as error:
            raise ValueError(
                f"guidance.logit.module={module!r} is not in {type(student).__name__}: {error}"
            ) from error

    def check(self, teacher: Teacher) -> None:
        """Check that the teacher has the student's number of classes.

        Args:
            teacher (Teacher): Teacher with loaded weights.

        Raises:
            ValueError: If the numbers of classes differ.
        """
        classes = teacher(teacher.blank())[1].shape[1]
        if classes != self.num_classes:
            raise ValueError(
                f"guidance by logits requires the same classes, got {classes} of the teacher "
                f"{teacher.name} and {self.num_classes} of the student"
            )

    def loss(self, logits: Tensor) -> Tensor:
        """Compute the loss for the recorded logits of the student.

        Args:
            logits (Tensor): Logits of the teacher, (B, num_classes).

        Returns:
            Tensor: Unweighted loss.
        """
        return LOGIT_LOSSES[self.kind](self.found, logits, self.temperature)


class _RecordLogits:
    """Forward hook that records logits.

    In a deep copy of the model it refers to the copied owner, unlike a bound method.
    """

    def __init__(self, owner: LogitGuidance) -> None:
        self.owner = owner

    def __call__(self, module: nn.Module, inputs: tuple, output: Tensor | Sequence) -> None:
        if module.training:
            several = isinstance(output, (tuple, list))
            self.owner.found = output[-1] if several else output


def _check_of_classifiers(student: nn.Module, **options: Any) -> None:
    """Refuse options that only classifiers support, such as guidance by logits and stores."""
    given = [f"guidance.{name}" for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"{' and '.join(given)}: only classifiers are supported, got {type(student).__name__}. "
            "Use only guidance.teacher, which compares feature maps online"
        )


def _check_channels(student: nn.Module, teacher: Teacher) -> None:
    """Refuse a teacher with other input channels, if those of the student can be determined."""
    possible = channels_for(student.backbone)
    if len(possible) == 1 or possible[0] != 3:  # otherwise 3 channels may be rearranged to more
        teacher.channel_map.check(possible[0], teacher.in_channels)


def _check_name(what: str, name: str, known: Mapping) -> None:
    if name not in known:
        raise ValueError(f"expected a {what} of {', '.join(known)}, got {name!r}")
