"""bench/ is not installed: it is found beside tests/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
