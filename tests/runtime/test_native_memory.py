"""Free memory is given back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from streams.runtime import native_memory

HOLES = """
import ctypes
from streams.monitor.sample import memory_bytes
from streams.runtime.native_memory import give_back_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(100_000) for _ in range(1_000)]  # below the size at which glibc maps a block by itself
for block in blocks:
    ctypes.memset(block, 1, 100_000)
last = libc.malloc(100_000)  # the end of the heap stays in use
for block in blocks:
    libc.free(block)
before = memory_bytes()
give_back_memory()
print((before - memory_bytes()) // 1_000_000)
"""


@pytest.mark.skipif(native_memory._trim is None, reason="no glibc")
def test_what_is_free_inside_the_heap_is_given_back():
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", HOLES], cwd=root, capture_output=True, text=True, check=True)
    assert int(run.stdout) > 80, "of 100 MB"


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(native_memory, "_trim", None)
    native_memory.give_back_memory()
