"""What the command-line tools share: flags, config merging, readable errors.

Nothing here imports torch at the top, so that ``--help`` answers at once.
"""

from smallvit.cli.arguments import add_runtime_flags, base_parser, tool_parser
from smallvit.cli.run_tool import run_tool
from smallvit.errors import UserError

__all__ = ["UserError", "add_runtime_flags", "base_parser", "run_tool", "tool_parser"]
