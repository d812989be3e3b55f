"""``python -m smallvit VERB ...`` is ``smallvit VERB ...``."""

import sys

from smallvit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
