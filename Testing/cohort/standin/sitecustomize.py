"""Python reads this when it starts, if the folder is in PYTHONPATH: workers elsewhere run cases in no time too."""

import sys
from pathlib import Path

from DeepRegLib.cohort import child

child.default_command = lambda: [sys.executable, str(Path(__file__).parents[1] / "serving.py")]
