"""Dataset wrapper that holds all images in memory and transforms them in batches."""

from __future__ import annotations

import hashlib
import json
import os
import os.path as osp
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose, force_full_init
from mmengine.logging import print_log
from mmpretrain.structures import DataSample

from smallvit.datasets.in_memory import cache_file, decoding
from smallvit.datasets.in_memory.batches import ImageBatch, PendingImages, say_once
from smallvit.datasets.in_memory.cache_file import Header, Images, StaleError
from smallvit.datasets.in_memory.steps import Steps
from smallvit.errors import DataError, ImageError, UserError
from smallvit.registry import DATASETS


@DATASETS.register_module()
class InMemory:
    """Wrap a classification dataset of small images, with images in memory and batch transforms.

    The deterministic transforms at the start of the pipeline (reading, ``Resize``, ``ResizeEdge``,
    ``CenterCrop``, ``Pad``, ``smallvit.ToColor``) are applied once to all images; the results must
    be uint8 images of the same size. They are stored in a cache file, which all processes and
    workers on the machine map into memory and later runs reuse. The file is rewritten if the
    images, the transforms or the settings have changed, or if its checksum does not match.

    The parameters of the random transforms are sampled for each image when a batch is loaded;
    ``smallvit.AugmentingPreprocessor`` applies them to the whole batch on the device of the model.
    The data loader requires ``collate_fn=dict(type="smallvit.collate_in_memory")``. Batch versions
    exist of ``RandomCrop``, ``RandomResizedCrop``, ``RandomFlip``, ``Rotate``,
    ``smallvit.ColorJitter``, ``smallvit.RandAugment``, ``smallvit.RandomErasing``, and of the
    transforms for stored teacher features. With any other transform, the images are transformed
    one by one as in the wrapped dataset, and a warning is logged.

    The settings of the dataset do not change: ``dict(type="CIFAR100", data_root=...)``
    becomes ``dict(type="smallvit.InMemory", of="CIFAR100", data_root=...)``.

    Args:
        of (str): Type of the wrapped dataset, whose samples must have one label each.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to an empty
            tuple.
        max_gib (float): Maximum size of all images in GiB. Defaults to 4.0.
        cache (str | bool): Folder of the cache file; True for ``images`` in torch's cache
            (``~/.cache/torch/hub``, or below ``$TORCH_HOME``); False for no cache file, so that
            each process has a copy of the images. Defaults to True.
        lazy_init (bool): Whether to defer loading until first use. Defaults to False.
        **settings: Arguments of the wrapped dataset.

    Raises:
        DataError: If the images differ in size, are not uint8 or are all unreadable, or a sample
            does not have exactly one label.
        UserError: If the images exceed ``max_gib``, or the dataset has no pipeline.
    """

    def __init__(
        self,
        of: str,
        pipeline: Sequence[dict | Callable] = (),
        max_gib: float = 4.0,
        cache: str | bool = True,
        lazy_init: bool = False,
        **settings: Any,
    ) -> None:
        self.of, self.max_gib, self.cache = of, max_gib, cache
        self._settings = settings
        self.dataset = DATASETS.build(dict(type=of, pipeline=list(pipeline), **settings))
        if not hasattr(getattr(self.dataset, "pipeline", None), "transforms"):
            raise UserError(
                f"smallvit.InMemory: {of} has no pipeline. Set `of` to the dataset that it wraps, "
                "and put the wrapper around InMemory"
            )
        self.pipeline: Compose = self.dataset.pipeline
        self.steps = Steps(self.pipeline.transforms)
        self._images: Images | None = None
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getstate__(self) -> dict[str, Any]:
        mapped = self._path is not None if self._fully_initialized else False
        return {**self.__dict__, "_images": None if mapped else self._images}

    @property
    def metainfo(self) -> dict:
        """dict: Meta information of the wrapped dataset."""
        return deepcopy(self.dataset.metainfo)

    def full_init(self) -> None:
        """Load the annotations, and the images or their cache file."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        if self.steps.reason:
            say_once(
                f"smallvit.InMemory of {self.of}: {self.steps.reason}; the images are transformed "
                "one by one, which is slower than in batches"
            )
        self._path: str | None = None
        self._has_images = False
        self._made_by = self._digest()
        self._look()
        self._images = self._find(decoding.Sources(self.dataset, self.steps.fixed))
        self._forget_images()
        self._fully_initialized = True

    def _look(self) -> None:
        """Collect labels, sample data needed by transforms, and the digest of the images."""
        kept, labels, state = [], [], decoding.State()
        for index in range(len(self.dataset)):
            info = self.dataset.get_data_info(index)
            label = info.get("gt_label")
            if np.ndim(label) or label is None:
                raise DataError(
                    f"smallvit.InMemory of {self.of}: expected an integer label, got {label!r} in "
                    f"sample {index}. Use the dataset without InMemory"
                )
            labels.append(label)
            kept.append(self.steps.look(info))
            state.add(info)
        self._labels = np.array(labels, np.int64)
        self._kept = kept if any(kept) else []
        self._source = state.digest()

    def _digest(self) -> str:
        """Compute the digest of settings and deterministic transforms for the cache file name."""
        steps = [repr(step) for step in self.steps.fixed]
        said = [self.of, sorted((key, repr(value)) for key, value in self._settings.items()), steps]
        return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()

    def _find(self, sources: decoding.Sources) -> Images:
        """Map the cache file into memory; write it first if necessary."""
        if not self.cache:
            return decoding.into_memory(sources, self._header(sources))
        folder = osp.join(torch.hub.get_dir(), "images")
        folder = folder if self.cache is True else osp.expanduser(self.cache)
        name = f"{self.of.rpartition('.')[2].lower()}-{self._made_by}{cache_file.SUFFIX}"
        path = osp.join(folder, name)
        try:
            os.makedirs(folder, exist_ok=True)
            with _file_lock(path):
                images = self._read_or_write(path, sources)
        except OSError as error:
            say_once(
                f"smallvit.InMemory cannot write {path} ({error.strerror or error}), so each "
                "process holds a copy of the images. Set cache to a writable folder"
            )
            return decoding.into_memory(sources, self._header(sources))
        self._path = path
        return images

    def _read_or_write(self, path: str, sources: decoding.Sources) -> Images:
        try:
            return cache_file.read(path, self._made_by, self._source)
        except FileNotFoundError:
            pass
        except StaleError as error:
            say_once(f"{path} {error}; writing it again")
        header = self._header(sources)
        sizes = np.zeros((len(sources), 2), np.int32)
        cache_file.write(path, header, decoding.decode(sources, header, sizes), sizes)
        count, *shape = header.shape
        size = header.pixels / decoding.GIB
        shown = "x".join(map(str, shape))
        print_log(f"{path}: {count} images of {shown}, {size:.3g} GiB", logger="current")
        try:
            return cache_file.read(path, self._made_by, self._source)
        except StaleError as error:
            raise OSError(f"the file that was just written {error}") from error

    def _header(self, sources: decoding.Sources) -> Header:
        first = decoding.first_image(sources)
        decoding.require_room(len(sources), first.shape, self.max_gib)
        return Header((len(sources), *first.shape), self._made_by, self._source)

    def _forget_images(self) -> None:
        """Free the images of the wrapped dataset, which are now in memory twice."""
        if "img" not in self.dataset.get_data_info(0):
            return
        infos = [self.dataset.get_data_info(index) for index in range(len(self.dataset))]
        for info in infos:
            info.pop("img")
        self._has_images = True
        self.dataset.data_list = infos
        if self.dataset.serialize_data:
            self.dataset.data_bytes, self.dataset.data_address = self.dataset._serialize_data()

    @property
    def images(self) -> Images:
        """Images: All images, memory-mapped in each process on first use."""
        if self._images is None:
            self._images = cache_file.read(self._path, self._made_by, self._source)
        return self._images

    @force_full_init
    def __len__(self) -> int:
        return len(self._labels)

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Get the annotation of a sample.

        Args:
            idx (int): Index of the sample.

        Returns:
            dict: Annotation dict. It contains ``img`` after the deterministic transforms if the
            annotation dict of the wrapped dataset contains ``img``.
        """
        info = self.dataset.get_data_info(idx)
        return dict(info, img=self._image(idx)) if self._has_images else info

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Get all labels.

        Returns:
            np.ndarray: int64 labels (N, ).
        """
        return self._labels.copy()

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Get the label of a sample.

        Args:
            idx (int): Index of the sample.

        Returns:
            list[int]: List with the label as its only element.
        """
        return [int(self._labels[idx])]

    def unreadable(self, idx: int) -> str | None:
        """Get the error message of an unreadable image.

        Args:
            idx (int): Index of the sample.

        Returns:
            str | None: Error message; None if the image is readable.
        """
        return self.images.unreadable.get(idx)

    @force_full_init
    def __getitem__(self, idx: int) -> Any:
        results = self._results(idx)
        results["img"] = self._image(idx)
        results["img_shape"] = results["img"].shape[:2]
        return self.steps.one_by_one(results)

    def _image(self, idx: int) -> np.ndarray:
        """Copy an image to the layout of a pipeline: (H, W, C), or (H, W) for a single channel."""
        image = self.images.pixels[idx].transpose(1, 2, 0)
        return np.array(image[..., 0] if image.shape[2] == 1 else image)

    @property
    def load_batch(self) -> Callable[[Sequence[int]], ImageBatch] | None:
        """Callable | None: Batch loading function; None if a transform has no batch version."""
        return None if self.steps.reason else self._load_batch

    __getitems__ = load_batch  # called by torch's DataLoader if not None

    @force_full_init
    def _load_batch(self, indices: Sequence[int]) -> ImageBatch:
        indices = [int(index) for index in indices]
        results = [self._results(index) for index in indices]
        images = torch.from_numpy(self.images.pixels[indices])
        changes, size = self.steps.draw(results, images.shape)
        for sample in results:
            sample["img_shape"] = size
        labels = torch.from_numpy(self._labels[indices]).view(-1, 1).unbind(0)
        samples = [self._pack(sample, label) for sample, label in zip(results, labels, strict=True)]
        return ImageBatch(PendingImages(images, changes) if changes else images, samples)

    def _results(self, index: int) -> dict[str, Any]:
        index = index + len(self) if index < 0 else index
        reason = self.images.unreadable.get(index)
        if reason is not None:
            raise ImageError(reason)
        results = self.dataset.get_data_info(index)
        results["ori_shape"] = tuple(self.images.sizes[index].tolist())
        if self._kept:
            results |= self._kept[index]
        return results

    def _pack(self, results: dict[str, Any], label: torch.Tensor) -> DataSample:
        """Pack a sample as ``PackInputs`` does, with a label that is already a tensor."""
        sample, pack = DataSample(), self.steps.pack
        sample.set_field(label, "gt_label", dtype=torch.Tensor)
        for key in pack.algorithm_keys:
            if key in results:
                sample.set_field(results[key], key)
        for key in pack.meta_keys:
            if key in results:
                sample.set_field(results[key], key, field_type="metainfo")
        return sample

    def __repr__(self) -> str:
        way = "one by one" if self.steps.reason else "in batches"
        return f"Dataset InMemory, transformed {way}, of:\n{self.dataset!r}"


@contextmanager
def _file_lock(path: str) -> Iterator[None]:
    """Lock a cache file, so that one process per machine checks and writes it."""
    import filelock

    lock = filelock.FileLock(path + ".lock")
    try:
        lock.acquire()
    except (NotImplementedError, OSError) as error:  # the file system does not support locks
        if isinstance(error, PermissionError):
            raise
        yield
        return
    try:
        yield
    finally:
        lock.release()
