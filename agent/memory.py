"""Memory that is free goes back to the system, where the C library would keep it for the next time."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_MANY = 1000


def give_back(files: int) -> None:
    """To be called when a dataset of so many files was gone through; few leave nothing behind worth the milliseconds.

    glibc keeps what lies below anything that is still used, in a heap for every thread. Each step of a large dataset
    runs in another thread, and what all of them kept was some 7 MB of 200 for a hundred thousand files
    (benchmarks/memory.py --daemon). Other systems have nothing to be called, or need no call.
    """
    if files < _MANY or sys.platform != "linux":
        return
    # musl has no such function.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
