"""A teacher's features of a batch, from the samples that brought them along."""

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
    """A teacher's features from its store, mixed as the images of the batch were.

    Args:
        path (str): Folder of the features. It need not be there where a model is only
            tested.
        preprocessor (nn.Module): The student's, whose batch augmentations are watched.
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
        """Channels of the map of each stage; none as long as the store is not there."""
        return () if self.store is None else self.store.channels

    def check(self, teacher: Teacher | None) -> None:
        """Refuse a store that is not whole, or of another teacher.

        Args:
            teacher (Teacher, optional): Whose features are wanted; None takes any. Its
                checkpoint is compared where it is there: who trains from a store need not
                keep it. Otherwise its config is.

        Raises:
            FeatureStoreError: If the store does not serve.
        """
        if self.store is None:
            FeatureStore(self.path)  # which says what is wrong
            raise FeatureStoreError(
                f"{self.path} was not whole when the model was built: build the model again"
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
            f"{key}: {found[key]} in the store, {wanted[key]} asked for"
            for key in compared
            if found.get(key, wanted[key]) != wanted[key]
        ]
        if wrong:
            raise FeatureStoreError(
                f"{self.path} holds features of another teacher than {teacher.name}:\n  "
                + "\n  ".join(wrong)
                + "\nPrecompute again with this teacher, or name the other in guidance.teacher"
            )

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
        found = [sample.get("teacher_features") for sample in samples]
        read = [self.store.maps(each) if isinstance(each, StoredSample) else each for each in found]
        maps = stack_maps(read, images.device)
        if getattr(student, "batch_augments", None) is not self.mixing:
            raise FeatureStoreError(
                "the batch augmentations were exchanged during the training (SwitchRecipeHook does "
                "so), and stored features cannot follow: guide online, without guidance.store"
            )
        return maps if self.mixing is None else [self.mixing.last.apply(each) for each in maps]

    def _require_guided(self, sample: DataSample) -> None:
        if "teacher_features" not in sample:
            raise FeatureStoreError(
                f"guidance.store is {self.path}, but the data samples have no teacher_features: "
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
