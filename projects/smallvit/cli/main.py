"""Entry point of the ``smallvit`` command, which dispatches to its subcommands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from smallvit.cli import run_tool

#: The tools; a wheel contains them inside the package.
TOOLS = Path(__file__).parents[1] / ".mim/tools"
#: Subcommands: module, or file in ``tools/``, with ``main(argv)``, and help text.
VERBS: dict[str, tuple[str, str]] = {
    "train": ("train.py", "train a config, or a model on your own data"),
    "pretrain": ("smallvit.cli.pretrain", "pretrain a backbone on unlabeled images"),
    "test": ("test.py", "evaluate a checkpoint on the test data of a config"),
    "predict": ("smallvit.cli.predict", "run inference on images, folders, videos"),
    "export": ("smallvit.cli.export", "export a trained model to ONNX, torch.export, TorchScript"),
    "publish": ("smallvit.cli.publish", "strip a checkpoint for release, or push it to the Hub"),
    "verify": ("misc/verify_dataset.py", "read a whole dataset and list invalid files"),
    "bench": ("small_data_bench.py", "compare methods on your images under the same budget"),
    "browse": ("analysis_tools/browse_dataset.py", "draw training images after the pipeline"),
    "confusion": (
        "analysis_tools/confusion_matrix.py",
        "plot a confusion matrix, or the errors of a detector",
    ),
    "recipe": ("smallvit.cli.recipe", "print the training recipe of a config"),
    "convert": ("model_converters/convert.py", "convert official checkpoints to ours, or back"),
    "calibrate": ("multi_exit/calibrate.py", "calibrate the exit thresholds of a DVT cascade"),
    "precompute": ("locality_guidance/precompute.py", "precompute teacher features"),
    "lmdb": ("dataset_converters/folder2lmdb.py", "pack a folder of images into an LMDB store"),
    "flops": ("analysis_tools/get_flops.py", "count parameters and FLOPs of a config"),
    "benchmark": ("analysis_tools/benchmark.py", "measure speed and memory of configs"),
    "lr-find": ("analysis_tools/lr_find.py", "run a learning rate range test"),
    "cam": ("smallvit.cli.cam", "draw Grad-CAM and attention maps"),
    "features": ("smallvit.cli.features", "draw a t-SNE map and nearest neighbors"),
    "demo": ("smallvit.cli.demo", "try a model in the browser"),
    "plot": ("analysis_tools/plot_logs.py", "plot training curves"),
    "draw": ("analysis_tools/draw_predictions.py", "draw predictions on images"),
    "hosts": ("smallvit.cli.hosts", "list the backbones that support plugins"),
    "bridge": (
        "smallvit.cli.bridge",
        "provide mmcv's operators to all programs of this environment",
    ),
    "check-env": ("misc/check_env.py", "show installed, supported and missing packages"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        argv (Sequence[str], optional): Subcommand and its arguments. Defaults to None, which
            means ``sys.argv``.

    Returns:
        int: Exit status of the subcommand; 2 if it does not exist.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    verb, *rest = argv
    if verb in ("-V", "--version"):
        from smallvit import __version__

        print(f"smallvit {__version__}")
        return 0
    if verb not in VERBS:
        print(f"smallvit: unknown command {verb!r}{_nearest(verb)}\n\n{_usage()}", file=sys.stderr)
        return 2
    # argparse derives the program name in usage messages from sys.argv.
    sys.argv[0] = f"smallvit {verb}"
    return run_tool(tool_module(VERBS[verb][0]).main, rest)


def tool_module(name: str) -> ModuleType:
    """Import the module of a subcommand.

    Args:
        name (str): Module name, or a file in ``tools/`` such as ``train.py``.

    Returns:
        ModuleType: Module with a function ``main(argv)``.
    """
    if not name.endswith(".py"):
        return import_module(name)
    path = TOOLS / name
    sys.path.append(str(path.resolve().parent))  # scripts import modules from their own folder
    spec = spec_from_file_location(f"smallvit_tool_{path.stem}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        [
            "usage: smallvit COMMAND ...",
            "",
            *lines,
            "",
            "Run smallvit COMMAND --help for its arguments.",
        ]
    )


def _nearest(verb: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(verb, VERBS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


if __name__ == "__main__":
    sys.exit(main())
