"""What every test may import: `parity`, the reader of the numbers in tests/parity. What segue caches goes elsewhere."""

import os
import sys
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes with a pool of threads each would fight over the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "parity"))

CACHE = tempfile.TemporaryDirectory(prefix="segue-tests-", ignore_cleanup_errors=True)
os.environ["SEGUE_CACHE"] = CACHE.name
