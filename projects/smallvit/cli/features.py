"""Visualize the features of a trained model: t-SNE map and nearest neighbors."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smallvit.cli.arguments import (
    add_device_flag,
    add_overwrite_flag,
    checkpoint_parser,
    choose_device,
    natural,
    positive,
    read_as_asked,
    require_free,
)
from smallvit.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from smallvit.analysis.neighbors import Neighbors
    from smallvit.apis import Predictor
    from smallvit.apis.features import Examples, FeatureTable

EPILOG = """
Features are the last feature map or tokens of the backbone, averaged over positions. Class folders
define the classes of their images; with classes, the kNN accuracy (majority vote of the nearest
neighbors by cosine similarity) is printed. Images of detectors and segmentors have no single class:
only the map and the neighbors are drawn.
Exit status 1: some images could not be read; the others were processed.
"""
SPLITS = ("train", "val", "test")
PICTURES = (".png", ".pdf", ".svg", ".jpg")
TABLES = (".npz", ".csv")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit features``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = checkpoint_parser(
        __doc__,
        EPILOG,
        "training config; defines the data, and the model if the checkpoint contains none",
    )
    parser.add_argument(
        "source",
        nargs="?",
        help="class folders, with or without train/, val/, test/, or any folder of images; "
        "default: the data of --config",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="output image of the map")
    parser.add_argument(
        "--sheet", metavar="FILE", help="output image of queries with their neighbors"
    )
    parser.add_argument("--save", metavar="FILE", help="save the features as .npz or .csv")
    parser.add_argument(
        "--split", choices=SPLITS, help="data split; default: test, for folders val or train"
    )
    parser.add_argument(
        "--reference",
        metavar="SPLIT|PATH",
        help="search neighbors in these images, such as train; default: in the other images",
    )
    parser.add_argument(
        "--max-images", type=positive, default=2000, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--neighbors", type=positive, default=5, metavar="K", help="default: %(default)s"
    )
    parser.add_argument(
        "--perplexity", type=float, help="t-SNE perplexity; default: 30, less for few images"
    )
    parser.add_argument("--seed", type=natural, default=0, help="default: %(default)s")
    parser.add_argument(
        "--queries", type=positive, metavar="N", help="number of images in --sheet; default: 8"
    )
    add_device_flag(parser)
    parser.add_argument("--batch-size", type=positive, default=32, metavar="N", help="default: 32")
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    for name, endings in (("out", PICTURES), ("sheet", PICTURES), ("save", TABLES)):
        path = getattr(args, name)
        if path is not None and not path.endswith(endings):
            parser.error(f"--{name} {path}: the file extension must be {', '.join(endings)}")
    if args.source is None and args.config is None:
        parser.error("specify a folder of images, or a config with data: --config FILE")
    if args.queries is not None and args.sheet is None:
        parser.error("--queries requires --sheet")
    if args.perplexity is not None and not args.perplexity > 0:
        parser.error(f"--perplexity {args.perplexity:g}: must be positive")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``smallvit features``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        int: Exit status, 1 if any image could not be read, otherwise 0.
    """
    args = parse_args(argv)
    written = [path for path in (args.out, args.sheet, args.save) if path is not None]
    if len(set(written)) < len(written):
        raise UserError(f"several outputs have the same file name: {', '.join(written)}")
    for path in written:
        require_free(path, args.overwrite, sources=[args.checkpoint])

    from smallvit.analysis import neighbors as near
    from smallvit.analysis.figures import save_figure
    from smallvit.apis import Predictor
    from smallvit.apis.features import save_features
    from smallvit.apis.sources import endings_of

    read_as_asked(args)
    device = choose_device(args.device)
    predictor = Predictor(args.checkpoint, args.config, device, batch_size=args.batch_size)
    endings = endings_of(predictor)
    asked = find_examples(args, endings)
    others = None if args.reference is None else find_reference(args, endings)
    _require_enough(asked, others, args)
    table = _features(predictor, asked, args)
    reference = None if others is None else _features(predictor, others, args)
    count = len(table.examples)  # excluding unreadable images
    perplexity = near.fitting_perplexity(count, args.perplexity)
    found = near.nearest(table.vectors, args.neighbors, reference and reference.vectors)
    right, said = compare_with_neighbors(table, reference, found)
    print(
        f"computing t-SNE of {count} images (perplexity {perplexity:.3g}, seed {args.seed}) ...",
        flush=True,
    )
    points = near.embed(table.vectors, perplexity, args.seed)
    title = f"t-SNE of {count} images, perplexity {perplexity:.3g}, seed {args.seed}"
    title = "\n".join([title, *said[:1]])
    wrong = None if right is None else ~right
    save_figure(near.draw_map(points, table.labels, table.classes, title, wrong), args.out)
    if args.save is not None:
        save_features(args.save, table, points)
    if args.sheet is not None:
        save_neighbors(predictor, table, reference, found, right, args)
    print("\n".join([*said, f"written: {', '.join(written)}"]))
    broken = {**table.broken, **(reference.broken if reference else {})}
    for name, reason in broken.items():
        print(f"not read: {name}: {reason.removeprefix(f'{name}: ')}", file=sys.stderr)
    return 1 if broken else 0


def _require_enough(asked: Examples, others: Examples | None, args: argparse.Namespace) -> None:
    """Check the number of images before computing features."""
    from smallvit.analysis.neighbors import fitting_perplexity, require_enough

    count, among = (min(args.max_images, len(found.examples)) for found in (asked, others or asked))
    fitting_perplexity(count, args.perplexity)
    require_enough(args.neighbors, among - 1 if others is None else among)


