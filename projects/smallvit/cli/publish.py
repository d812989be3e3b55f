"""Write a checkpoint for others: weights, config and classes, nothing of the training.

The file's name gets the first digits of its SHA-256, by which downloads are checked. With --push-to
it goes, with a model card, to a repository of Hugging Face or into a folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from smallvit.cli.arguments import add_trust_flag, read_as_asked, tool_parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit publish``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.

    Returns:
        argparse.Namespace: Them.
    """
    parser = tool_parser(__doc__)
    parser.add_argument("checkpoint", help="what a training wrote")
    parser.add_argument("--out", metavar="FILE", help="model.pth becomes model-1a2b3c4d.pth")
    parser.add_argument("--ema", action="store_true", help="take the averaged weights")
    parser.add_argument(
        "--push-to",
        metavar="TARGET",
        help="hf://OWNER/NAME, as huggingface_hub is logged in, or a folder",
    )
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--note", default="", help="sentences for the model card")
    add_trust_flag(parser)
    args = parser.parse_args(argv)
    if (args.out is None) == (args.push_to is None):
        parser.error("give --out FILE, or --push-to TARGET")
    if args.push_to is None and (args.private or args.note):
        parser.error("--private and --note are of --push-to")
    if args.push_to is not None and args.ema:
        parser.error("--ema is of --out: push the file that it writes")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit publish``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.
    """
    args = parse_args(argv)

    from smallvit.apis.publishing import publish, push_to_hub

    read_as_asked(args)
    if args.out is not None:
        print(publish(args.checkpoint, args.out, args.ema))
        return
    print(push_to_hub(args.checkpoint, args.push_to, args.private, args.note))
