"""The flags of images of bands, of ``train``, ``pretrain`` and ``verify``."""

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
    """Add the flags of images of bands.

    Args:
        parser (argparse._ActionsContainer): The parser, or a group of one, to add to.
    """
    parser.add_argument(
        "--channels",
        type=positive,
        metavar="N",
        help="images are .npy or TIFF of N bands; mean and deviation are measured",
    )
    parser.add_argument(
        "--bands",
        type=natural,
        nargs="+",
        metavar="I",
        help="of these N bands, the ones that are read, from 0; default: all",
    )
    parser.add_argument(
        "--band-axis",
        choices=["first", "last"],
        help="axis of the bands in an array: (N, H, W) or (H, W, N); default: the one of length N",
    )


def bands_of(args: argparse.Namespace) -> Bands | None:
    """Read the flags of images of bands.

    Args:
        args (argparse.Namespace): Parsed arguments.

    Returns:
        Bands | None: Bands of the images; None for images of colors.

    Raises:
        UserError: If the flags do not go together.
    """
    if args.channels is None:
        for name in ("bands", "band_axis"):
            if getattr(args, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag} goes with --channels N, the number of bands of a file")
        return None
    from smallvit.datasets.io.bands import Bands

    return Bands(args.channels, None if args.bands is None else tuple(args.bands), args.band_axis)


def survey_of(args: argparse.Namespace, data: OwnData) -> Survey:
    """Look at the images of a data set; read all training images if they are of bands.

    Args:
        args (argparse.Namespace): Parsed arguments.
        data (OwnData): The data.

    Returns:
        Survey: What they are like.
    """
    from smallvit.datasets.recognition.survey import look_at, look_at_bands

    bands = bands_of(args)
    return look_at(data.sample) if bands is None else look_at_bands(data.training_images(), bands)
