"""Stored teacher features for offline guidance."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from torch import Tensor, nn

from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.mixing import RecordedMix
from smallvit.plugins.locality_guidance.store import FeatureStore
from smallvit.plugins.locality_guidance.teacher import Teacher
from smallvit.plugins.locality_guidance.windows import WHOLE, StoredSample, stack_maps

if TYPE_CHECKING:
    from mmpretrain.structures import DataSample


class StoredFeatures:
    """Teacher features from a store, mixed like the images of the batch.

    Args:
        path (str): Folder of the store. It may be missing if the model is only tested.
        preprocessor (nn.Module): Data preprocessor of the student, whose batch augmentations are
            recorded.
    """

    def __init__(self, path: str, preprocessor: nn.Module) -> None:
        self.path = path
        self.store: FeatureStore | None = None
        with suppress(FeatureStoreError):
            self.store = FeatureStore(path)
        self.mixing: RecordedMix | None = None
        if getattr(preprocessor, "batch_augments", None) is not None:
            self.mixing = preprocessor.batch_augments = RecordedMix(preprocessor.batch_augments)

    @property
    def channels(self) -> tuple[int, ...]:
        """tuple[int, ...]: Channels of the map of each stage; empty if the store is missing."""
        return () if self.store is None else self.store.channels

    def check(self, teacher: Teacher | None) -> None:
        """Check that the store is complete and that its features are those of a teacher.

        Args:
            teacher (Teacher, optional): Expected teacher; None accepts any. Its checkpoint is
                compared if the file exists, which training from a store does not require;
                otherwise its config is compared.

        Raises:
            FeatureStoreError: If the store is missing, incomplete or of another teacher.
        """
        if self.store is None:
            FeatureStore(self.path)  # raises an error with the reason
            raise FeatureStoreError(
                f"{self.path} was incomplete when the model was built. Build the model again"
            )
        if teacher is None:
            return
        wanted, found = teacher.describe(), self.store.header.teacher
        compared = ["input_size", "stages"]
        if teacher.checkpoint is not None and osp.isfile(teacher.checkpoint):
            self.store.require_teacher(teacher.checkpoint)
        else:
            compared.append("backbone")
        compared += [key for key in ("channels", "dtype") if key in wanted]
        wrong = [
            f"{key}: expected {wanted[key]}, got {found[key]} in the store"
            for key in compared
            if found.get(key, wanted[key]) != wanted[key]
        ]
        if wrong:
            raise FeatureStoreError(
                f"{self.path} contains features of another teacher than {teacher.name}:\n  "
                + "\n  ".join(wrong)
                + "\nPrecompute them again with this teacher, or set guidance.teacher to the other"
            )

    def maps(self, samples: Sequence[DataSample], images: Tensor, student: nn.Module) -> list:
        """Get the features of a batch.

        Args:
            samples (Sequence[DataSample]): Samples with ``teacher_features``.
            images (Tensor): Images of the batch; the features are moved to their device.
            student (nn.Module): Data preprocessor of the student.

        Returns:
            list[Tensor]: float32 maps (B, C_i, H_i, W_i) of each stage.

        Raises:
            FeatureStoreError: If the features are missing or do not match the augmented images.
        """
        for sample in samples:
            self._require_guided(sample)
        found = [sample.get("teacher_features") for sample in samples]
        read = [self.store.maps(each) if isinstance(each, StoredSample) else each for each in found]
        maps = stack_maps(read, images.device)
        if getattr(student, "batch_augments", None) is not self.mixing:
            raise FeatureStoreError(
                "the batch augmentations changed during training (e.g. by SwitchRecipeHook), which "
                "stored features do not support. Use an online teacher without guidance.store"
            )
        return maps if self.mixing is None else [self.mixing.last.apply(each) for each in maps]

    def _require_guided(self, sample: DataSample) -> None:
        if "teacher_features" not in sample:
            raise FeatureStoreError(
                f"guidance.store is {self.path}, but the data samples have no teacher_features. "
                "Add smallvit.LoadTeacherFeatures and "
                "PackInputs(algorithm_keys=['teacher_features']) to the training pipeline"
            )
        window = getattr(sample.get("teacher_features"), "window", WHOLE)
        mirrored = window.left > window.right or window.top > window.bottom
        if bool(sample.metainfo.get("flip")) != mirrored:
            raise FeatureStoreError(
                "an image was flipped, but not its stored features. Replace RandomFlip with "
                "smallvit.GuidedRandomFlip, and crops with their Guided versions, after "
                "smallvit.LoadTeacherFeatures"
            )
