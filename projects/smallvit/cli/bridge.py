"""Let any program of this environment use mmdet and mmseg without mmcv's compiled operators.

The MM libraries look for them when they are imported; a program that imports smallvit first has
the bridge to torchvision's. This puts a hook into the environment that imports smallvit when a
program first imports one of them, so that programs which do not know smallvit have it too. It costs
other programs nothing but a file of 30 lines that Python reads when it starts.
"""

from __future__ import annotations

import argparse
import os
import os.path as osp
import sysconfig
from collections.abc import Sequence

from smallvit.cli.arguments import tool_parser
from smallvit.errors import UserError
from smallvit.utils.files import write_whole

MARK = "# Written by `smallvit bridge install`; `smallvit bridge remove` takes it away."
LINE = "import _smallvit_bridge"
HOOK = f'''{MARK}
"""Imports smallvit, whose bridge they need, when an OpenMMLab package is first imported."""

import sys

PACKAGES = ("mmcv", "mmdet", "mmengine", "mmpretrain", "mmseg")


class Finder:
    """Finds nothing; what is asked for tells it that its time has come."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in PACKAGES and Finder in sys.meta_path:
            sys.meta_path.remove(Finder)
            try:
                import smallvit  # noqa: F401
            except ImportError:
                pass
        return None


if Finder not in sys.meta_path:
    sys.meta_path.insert(0, Finder)
'''


def folder() -> str:
    """Where packages of this environment are.

    Returns:
        str: The folder.
    """
    return sysconfig.get_paths()["purelib"]


def files() -> dict[str, str]:
    """What the bridge consists of.

    Returns:
        dict[str, str]: Content by path.
    """
    return {
        osp.join(folder(), "_smallvit_bridge.py"): HOOK,
        osp.join(folder(), "smallvit_bridge.pth"): f"{MARK}\n{LINE}\n",
    }


def install() -> str:
    """Write the files.

    Returns:
        str: What was done.

    Raises:
        UserError: If the folder cannot be written, or somebody else has files of these names.
    """
    for path, content in files().items():
        _require_own(path)
        try:
            write_whole(path, content)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror or error}; the bridge is for an "
                "environment of your own (python -m venv)"
            ) from error
    return f"installed in {folder()}"


def remove() -> str:
    """Remove the files.

    Returns:
        str: What was done.

    Raises:
        UserError: If somebody else has files of these names.
    """
    there = [path for path in reversed(files()) if osp.lexists(path)]
    for path in there:
        _require_own(path)
        try:
            os.remove(path)
        except OSError as error:
            raise UserError(f"{path} cannot be removed: {error.strerror or error}") from error
    return f"removed from {folder()}" if there else f"not installed in {folder()}"


def status() -> str:
    """Tell whether the bridge is installed.

    Returns:
        str: A sentence.
    """
    there = {path: _read(path) for path in files() if osp.isfile(path)}
    if not there:
        return f"not installed in {folder()}"
    if there == files():
        return f"installed in {folder()}"
    return f"installed in {folder()} by another version, or in part: install it again"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _require_own(path: str) -> None:
    if osp.lexists(path) and (not osp.isfile(path) or not _read(path).startswith(MARK)):
        raise UserError(f"{path} is a file of somebody else: it stays, and nothing is changed")


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit bridge``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.
    """
    parser = tool_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = {"install": install, "remove": remove, "status": status}
    parser.add_argument("action", choices=actions)
    print(f"bridge: {actions[parser.parse_args(argv).action]()}")
