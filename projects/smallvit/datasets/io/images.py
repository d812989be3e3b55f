"""Image loading with errors for truncated files, which the decoders accept silently."""

from __future__ import annotations

from contextlib import suppress

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.registry import TRANSFORMS

from smallvit.compat import channels, label_maps
from smallvit.datasets.io import lmdb_backend
from smallvit.datasets.io.bands import visible_file
from smallvit.datasets.io.complaints import complaint, decode_watched
from smallvit.datasets.io.headers import TIFF_STARTS, bits_of, read_header
from smallvit.datasets.io.limits import too_many_pixels
from smallvit.datasets.io.stored_arrays import NPY_START
from smallvit.datasets.transforms.channels import on_any_channels
from smallvit.errors import DataError, ImageError, UserError

JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
#: If 16-bit values exceed this, their upper 8 bits are a usable image.
FULL_RANGE = 1 << 15


class CheckedLoadImageFromFile(LoadImageFromFile):
    """MMCV's image loading, with errors for files that would be read wrongly.

    Without an error, OpenCV fills the missing part of a truncated image with gray, keeps the upper
    8 of 16 bits if a camera uses the lower 12, and rotates an image by its EXIF orientation if
    its boxes are annotated without it.
    """

    @classmethod
    def like(cls, loader: LoadImageFromFile) -> CheckedLoadImageFromFile:
        """Create a loader with the settings of MMCV's loader.

        Args:
            loader (LoadImageFromFile): Loader whose settings are copied.

        Returns:
            CheckedLoadImageFromFile: Loader with the same settings.
        """
        own = cls.__new__(cls)
        vars(own).update(vars(loader))
        return own

    def transform(self, results: dict) -> dict | None:
        """Load one image.

        Args:
            results (dict): Sample with the key ``img_path``.

        Returns:
            dict | None: Sample with ``img``, ``img_shape`` and ``ori_shape`` added; None if
            the image is damaged and ``ignore_empty`` is set.

        Raises:
            FileNotFoundError: If the file does not exist.
            ImageError: If the file is not a whole image, or has another size than
                ``height`` and ``width`` of the annotations.
            DataError: If its values do not fit into 8 bits as they are.
        """
        path = results["img_path"]
        try:
            content = fileio.get(path, backend_args=self.backend_args or self.file_client_args)
            image = self.decode(content, path)
            fault = size_fault(content, image, results)
            if fault is not None:
                raise ImageError(f"{path}: {fault}")
        except (FileNotFoundError, ImageError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = image.astype(np.float32, copy=False) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def decode(self, content: bytes, path: str) -> np.ndarray:
        """Decode the content of a file; ``path`` is for error messages."""
        return decode(content, path, self.color_type, self.imdecode_backend)


def decode(
    content: bytes, path: str, color_type: str = "color", backend: str = "cv2"
) -> np.ndarray:
    """Decode the bytes of a whole image.

    Args:
        content (bytes): Content of the file.
        path (str): Path of the file, for messages.
        color_type (str): As in :func:`mmcv.imfrombytes`. Defaults to ``'color'``.
        backend (str): Decoding backend. Defaults to ``'cv2'``.

    Returns:
        np.ndarray: The image, (H, W, C) or (H, W).

    Raises:
        ImageError: If it is not a whole image, or has more pixels than an image may.
        DataError: If its values do not fit into 8 bits as they are.
    """
    refuse(content, path)
    if color_type != "unchanged" and bits_of(content) > 8:
        reason = depth_fault(content, color_type, backend)
        if reason is not None:
            raise DataError(f"{path}: {reason}")
    return _decode_whole(content, path, color_type, backend)


def _decode_whole(content: bytes, path: str, color_type: str, backend: str) -> np.ndarray:
    try:
        image, damage = decode_watched(
            content,
            lambda: mmcv.imfrombytes(content, flag=color_type, backend=backend),
            speaks=backend == "cv2",
        )
    except UserError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: cannot be decoded ({error})") from error
    if image is None:
        raise ImageError(f"{path}: not an image that {backend} reads")
    if damage is not None:
        raise ImageError(f"{path}: {damage}")
    return image


def read_image(path: str) -> np.ndarray:
    """Read an image from disk for display; one with more than 8 bits may appear dark.

    Of bands the first three are shown.

    Args:
        path (str): Path of the file.

    Returns:
        np.ndarray: The image, (H, W, 3), BGR.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImageError: If it is not a whole image, or has more pixels than an image may.
    """
    content = fileio.get(path)
    if content.startswith(NPY_START):
        return visible_file(content, path)
    refuse(content, path)
    try:
        return _decode_whole(content, path, "color", "cv2")
    except ImageError:
        if content.startswith(TIFF_STARTS):  # OpenCV reads up to four bands
            with suppress(ImageError, UserError):
                return visible_file(content, path)
        raise


def refuse(content: bytes, path: str) -> None:
    """Raise an error for a damaged or too large image before it is decoded.

    Args:
        content (bytes): Content of the file.
        path (str): Path of the file, for messages.

    Raises:
        ImageError: If it is truncated, or has more pixels than an image may.
    """
    reason = broken(content) or too_many_pixels(content)
    if reason is not None:
        raise ImageError(f"{path}: {reason}")


def refuse_file(path: str, backend_args: dict | None = None) -> None:
    """Raise an error for a damaged or too large image file before it is decoded elsewhere.

    Args:
        path (str): Path of the file, or key of the backend.
        backend_args (dict, optional): Arguments of the file backend. Defaults to None: local
            disk.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImageError: If it is truncated, damaged, or has more pixels than an image may.
    """
    content = fileio.get(path, backend_args=backend_args)
    refuse(content, path)
    damage = complaint(content)
    if damage is not None:
        raise ImageError(f"{path}: {damage}")


def broken(content: bytes) -> str | None:
    """Check the container of an encoded image for damage.

    Args:
        content (bytes): Content of the file.

    Returns:
        str | None: Description of the damage, or None if none is found.
    """
    if not content:
        return "empty file"
    # Inside a JPEG's scan the end marker cannot occur, so that a whole file has one after it.
    if content.startswith(JPEG_START):
        end = content.rfind(JPEG_END)
        if end < 0 or content.find(JPEG_SCAN, end) >= 0:
            return f"truncated JPEG ({len(content)} bytes, no end marker)"
    if content.startswith(PNG_START) and content.rfind(PNG_END) < 0:
        return f"truncated PNG ({len(content)} bytes, no end chunk)"
    return None


def depth_fault(content: bytes, color_type: str = "color", backend: str = "cv2") -> str | None:
    """Describe what is lost if an image with more bits is read with 8 bits per value.

    Args:
        content (bytes): Content of a file with more than 8 bits per value.
        color_type (str): Color type for reading. Defaults to ``'color'``.
        backend (str): Decoding backend. Defaults to ``'cv2'``.

    Returns:
        str | None: Error message with a solution; None if the values use 16 bits.
    """
    image = mmcv.imfrombytes(content, flag="unchanged", backend="cv2")
    if image is None:
        return None  # the decoder will report the error
    top = image.max()
    if image.dtype == np.uint8 or (
        image.dtype == np.uint16 and top >= FULL_RANGE and backend == "cv2"
    ):
        return None
    full = full_value(top)
    lost = "where all values from 255 on would be white"
    if image.dtype == np.uint16 and backend == "cv2":
        lost = f"where the upper 8 bits would leave {int(top) // 256 + 1} gray levels"
    return (
        f"{image.dtype} values from {image.min()} to {top} in a file of {image.dtype.itemsize * 8} "
        f"bits per value, {lost}. Specify the maximum value of the source: set "
        "color_type='unchanged' in LoadImageFromFile, and add dict(type='smallvit.ToColor', "
        f"max_value={full}), or another value"
    )


def full_value(top: float) -> float:
    """Derive the white level of images with more than 8 bits from their largest value.

    Args:
        top (float): Largest value of the images.

    Returns:
        float: 1 for fractions, else the maximum of the number of bits used, at least 12.
    """
    return 1.0 if top <= 1 else 2 ** max(12, int(top).bit_length()) - 1


def size_fault(content: bytes, image: np.ndarray, results: dict) -> str | None:
    """Check that an image has the size for which its annotations were made.

    Args:
        content (bytes): Content of the file.
        image (np.ndarray): The image, (H, W, C) or (H, W).
        results (dict): Sample; not checked without ``height`` and ``width``.

    Returns:
        str | None: Error message with a solution; None if the sizes agree.
    """
    wanted = results.get("height"), results.get("width")
    shape = image.shape[:2]
    if shape == wanted or not all(isinstance(side, int) and side > 0 for side in wanted):
        return None
    text = f"{shape[1]}x{shape[0]} pixels, but {wanted[1]}x{wanted[0]} in the annotation file"
    header = read_header(content) if shape == wanted[::-1] else None
    if header is None or header.orientation == 1:
        return text
    way_out = "Set color_type='color_ignore_orientation' in LoadImageFromFile"
    if content.startswith(TIFF_STARTS):
        way_out = "Save it without an orientation tag"
    elif header.shape == shape:
        way_out = "Set color_type='color' in LoadImageFromFile"
    return (
        f"{text}: its EXIF orientation is {header.orientation}, and the boxes belong to the image "
        f"{'as stored' if header.shape == wanted else 'rotated by it'}. {way_out}"
    )


def install(scope: str | None = None) -> None:
    """Check images in every pipeline that says ``LoadImageFromFile`` or ``LoadAnnotations``,
    and LMDB stores wherever ``backend_args`` name one; let augmentations take any channels.

    The name in the config stays: the libraries' inferencers look for it.

    Args:
        scope (str, optional): A library that may register the transform a second time, in
            a registry of its own. Defaults to None.
    """
    lmdb_backend.install()
    registries = [TRANSFORMS]
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
            label_maps.install(loader, refuse_file)
        channels.install(registry.module_dict, on_any_channels)
