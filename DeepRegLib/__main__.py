"""`python -m DeepRegLib` is `deepreg`."""

from __future__ import annotations

import sys

from DeepRegLib.cli import main

if __name__ == "__main__":
    sys.exit(main())
