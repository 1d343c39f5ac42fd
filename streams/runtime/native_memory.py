"""Memory of native libraries that is free and still counts as the process's."""

import asyncio
import ctypes

from streams.runtime.background import BackgroundTask

TRIM_S = 60.0
"""Interval at which free memory is given back, in a millisecond or two."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back_memory() -> None:
    """Give the system what is free inside the heap; does nothing where the C library is not glibc.

    glibc gives back only what is free at the end of the heap.  RocksDB's buffers of a megabyte come and go
    among small blocks that stay: a worker at 300 events/s grew by 20 to 140 MiB an hour so.
    """
    if _trim is not None:
        _trim(0)


async def _run() -> None:
    await asyncio.to_thread(give_back_memory)


MEMORY_TASK = BackgroundTask(TRIM_S, _run)
"""Gives memory back as long as a process runs."""
