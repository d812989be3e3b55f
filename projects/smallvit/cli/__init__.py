"""What the command-line tools share: flags, config merging, readable errors.

Nothing here imports torch at the top, so that ``--help`` answers at once. Importing it without
the OpenMMLab packages ends the process with a sentence that names the ways to install them.
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
