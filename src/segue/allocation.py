"""How a processor's memory is given back, which decides on the speed of everything that makes large tensors.

glibc gives what is freed to the system at once where it is large, and the system hands out every page of it anew, and
zeroed, when the next layer asks: a tenth to a third of all time on some machines. A GPU's memory is kept by PyTorch.
"""

from __future__ import annotations

import os
import sys

LARGE = 1 << 30  # bytes from which memory goes back to the system at once
KEPT = (1 << 31) - 1  # bytes at the heap's end that are kept, the most that can be said
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # their numbers in glibc's malloc.h
CHOICES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Environment variables by which a user has chosen otherwise."""


def keep_freed_memory() -> bool:
    """Let this process keep large blocks of memory for its next tensors. Returns whether it does.

    It does with glibc, unless one of `CHOICES` is set.
    """
    if sys.platform != "linux" or any(os.environ.get(name) for name in CHOICES):
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGE) and mallopt(TRIM_THRESHOLD, KEPT))
