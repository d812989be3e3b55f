"""Loading of multi-band images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smallvit.datasets.io.bands import Bands
from smallvit.datasets.io.images import CheckedLoadImageFromFile
from smallvit.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageBands(CheckedLoadImageFromFile):
    """Load the bands of an image from a .npy or TIFF file, as float32 in the file's band order.

    Use it instead of ``LoadImageFromFile``. The length of ``mean`` and ``std`` in the data
    preprocessor and ``in_channels`` of the backbone must equal the number of loaded bands. TIFF
    files require ``pip install 'smallvit[bands]'``; bands may be stored as samples of one page or
    as separate pages.

    Required key: ``img_path``. Added keys: ``img``, float32, of shape (H, W, C), or (H, W) for one
    band; ``img_shape`` and ``ori_shape``.

    Args:
        channels (int): Number of bands in each file.
        bands (Sequence[int], optional): Zero-based indices of the bands to load, in this order.
            Defaults to None, which loads all bands.
        band_axis (str, optional): Axis of the bands in an array: "first" for (C, H, W), "last"
            for (H, W, C). Defaults to None, which selects the axis of length ``channels`` and
            raises an error if both axes have this length.
        ignore_empty (bool): Whether to return None for a damaged file instead of raising an
            error. Defaults to False.
        backend_args (dict, optional): Arguments of the file backend. Defaults to None, which
            uses the local disk.

    Raises:
        UserError: If a setting is out of range. Loading raises an ImageError if a file is damaged,
            and a DataError if the number of bands differs or values are not finite.

    Examples:
        >>> step = LoadImageBands(channels=13, bands=[3, 2, 1, 7])
        >>> step.reader.count
        4
    """

    def __init__(
        self,
        channels: int,
        bands: Sequence[int] | None = None,
        band_axis: str | None = None,
        ignore_empty: bool = False,
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(
            to_float32=True,
            color_type="unchanged",
            ignore_empty=ignore_empty,
            backend_args=backend_args,
        )
        self.reader = Bands(channels, None if bands is None else tuple(bands), band_axis)

    def decode(self, content: bytes, path: str) -> np.ndarray:
        """Decode the bands of a file; see :meth:`smallvit.datasets.io.bands.Bands.decode`."""
        return self.reader.decode(content, path)

    def __repr__(self) -> str:
        reader = self.reader
        return (
            f"{type(self).__name__}(channels={reader.channels}, bands={reader.chosen}, "
            f"band_axis={reader.axis!r})"
        )
