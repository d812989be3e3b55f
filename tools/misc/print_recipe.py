#!/usr/bin/env python
"""Print the training recipe of a config; same as ``smallvit recipe``."""

import sys

from smallvit.cli import run_tool
from smallvit.cli.recipe import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
