"""Flags for multispectral images, shared by ``train``, ``pretrain`` and ``verify``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from smallvit.cli.arguments import natural, positive
from smallvit.errors import UserError

if TYPE_CHECKING:
    from smallvit.datasets.io.bands import Bands
    from smallvit.datasets.recognition import OwnData
    from smallvit.datasets.recognition.survey import Survey


def add_band_flags(parser: argparse._ActionsContainer) -> None:
    """Add the flags for multispectral images.

    Args:
        parser (argparse._ActionsContainer): Parser or argument group to add to.
    """
    parser.add_argument(
        "--channels",
        type=positive,
        metavar="N",
        help="the images are .npy or TIFF files with N bands; mean and std are measured",
    )
    parser.add_argument(
        "--bands",
        type=natural,
        nargs="+",
        metavar="I",
        help="indices of the bands to use, starting at 0; default: all",
    )
    parser.add_argument(
        "--band-axis",
        choices=["first", "last"],
        help="axis of the bands in the array: (N, H, W) or (H, W, N); default: axis of length N",
    )


def bands_of(args: argparse.Namespace) -> Bands | None:
    """Parse the flags for multispectral images.

    Args:
        args (argparse.Namespace): Parsed arguments.

    Returns:
        Bands | None: Band settings; None for grayscale and color images.

    Raises:
        UserError: If the flags are inconsistent.
    """
    if args.channels is None:
        for name in ("bands", "band_axis"):
            if getattr(args, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag} requires --channels N, the number of bands of a file")
        return None
    from smallvit.datasets.io.bands import Bands

    return Bands(args.channels, None if args.bands is None else tuple(args.bands), args.band_axis)


def survey_of(args: argparse.Namespace, data: OwnData) -> Survey:
    """Survey a sample of the images, or all training images if they are multispectral.

    Args:
        args (argparse.Namespace): Parsed arguments.
        data (OwnData): Detected data.

    Returns:
        Survey: Properties of the images.
    """
    from smallvit.datasets.recognition.survey import look_at, look_at_bands

    bands = bands_of(args)
    return look_at(data.sample) if bands is None else look_at_bands(data.training_images(), bands)
