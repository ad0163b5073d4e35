"""`python -m fastemb`: the command line, where the `fastemb` command is not on the path."""

import sys

from fastemb.cli import main

if __name__ == "__main__":
    sys.exit(main())
