"""Depth-wise convolution shortcuts for the blocks of any host."""

from smallvit.plugins.dw_shortcut.attach import attach_dw_shortcuts, build_with_dw_shortcuts
from smallvit.plugins.dw_shortcut.module import DepthwiseBranch, DepthwiseShortcut

__all__ = [
    "DepthwiseBranch",
    "DepthwiseShortcut",
    "attach_dw_shortcuts",
    "build_with_dw_shortcuts",
]
