"""Generate scenes of handwritten digits in the layouts of COCO and ADE20K."""

import argparse
import signal
import sys

from smallvit.cli import run_tool


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Generate scenes of scikit-learn's handwritten digits, with COCO instances and "
        "ADE20K-style label maps for the same images. The same options give the same files.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("out", help="output folder, such as data/digit_scenes")
    parser.add_argument("--num-train", type=int, default=1200, help="training scenes")
    parser.add_argument("--num-val", type=int, default=120, help="validation scenes")
    parser.add_argument("--size", type=int, default=96, help="height and width of a scene")
    parser.add_argument(
        "--digits-per-scene",
        type=int,
        nargs=2,
        default=(2, 5),
        metavar=("FEWEST", "MOST"),
        help="number of digits per scene",
    )
    parser.add_argument(
        "--digit-size",
        type=int,
        nargs=2,
        default=(20, 44),
        metavar=("SMALLEST", "LARGEST"),
        help="height of a digit's cell in pixels",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--overwrite", action="store_true", help="replace existing digit scenes")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    # Import after parsing the arguments, to keep --help fast.
    from smallvit.datasets.digit_scenes import SceneSettings, write_digit_scenes

    # Exit through an exception, so that the unfinished folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated: nothing was written"))
    settings = SceneSettings(
        num_train=args.num_train,
        num_val=args.num_val,
        size=args.size,
        digits_per_scene=tuple(args.digits_per_scene),
        digit_size=tuple(args.digit_size),
        seed=args.seed,
    )
    write_digit_scenes(args.out, settings, overwrite=args.overwrite)
    print(f"\n{args.num_train} training and {args.num_val} validation scenes are in {args.out}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
