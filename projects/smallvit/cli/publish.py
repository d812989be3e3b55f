"""Publish a checkpoint: weights, config and class names, without training state.

The file name includes the first digits of its SHA-256, with which downloads are verified.
--push-to uploads it with a model card to a Hugging Face repository, or writes both to a folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from smallvit.cli.arguments import add_trust_flag, read_as_asked, tool_parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit publish``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = tool_parser(__doc__)
    parser.add_argument("checkpoint", help="checkpoint of a training run")
    parser.add_argument(
        "--out", metavar="FILE", help="output file; model.pth is written as model-1a2b3c4d.pth"
    )
    parser.add_argument("--ema", action="store_true", help="publish the averaged (EMA) weights")
    parser.add_argument(
        "--push-to",
        metavar="TARGET",
        help="hf://OWNER/NAME, with the login of huggingface_hub, or a folder",
    )
    parser.add_argument("--private", action="store_true", help="create the repository as private")
    parser.add_argument("--note", default="", help="text for the model card")
    add_trust_flag(parser)
    args = parser.parse_args(argv)
    if (args.out is None) == (args.push_to is None):
        parser.error("specify either --out FILE or --push-to TARGET")
    if args.push_to is None and (args.private or args.note):
        parser.error("--private and --note require --push-to")
    if args.push_to is not None and args.ema:
        parser.error("--ema requires --out: push the resulting file")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit publish``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.
    """
    args = parse_args(argv)

    from smallvit.apis.publishing import publish, push_to_hub

    read_as_asked(args)
    if args.out is not None:
        print(publish(args.checkpoint, args.out, args.ema))
        return
    print(push_to_hub(args.checkpoint, args.push_to, args.private, args.note))
