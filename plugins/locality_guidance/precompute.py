"""Precompute the features of a teacher and write them to a store."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, init_default_scope
from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.data import Dataset

from smallvit.compat.moved import forward
from smallvit.datasets.in_memory.settings import outside_memory
from smallvit.engine.install import install
from smallvit.errors import FeatureStoreError, about
from smallvit.plugins.locality_guidance.fingerprint import (
    dataset_fingerprint,
    file_sha256,
    sample_key,
)
from smallvit.plugins.locality_guidance.store import FeatureStore
from smallvit.plugins.locality_guidance.store_header import StoreHeader
from smallvit.plugins.locality_guidance.store_writer import FeatureStoreWriter
from smallvit.plugins.locality_guidance.stored_images import StoredImages
from smallvit.plugins.locality_guidance.teacher import Teacher
from smallvit.plugins.locality_guidance.teacher_images import is_rgb, resize
from smallvit.plugins.locality_guidance.teacher_weights import weights_sha256
from smallvit.registry import MODELS

__getattr__ = forward(__name__)

#: Parts of the names of transforms whose output is not the unmodified whole image.
_MOVING = ("Crop", "Pad", "Flip", "Rotate", "Random", "Rand", "Augment", "Shear", "Translate")


class TeacherDataset(Dataset):
    """Dataset of the training images of a config with its validation transforms.

    Args:
        cfg (Config): Training config of MMPretrain, with ``train_dataloader`` and
            ``val_dataloader``.
        size (tuple[int, int], optional): Height and width to which whole images are resized,
            instead of the crops and resizes of the transforms. Defaults to None: the transforms
            are those of a teacher and must not crop or move images.

    Attributes:
        settings (ConfigDict): Config of the dataset.

    Raises:
        FeatureStoreError: If the transforms do not preserve whole images, or the config combines
            several datasets.
    """

    def __init__(self, cfg: Config, size: tuple[int, int] | None = None) -> None:
        init_default_scope(cfg.get("default_scope") or "mmpretrain")
        install(cfg.get("default_scope"))
        self.size = size
        pipeline = innermost(cfg.val_dataloader.dataset).pipeline
        if size is None:
            _require_whole_images(pipeline)
        else:
            pipeline = [step for step in pipeline if not _is_among(step, (*_MOVING, "Resize"))]
        self.settings = ConfigDict(outside_memory(innermost(cfg.train_dataloader.dataset)))
        self.settings.pipeline = pipeline
        self.dataset = DATASETS.build(self.settings)
        self.dataset.full_init()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensor:
        packed = self.dataset.prepare_data(index)
        if packed is None:
            raise FeatureStoreError(
                f"the dataset returns no image for sample {index} "
                f"({self.dataset.get_data_info(index).get('img_path', 'without a file')})"
            )
        image = packed["inputs"]
        if self.size is None:
            return image
        # Antialiased like Pillow's resize, but for any number of channels.
        return resize(image[None].float(), self.size, antialias=True)[0]

    def keys(self) -> np.ndarray:
        """Compute the keys of all samples.

        Returns:
            np.ndarray: Keys, uint64 (N, ).

        Raises:
            FeatureStoreError: If ``sample_idx`` of a sample is not its index, or a sample has
                neither file nor image.
        """
        keys = np.empty(len(self), dtype="<u8")
        for index in range(len(self)):
            info = self.dataset.get_data_info(index)
            if info.get("sample_idx") != index:
                raise FeatureStoreError(
                    f"stored features are indexed by sample_idx, but {self.settings.type} has "
                    f"sample_idx={info.get('sample_idx')} for sample {index}"
                )
            with about(self.settings.type):
                keys[index] = sample_key(info)
        return keys


def innermost(settings: ConfigDict) -> ConfigDict:
    """Unwrap the config of a dataset from wrappers that repeat it or balance its classes.

    Args:
        settings (ConfigDict): Config of a dataset, with or without wrappers.

    Returns:
        ConfigDict: Config of the innermost dataset.

    Raises:
        FeatureStoreError: If a wrapper combines several datasets.
    """
    while "dataset" in settings:
        settings = settings.dataset
    if "datasets" in settings:
        raise FeatureStoreError(
            f"stored features are indexed by sample_idx, but {settings.type} starts at 0 for each "
            "of its datasets: precompute its datasets one by one"
        )
    return settings


def _is_among(step: dict, parts: Sequence[str]) -> bool:
    return any(part in str(step.get("type")) for part in parts)


def _require_whole_images(pipeline: Sequence[dict]) -> None:
    for step in pipeline:
        if _is_among(step, _MOVING):
            name = step.get("type")
            raise FeatureStoreError(
                f"the pipeline of val_dataloader has {name}: stored features must show the whole "
                "image without changes, because the crops of the student are taken from them. "
                "Resize it to the teacher's size instead, with dict(type='Resize', scale=(32, 32))"
            )


def load_teacher(
    cfg: Config, checkpoint: str | os.PathLike | None, stages: Sequence[int], size: int
) -> Teacher:
    """Build a teacher from its own training config and load its weights.

    Args:
        cfg (Config): Training config of the teacher.
        checkpoint (str | os.PathLike, optional): Checkpoint of the teacher; None uses timm's
            weights.
        stages (Sequence[int]): Stages whose maps are returned.
        size (int): Height and width of the teacher's input.

    Returns:
        Teacher: Teacher with loaded weights.
    """
    model = cfg.model.copy()
    if cfg.get("data_preprocessor") is not None:
        model.setdefault("data_preprocessor", cfg.data_preprocessor)
    path = None if checkpoint is None else str(checkpoint)
    teacher = Teacher(model, path, size=size, stages=stages)
    teacher.load()
    return teacher


def teacher_of_student(
    cfg: Config, checkpoint: str | os.PathLike | None, stages: Sequence[int] | None
) -> Teacher:
    """Build the teacher of a guided config and load its weights.

    Args:
        cfg (Config): Training config of the student.
        checkpoint (str | os.PathLike, optional): Overrides ``guidance.teacher.checkpoint``.
        stages (Sequence[int], optional): Overrides ``guidance.teacher.stages``.

    Returns:
        Teacher: Teacher with loaded weights.

    Raises:
        FeatureStoreError: If there is no teacher, or its features cannot be stored.
    """
    settings = dict(cfg.model.guidance.get("teacher") or {})
    if not settings:
        raise FeatureStoreError(
            "the config uses a store but has no teacher. Set guidance.teacher, or pass the "
            "training config of the teacher"
        )
    if checkpoint is not None:
        settings["checkpoint"] = str(checkpoint)
    if stages is not None:
        settings["stages"] = stages
    if settings.get("preprocessor") is None and Teacher(**settings).preprocessor is None:
        # In online guidance the teacher would receive images normalized for the student.
        own = cfg.model.get("data_preprocessor") or cfg.get("data_preprocessor")
        settings["preprocessor"] = None if own is None else dict(own)
    teacher = Teacher(**settings)
    if teacher.size is None or teacher.batch_statistics:
        raise FeatureStoreError(
            "stored features require a fixed image size and no batch statistics. Set "
            "guidance.teacher.size, and batch_statistics=False"
        )
    teacher.load()
    return teacher


def describe(
    cfg: Config, dataset: TeacherDataset, teacher: Teacher, keys: np.ndarray
) -> StoreHeader:
    """Create the header of a store.

    Args:
        cfg (Config): Config of which the file name is recorded.
        dataset (TeacherDataset): Images whose features are stored.
        teacher (Teacher): Teacher that computes the features.
        keys (np.ndarray): Keys of the samples.

    Returns:
        StoreHeader: Header of a store in half precision.
    """
    classes = dataset.dataset.metainfo.get("classes")
    return StoreHeader(
        data_set={
            "type": str(dataset.settings.type),
            "length": len(dataset),
            "num_classes": None if classes is None else len(classes),
            "fingerprint": dataset_fingerprint(keys),
        },
        teacher={
            **teacher.describe(),
            "sha256": _sha256(teacher),
            "pipeline": json.loads(json.dumps(dataset.settings.pipeline, default=str)),
        },
        shapes=[list(shape) for shape in teacher.shapes],
        config=os.path.basename(cfg.filename or ""),
    )


def _sha256(teacher: Teacher) -> str:
    if teacher.checkpoint is None:
        return weights_sha256(teacher.model)
    return file_sha256(teacher.checkpoint)


@torch.no_grad()
def stage_rows(teacher: Teacher, batch: Tensor, device: str = "cpu") -> list[np.ndarray]:
    """Compute the rows of a store for a batch.

    Args:
        teacher (Teacher): Teacher that computes the features.
        batch (Tensor): Images (B, C, H, W), not normalized.
        device (str): Device of the computation. Defaults to "cpu".

    Returns:
        list[np.ndarray]: float32 maps (B, C_i, H_i, W_i) of each stage.
    """
    given = teacher.preprocessor or {}
    settings = {key: given[key] for key in ("mean", "std") if given.get(key) is not None}
    settings |= {"type": "mmpretrain.ClsDataPreprocessor", "to_rgb": is_rgb(given)}
    preprocessor = MODELS.build(settings).to(device)
    images = teacher.channel_map(batch.to(device), teacher.in_channels)
    inputs = preprocessor({"inputs": images}, training=False)["inputs"]
    features = teacher.features(resize(inputs, teacher.size, teacher.antialias))
    return [each.float().cpu().numpy() for each in features]


@dataclass
class Precomputing:
    """Options of :func:`write_store`.

    Args:
        stages (Sequence[int], optional): Stages of the teacher whose maps are stored. Defaults
            to None: those of a guided config, else (0, 1, 2).
        dtype (str): ``float16`` or ``float32``. Defaults to ``float16``.
        batch_size (int): Images per batch. Defaults to 256.
        num_workers (int, optional): Number of data loading processes. Defaults to None, that of
            ``val_dataloader``.
        chunk (int): Images between two flushes, which an interruption can lose. Defaults to 2048.
        device (str): Device of the teacher. Defaults to "cpu".
        fresh (bool): Whether to start over and replace an existing store. Defaults to False.
        mirrored (bool): Whether to also store the maps of horizontally flipped images, so that
            flips are exact, at twice the size. Defaults to False.
    """

    stages: Sequence[int] | None = None
    dtype: str = "float16"
    batch_size: int = 256
    num_workers: int | None = None
    chunk: int = 2048
    device: str = "cpu"
    fresh: bool = False
    mirrored: bool = False


def write_store(
    cfg: Config, checkpoint: str | os.PathLike | None, out: str | os.PathLike, how: Precomputing
) -> None:
    """Write a teacher's features of the training images to a store, or resume an interrupted run.

    Progress is printed.

    Args:
        cfg (Config): Training config of the teacher, or a guided config that names the teacher.
        checkpoint (str | os.PathLike, optional): Checkpoint of the teacher; None uses that of
            the guided config, or timm's weights.
        out (str | os.PathLike): Folder of the store.
        how (Precomputing): Options.

    Raises:
        FeatureStoreError: If ``out`` is a store of another dataset or teacher, or the features
            cannot be stored.
    """
    if "guidance" in cfg.model:
        teacher = teacher_of_student(cfg, checkpoint, how.stages)
        dataset = TeacherDataset(cfg, teacher.size)
        keys = dataset.keys()
    else:
        dataset = TeacherDataset(cfg)
        keys = dataset.keys()
        teacher = load_teacher(cfg, checkpoint, how.stages or (0, 1, 2), dataset[0].shape[-1])
    header = describe(cfg, dataset, teacher, keys)
    header.dtype, header.mirrored = how.dtype, how.mirrored
    if not how.fresh and os.path.exists(out):
        _require_same(out, header)
        print(f"{out} is complete: {header.length} images; nothing to do")
        return
    workers = how.num_workers
    if workers is None:
        workers = cfg.val_dataloader.get("num_workers", 0)
    with FeatureStoreWriter(out, header, keys, chunk=how.chunk, fresh=how.fresh) as writer:
        if writer.finished:
            print(f"resuming after {writer.finished} of {header.rows} images")
        bar = ProgressBar(header.rows - writer.finished, file=sys.stdout)
        images = StoredImages(dataset, how.mirrored)
        for batch in images.batches(writer.finished, how.batch_size, workers):
            writer.append(stage_rows(teacher, batch, how.device))
            bar.update(len(batch))
        writer.close()
    size = header.row_bytes * header.rows / 2**20
    shapes = ", ".join("x".join(map(str, shape)) for shape in header.shapes)
    kinds = ", their mirrored images" * header.mirrored
    print(
        f"\nwrote {out}: {header.length} images{kinds} and a black one, maps {shapes}, "
        f"{size:.1f} MiB"
    )


def _require_same(out: str | os.PathLike, header: StoreHeader) -> None:
    differences = header.differences(FeatureStore(out).header)
    if differences:
        lines = "\n  ".join(differences)
        raise FeatureStoreError(
            f"{out} is a store for other settings:\n  {lines}\n  (replace it with --fresh, or "
            "choose another --out)"
        )
