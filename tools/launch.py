#!/usr/bin/env python
"""torchrun with the same arguments that forwards SIGTERM and SIGUSR1 to its workers."""

import sys

from smallvit.utils.torchrun import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
