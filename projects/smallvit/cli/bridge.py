"""Make mmdet and mmseg usable without mmcv's compiled operators in the whole environment.

The MM libraries look for the operators at import time; importing smallvit first makes those of
torchvision available. This command installs an import hook into the environment that imports
smallvit before the first MM library, for programs that do not import smallvit themselves. Other
programs are not affected, except that Python reads a file of 30 lines at startup.
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
"""Import smallvit, for its operator bridge, before the first OpenMMLab package."""

import sys

PACKAGES = ("mmcv", "mmdet", "mmengine", "mmpretrain", "mmseg")


class Finder:
    """Meta path finder that finds nothing and imports smallvit on the first MM import."""

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
    """Return the ``site-packages`` folder of this environment.

    Returns:
        str: Path of the folder.
    """
    return sysconfig.get_paths()["purelib"]


def files() -> dict[str, str]:
    """Return the files of the bridge.

    Returns:
        dict[str, str]: File contents by path.
    """
    return {
        osp.join(folder(), "_smallvit_bridge.py"): HOOK,
        osp.join(folder(), "smallvit_bridge.pth"): f"{MARK}\n{LINE}\n",
    }


def install() -> str:
    """Install the bridge.

    Returns:
        str: Message for the user.

    Raises:
        UserError: If the folder is not writable, or contains other files with these names.
    """
    for path, content in files().items():
        _require_own(path)
        try:
            write_whole(path, content)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror or error}; install the bridge in a "
                "virtual environment that you own (python -m venv)"
            ) from error
    return f"installed in {folder()}"


def remove() -> str:
    """Uninstall the bridge.

    Returns:
        str: Message for the user.

    Raises:
        UserError: If files with these names were not written by smallvit.
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
    """Report whether the bridge is installed.

    Returns:
        str: Message for the user.
    """
    there = {path: _read(path) for path in files() if osp.isfile(path)}
    if not there:
        return f"not installed in {folder()}"
    if there == files():
        return f"installed in {folder()}"
    return f"installed in {folder()} by another version, or incompletely: install it again"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _require_own(path: str) -> None:
    if osp.lexists(path) and (not osp.isfile(path) or not _read(path).startswith(MARK)):
        raise UserError(f"{path} was not written by smallvit: it is left unchanged")


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit bridge``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.
    """
    parser = tool_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = {"install": install, "remove": remove, "status": status}
    parser.add_argument("action", choices=actions)
    print(f"bridge: {actions[parser.parse_args(argv).action]()}")
