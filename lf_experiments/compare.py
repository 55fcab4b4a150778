"""The command `python -m lf_experiments.compare RUN RUN` (`side_by_side.py`); it is not imported."""

import sys

from lf_experiments.side_by_side import main

if __name__ == "__main__":
    sys.exit(main())
