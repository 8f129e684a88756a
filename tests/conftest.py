"""What every test may import: `parity`, the reader of the numbers in tests/parity. What segue caches goes elsewhere."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "parity"))

CACHE = tempfile.TemporaryDirectory(prefix="segue-tests-", ignore_cleanup_errors=True)
os.environ["SEGUE_CACHE"] = CACHE.name
