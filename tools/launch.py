#!/usr/bin/env python
"""torchrun, with its arguments, that hands SIGTERM and SIGUSR1 on to what it starts."""

import sys

from smallvit.utils.torchrun import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
