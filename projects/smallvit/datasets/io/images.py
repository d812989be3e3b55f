"""Image loading that raises errors for truncated files, which decoders accept silently."""

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
#: Minimum of the maximum 16-bit value for which the upper 8 bits form a usable image.
FULL_RANGE = 1 << 15


class CheckedLoadImageFromFile(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile`` with errors for images that would be loaded incorrectly.

    Without an error, OpenCV fills the missing part of a truncated image with gray, keeps the upper
    8 of 16 bits if a camera uses the lower 12, and applies the EXIF orientation even if the boxes
    are annotated without it.
    """

    @classmethod
    def like(cls, loader: LoadImageFromFile) -> CheckedLoadImageFromFile:
        """Create a transform with the settings of an MMCV transform.

        Args:
            loader (LoadImageFromFile): Transform whose settings are copied.

        Returns:
            CheckedLoadImageFromFile: Transform with the same settings.
        """
        own = cls.__new__(cls)
        vars(own).update(vars(loader))
        return own

    def transform(self, results: dict) -> dict | None:
        """Load an image.

        Args:
            results (dict): Sample dict with the key ``img_path``.

        Returns:
            dict | None: Sample dict with ``img``, ``img_shape`` and ``ori_shape`` added; None if
            the image is damaged and ``ignore_empty`` is set.

        Raises:
            FileNotFoundError: If the file does not exist.
            ImageError: If the image is damaged, has too many pixels, or its size does not match
                ``height`` and ``width`` of the annotations.
            DataError: If the conversion to 8 bits would lose information.
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
        """Decode an encoded image; ``path`` is used in error messages."""
        return decode(content, path, self.color_type, self.imdecode_backend)


def decode(
    content: bytes, path: str, color_type: str = "color", backend: str = "cv2"
) -> np.ndarray:
    """Decode an image.

    Args:
        content (bytes): Encoded image.
        path (str): Path of the file, for error messages.
        color_type (str): ``flag`` of :func:`mmcv.imfrombytes`. Defaults to ``'color'``.
        backend (str): Decoding backend. Defaults to ``'cv2'``.

    Returns:
        np.ndarray: Image (H, W, C) or (H, W).

    Raises:
        ImageError: If the image is damaged, or exceeds the limit on the number of pixels.
        DataError: If the conversion to 8 bits would lose information.
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
    """Read an image for display.

    Images with more than 8 bits per channel may appear dark. Of multi-band images, the first three
    bands are shown.

    Args:
        path (str): Path of the image file.

    Returns:
        np.ndarray: BGR image (H, W, 3).

    Raises:
        FileNotFoundError: If the file does not exist.
        ImageError: If the image is damaged, or exceeds the limit on the number of pixels.
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
    """Raise an error if an encoded image is truncated or has too many pixels.

    Args:
        content (bytes): Encoded image.
        path (str): Path of the file, for error messages.

    Raises:
        ImageError: If the image is truncated, or exceeds the limit on the number of pixels.
    """
    reason = broken(content) or too_many_pixels(content)
    if reason is not None:
        raise ImageError(f"{path}: {reason}")


def refuse_file(path: str, backend_args: dict | None = None) -> None:
    """Raise an error if an image file, to be decoded elsewhere, is damaged or has too many pixels.

    Args:
        path (str): Path of the image file, or key in the file backend.
        backend_args (dict, optional): Arguments of the file backend. Defaults to None: local
            disk.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImageError: If the image is damaged, or exceeds the limit on the number of pixels.
    """
    content = fileio.get(path, backend_args=backend_args)
    refuse(content, path)
    damage = complaint(content)
    if damage is not None:
        raise ImageError(f"{path}: {damage}")


def broken(content: bytes) -> str | None:
    """Check an encoded image for truncation, without decoding it.

    Args:
        content (bytes): Encoded image.

    Returns:
        str | None: Description of the damage; None if the file is complete.
    """
    if not content:
        return "empty file"
    # The end marker cannot occur inside of a JPEG scan, so a complete file has one after the scan.
    if content.startswith(JPEG_START):
        end = content.rfind(JPEG_END)
        if end < 0 or content.find(JPEG_SCAN, end) >= 0:
            return f"truncated JPEG ({len(content)} bytes, no end marker)"
    if content.startswith(PNG_START) and content.rfind(PNG_END) < 0:
        return f"truncated PNG ({len(content)} bytes, no end chunk)"
    return None


def depth_fault(content: bytes, color_type: str = "color", backend: str = "cv2") -> str | None:
    """Check whether the conversion of an image to 8 bits per channel would lose information.

    Args:
        content (bytes): Encoded image with more than 8 bits per channel.
        color_type (str): ``flag`` of :func:`mmcv.imfrombytes`. Defaults to ``'color'``.
        backend (str): Decoding backend. Defaults to ``'cv2'``.

    Returns:
        str | None: Error message with a solution; None if the image can be converted.
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
    """Infer the white level of images with more than 8 bits per channel.

    Args:
        top (float): Maximum value of the images.

    Returns:
        float: 1 if ``top`` is at most 1; otherwise ``2**bits - 1`` for the number of bits used,
        at least 12.
    """
    return 1.0 if top <= 1 else 2 ** max(12, int(top).bit_length()) - 1


def size_fault(content: bytes, image: np.ndarray, results: dict) -> str | None:
    """Check that the size of an image matches its annotations.

    Args:
        content (bytes): Encoded image.
        image (np.ndarray): Decoded image (H, W, C) or (H, W).
        results (dict): Sample dict; the size is not checked without ``height`` and ``width``.

    Returns:
        str | None: Error message with a solution; None if the sizes match.
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
    """Replace the registered loading transforms and LMDB backend by versions with checks.

    This applies to all pipelines with ``LoadImageFromFile`` or ``LoadAnnotations``, and to
    ``backend_args`` with LMDB stores. Augmentations are patched to support any number of channels.
    The registered names do not change, because the inferencers of the libraries search for them.

    Args:
        scope (str, optional): Scope of a library that may register the transforms in its own
            registry as well. Defaults to None.
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
