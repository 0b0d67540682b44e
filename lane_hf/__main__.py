"""`python -m lane_hf` is the `lane` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
