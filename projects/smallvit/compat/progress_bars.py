"""MMPretrain's progress bar of inferencers in terminals and notebooks only.

In a file or a pipe, it ends without a line break, so that the next text is printed on its line.
Remove this once MMPretrain ends the line (1.2 does not).
"""

from __future__ import annotations

from types import ModuleType

from smallvit.compat.after_import import patch_after_import

NAME = "mmpretrain.utils.progress"


def install() -> None:
    """Set the switch of the bar when MMPretrain is imported. Nothing is imported."""
    patch_after_import(NAME, _hide_in_files)


def _hide_in_files(module: ModuleType) -> None:
    console = module.global_live.console
    if not (console.is_terminal or console.is_jupyter):
        module.disable_progress_bar = True
