"""Image reading that notices a truncated file, which the decoders pass in silence."""

from __future__ import annotations

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.registry import TRANSFORMS

from smallvit.compat import label_maps
from smallvit.datasets.io import lmdb_backend
from smallvit.errors import ImageError

JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"


class CheckedLoadImageFromFile(LoadImageFromFile):
    """MMCV's image loading, with an error that names a truncated or unreadable file.

    OpenCV fills the missing part of a truncated image with grey and says nothing.
    """

    @classmethod
    def like(cls, loader: LoadImageFromFile) -> CheckedLoadImageFromFile:
        """Make a loader with the settings of MMCV's.

        Args:
            loader (LoadImageFromFile): Whose settings to take.

        Returns:
            CheckedLoadImageFromFile: The new loader.
        """
        own = cls.__new__(cls)
        vars(own).update(vars(loader))
        return own

    def transform(self, results: dict) -> dict | None:
        """Load one image.

        Args:
            results (dict): Holds ``img_path``.

        Returns:
            dict | None: With ``img``, ``img_shape`` and ``ori_shape`` added; None where
            the image is bad and ``ignore_empty`` is set.

        Raises:
            FileNotFoundError: If there is no such file.
            ImageError: If the file is not a whole image.
        """
        path = results["img_path"]
        try:
            image = self._read(path)
        except (FileNotFoundError, ImageError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        content = fileio.get(path, backend_args=self.backend_args or self.file_client_args)
        return decode(content, path, self.color_type, self.imdecode_backend)


def decode(
    content: bytes, path: str, color_type: str = "color", backend: str = "cv2"
) -> np.ndarray:
    """Decode the bytes of a whole image.

    Args:
        content (bytes): A whole file.
        path (str): Its name, for messages.
        color_type (str): As in :func:`mmcv.imfrombytes`. Defaults to ``'color'``.
        backend (str): The decoder. Defaults to ``'cv2'``.

    Returns:
        np.ndarray: The image, (H, W, C) or (H, W).

    Raises:
        ImageError: If it is not a whole image.
    """
    reason = broken(content)
    if reason is not None:
        raise ImageError(f"{path}: {reason}")
    try:
        image = mmcv.imfrombytes(content, flag=color_type, backend=backend)
    except Exception as error:
        raise ImageError(f"{path}: cannot be decoded ({error})") from error
    if image is None:
        raise ImageError(f"{path}: not an image that {backend} reads")
    return image


def broken(content: bytes) -> str | None:
    """Say what is wrong with the bytes of an image, as far as its container shows it.

    Args:
        content (bytes): A whole file.

    Returns:
        str | None: The reason, or None if nothing is known to be wrong.
    """
    if not content:
        return "empty file"
    # Inside a JPEG's scan the end marker cannot occur, so that a whole file has one after it.
    if content.startswith(JPEG_START) and content.rfind(JPEG_END) < content.rfind(JPEG_SCAN):
        return f"truncated JPEG ({len(content)} bytes, no end marker)"
    if content.startswith(PNG_START) and content.rfind(PNG_END) < 0:
        return f"truncated PNG ({len(content)} bytes, no end chunk)"
    return None


def install(scope: str | None = None) -> None:
    """Check images in every pipeline that says ``LoadImageFromFile`` or ``LoadAnnotations``,
    and LMDB stores wherever ``backend_args`` name one.

    The name in the config stays: the libraries' inferencers look for it.

    Args:
        scope (str, optional): A library that may register the transform a second time, in
            a registry of its own. Defaults to None.
    """
    lmdb_backend.install()
    registries = [TRANSFORMS]
    if scope == "mmdet":
        from smallvit.datasets import coco

        coco.install()
    if scope is not None:
        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            registry.import_from_location()
            registries.append(registry)
    name = LoadImageFromFile.__name__
    for registry in registries:
        if registry.module_dict.get(name) is LoadImageFromFile:
            registry.register_module(name=name, module=CheckedLoadImageFromFile, force=True)
        loader = registry.module_dict.get("LoadAnnotations")
        if hasattr(loader, "_load_seg_map"):
            label_maps.install(loader)
