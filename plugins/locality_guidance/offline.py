"""A teacher's features of a batch, from the samples that brought them along."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.mixing import RecordedMix
from smallvit.plugins.locality_guidance.store import FeatureStore
from smallvit.plugins.locality_guidance.teacher import Teacher
from smallvit.plugins.locality_guidance.windows import WHOLE, stack_maps

if TYPE_CHECKING:
    from mmpretrain.structures import DataSample


class StoredFeatures:
    """What the samples of a batch brought, mixed as their images were.

    Args:
        store (str): Folder of the features.
        preprocessor (nn.Module): The student's, whose batch augmentations are watched.
    """

    def __init__(self, store: str, preprocessor: nn.Module) -> None:
        self.store = store
        self.mixing: RecordedMix | None = None
        if getattr(preprocessor, "batch_augments", None) is not None:
            self.mixing = preprocessor.batch_augments = RecordedMix(preprocessor.batch_augments)

    def check(self, teacher: Teacher) -> None:
        """Refuse a store that is not whole, or of another teacher.

        Args:
            teacher (Teacher): Whose features are wanted. Its checkpoint is compared where
                it is there: who trains from a store need not keep it.

        Raises:
            FeatureStoreError: If the store does not serve.
        """
        store = FeatureStore(self.store)
        if store.shapes != teacher.shapes:
            raise FeatureStoreError(
                f"{store.path} holds maps {store.shapes}, and those of the teacher {teacher.name} "
                f"are {teacher.shapes}: precompute again with this teacher"
            )
        if teacher.checkpoint is not None and osp.isfile(teacher.checkpoint):
            store.require_teacher(teacher.checkpoint)

    def maps(self, samples: Sequence[DataSample], images: Tensor, student: nn.Module) -> list:
        """Take the features of a batch.

        Args:
            samples (Sequence[DataSample]): With ``teacher_features``.
            images (Tensor): The images, for their device.
            student (nn.Module): The student's data preprocessor.

        Returns:
            list[Tensor]: float32 maps (B, C_i, H_i, W_i) of each stage.

        Raises:
            FeatureStoreError: If they cannot be those of the images.
        """
        for sample in samples:
            self._require_guided(sample)
        maps = stack_maps([sample.get("teacher_features") for sample in samples], images.device)
        if getattr(student, "batch_augments", None) is not self.mixing:
            raise FeatureStoreError(
                "the batch augmentations were exchanged during the training (SwitchRecipeHook does "
                "so), and stored features cannot follow: guide online, without guidance.store"
            )
        return maps if self.mixing is None else [self.mixing.last.apply(each) for each in maps]

    def _require_guided(self, sample: DataSample) -> None:
        if "teacher_features" not in sample:
            raise FeatureStoreError(
                f"guidance.store is {self.store}, but the data samples have no teacher_features: "
                "the training pipeline needs smallvit.LoadTeacherFeatures and "
                "PackInputs(algorithm_keys=['teacher_features'])"
            )
        window = getattr(sample.get("teacher_features"), "window", WHOLE)
        mirrored = window.left > window.right or window.top > window.bottom
        if bool(sample.metainfo.get("flip")) != mirrored:
            raise FeatureStoreError(
                "an image was flipped and its stored features were not: put "
                "smallvit.GuidedRandomFlip in place of RandomFlip, and the Guided forms in place "
                "of crops, behind smallvit.LoadTeacherFeatures"
            )
