"""The ``smallvit`` command: a verb, and the arguments of what it names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from smallvit.cli import run_tool

#: The tools, which a wheel carries inside the package.
TOOLS = Path(__file__).parents[1] / ".mim/tools"
#: What each verb runs, a module or a file of ``tools/`` with ``main(argv)``, and its help.
VERBS: dict[str, tuple[str, str]] = {
    "train": ("train.py", "train a config"),
    "pretrain": ("smallvit.cli.pretrain", "pretrain a backbone on images without labels"),
    "test": ("test.py", "measure a checkpoint on the test data of a config"),
    "predict": ("smallvit.cli.predict", "predict images, folders, videos with a checkpoint"),
    "export": ("smallvit.cli.export", "write a trained model as ONNX or another graph"),
    "publish": ("smallvit.cli.publish", "write a checkpoint for others, or push it to a hub"),
    "verify": ("misc/verify_dataset.py", "read all data of a training and list what is wrong"),
    "bench": ("small_data_bench.py", "compare methods on your images under one budget"),
    "browse": ("analysis_tools/browse_dataset.py", "draw the images of a config's data set"),
    "confusion": ("analysis_tools/confusion_matrix.py", "which classes a model takes for which"),
    "recipe": ("smallvit.cli.recipe", "print what a training with a config does"),
    "convert": ("model_converters/convert.py", "convert official checkpoints to ours, or back"),
    "calibrate": ("multi_exit/calibrate.py", "find the exit thresholds of a DVT cascade"),
    "precompute": ("locality_guidance/precompute.py", "write a teacher's features to a store"),
    "lmdb": ("dataset_converters/folder2lmdb.py", "pack a folder of images into an LMDB store"),
    "flops": ("analysis_tools/get_flops.py", "count parameters and FLOPs of a config"),
    "benchmark": ("analysis_tools/benchmark.py", "measure speed and memory of configs"),
    "lr-find": ("analysis_tools/lr_find.py", "find a learning rate in some steps"),
    "cam": ("smallvit.cli.cam", "draw what a trained model looks at"),
    "features": ("smallvit.cli.features", "map a model's features, and show nearest neighbors"),
    "demo": ("smallvit.cli.demo", "try a model in the browser"),
    "plot": ("analysis_tools/plot_logs.py", "draw the curves of trainings"),
    "draw": ("analysis_tools/draw_predictions.py", "draw predictions on their images"),
    "hosts": ("smallvit.cli.hosts", "list which backbones of the libraries take plugins"),
    "bridge": ("smallvit.cli.bridge", "serve mmcv's operators to programs of this environment"),
    "check-env": ("misc/check_env.py", "show what is installed, supported and missing"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv (Sequence[str], optional): Verb and its arguments. Defaults to None, which takes
            those of the command line.

    Returns:
        int: The exit status: that of the verb, 2 where there is none of that name.
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
        print(f"smallvit: no such verb: {verb!r}{_nearest(verb)}\n\n{_usage()}", file=sys.stderr)
        return 2
    # The parser of the verb names itself after the program.
    sys.argv[0] = f"smallvit {verb}"
    return run_tool(tool_module(VERBS[verb][0]).main, rest)


def tool_module(name: str) -> ModuleType:
    """Import what a verb runs.

    Args:
        name (str): A module of the package, or a file of ``tools/``, such as ``train.py``.

    Returns:
        ModuleType: The module, with ``main(argv)``.
    """
    if not name.endswith(".py"):
        return import_module(name)
    path = TOOLS / name
    sys.path.append(str(path.resolve().parent))  # a script finds the modules beside it
    spec = spec_from_file_location(f"smallvit_tool_{path.stem}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        ["usage: smallvit VERB ...", "", *lines, "", "smallvit VERB --help tells its arguments"]
    )


def _nearest(verb: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(verb, VERBS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


if __name__ == "__main__":
    sys.exit(main())