def find_examples(args: argparse.Namespace, endings: tuple[str, ...]) -> Examples:
    """Collect the query images.

    Args:
        args (argparse.Namespace): ``source``, ``config`` and ``split``.
        endings (tuple[str, ...]): Endings of the images that the model reads.

    Returns:
        Examples: The images.
    """
    from smallvit.apis.features import find_data, find_folder

    if args.source is not None:
        return find_folder(args.source, args.split, endings)
    from smallvit.engine.pipeline import resolve

    return find_data(resolve(args.config), args.split or "test")


def find_reference(args: argparse.Namespace, endings: tuple[str, ...]) -> Examples:
    """Collect the images in which neighbors are searched.

    Args:
        args (argparse.Namespace): ``reference``, ``source`` and ``config``.
        endings (tuple[str, ...]): Endings of the images that the model reads.

    Returns:
        Examples: The images.
    """
    from smallvit.apis.features import find_folder

    if args.reference in SPLITS:
        return find_examples(argparse.Namespace(**{**vars(args), "split": args.reference}), endings)
    return find_folder(args.reference, endings=endings)


def _features(predictor: Predictor, found: Examples, args: argparse.Namespace) -> FeatureTable:
    from smallvit.apis.features import compute

    total, chosen = len(found.examples), found.at_most(args.max_images, args.seed)
    count = len(chosen.examples)
    part = "" if count == total else f" of {total}, sampled with seed {args.seed} (--max-images)"
    classes = f"{len(found.classes)} classes" if found.classes else "no classes"
    print(f"{found.what}: {count} images{part}, {classes}", flush=True)
    return compute(predictor, chosen, _Progress(count))


class _Progress:
    """Progress display: one updated line on a terminal, otherwise a line every 30 seconds."""

    def __init__(self, total: int) -> None:
        self.total, self.last = total, time.monotonic()

    def __call__(self, done: int) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if done < self.total and now - self.last < (0.2 if terminal else 30):
            return
        self.last = now
        text = f"{done} of {self.total} images"
        if terminal:
            print(f"\r{text}   ", end="\n" if done == self.total else "", file=sys.stderr)
        elif done < self.total:
            print(text, file=sys.stderr)


def compare_with_neighbors(
    table: FeatureTable, reference: FeatureTable | None, found: Neighbors
) -> tuple[np.ndarray | None, list[str]]:
    """Compute the kNN accuracy.

    Args:
        table (FeatureTable): Features of the query images.
        reference (FeatureTable, optional): Features of the reference images; None for the
            queries themselves.
        found (Neighbors): Nearest neighbors.

    Returns:
        tuple[np.ndarray | None, list[str]]: Whether each image is classified correctly, (N, ),
        or None without classes; and lines for the user.
    """
    import numpy as np

    from smallvit.analysis.neighbors import vote

    among = "leave one out" if reference is None else f"among {len(reference.examples)} others"
    twins = f"{found.twins} images have a neighbor with identical features; they may be duplicates"
    said = [twins] if found.twins else []
    keys = table if reference is None else reference
    if table.labels is None or keys.labels is None:
        return None, ["no kNN accuracy: the images have no classes", *said]
    # Queries and references may number their classes differently.
    names = sorted({*table.classes, *keys.classes})
    number = {name: index for index, name in enumerate(names)}
    truth, known = (
        np.array([number[one.classes[label]] for label in one.labels]) for one in (table, keys)
    )
    right = vote(found, known) == truth
    largest = 100 * np.bincount(truth).max() / len(truth)
    neighbors = found.indices.shape[1]
    line = f"{neighbors}-NN accuracy {100 * right.mean():.1f}% ({among}; the largest class is "
    return right, [f"{line}{largest:.1f}%)", *said]


def save_neighbors(
    predictor: Predictor,
    table: FeatureTable,
    reference: FeatureTable | None,
    found: Neighbors,
    right: np.ndarray | None,
    args: argparse.Namespace,
) -> None:
    """Draw some images with their nearest neighbors, one row per image.

    Args:
        predictor (Predictor): Model that reads the images.
        table (FeatureTable): Features of the query images.
        reference (FeatureTable, optional): Features of the reference images; None for the
            queries themselves.
        found (Neighbors): Nearest neighbors.
        right (np.ndarray, optional): Whether the neighbors predict the class of each image, (N, ).
        args (argparse.Namespace): ``sheet``, ``queries`` and ``seed``.
    """
    from smallvit.analysis.annotations import Annotations
    from smallvit.analysis.drawing import as_rgb, enlarge
    from smallvit.analysis.neighbors import choose_queries
    from smallvit.analysis.pictures import Tile, save_sheet

    def tile(one: FeatureTable, number: int, line: str) -> Tile:
        example = one.examples[number]
        image = predictor.steps.shown(predictor.read(example.image))
        picture = enlarge(as_rgb(image), Annotations(), 160)[0]
        name = example.name if one.labels is None else one.classes[one.labels[number]]
        return Tile(picture, f"{_short(name)}\n{line}", set())

    tiles = []
    for query in choose_queries(right, len(table.examples), args.queries or 8, args.seed):
        verdict = "" if right is None else ": right" if right[query] else ": WRONG"
        tiles.append(tile(table, query, f"image{verdict}"))
        near = zip(found.indices[query], found.similarities[query], strict=True)
        keys = table if reference is None else reference
        tiles += [tile(keys, number, f"{similarity:.3f}") for number, similarity in near]
    save_sheet(tiles, args.sheet, columns=found.indices.shape[1] + 1)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"...{name[-21:]}"
