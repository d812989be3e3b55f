"""Command-line interface: shared flags, config overrides and error messages.

No module imports torch at module level, which keeps ``--help`` fast. If an OpenMMLab package is
missing, importing this package exits with a message that explains how to install it.
"""

from smallvit.cli.requirements import require_mm_packages

require_mm_packages()

from smallvit.cli.arguments import (  # noqa: E402
    add_runtime_flags,
    base_parser,
    tool_parser,
)
from smallvit.cli.run_tool import run_tool  # noqa: E402
from smallvit.errors import UserError  # noqa: E402

__all__ = ["UserError", "add_runtime_flags", "base_parser", "run_tool", "tool_parser"]
