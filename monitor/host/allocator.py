"""Keep freed memory for the next capture.

What a capture needs is freed after it, and the C library gives it back to the system; the next
capture then gets the same pages anew, zeroed and one by one, which takes a tenth of its time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

KEPT_BYTES: Final = 256 * 2**20
# Larger pieces still come from the system and go back to it. The C library takes no higher limit.
_LARGE_BYTES: Final = 32 * 2**20
# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Keep up to `KEPT_BYTES` of freed memory in this process; whether that can be had here.

    Left alone where it was set from outside (``MALLOC_TRIM_THRESHOLD_``), and where there is no
    glibc.
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
