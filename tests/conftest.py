"""What every test may import: `parity`, the reader of the numbers in tests/parity."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "parity"))
