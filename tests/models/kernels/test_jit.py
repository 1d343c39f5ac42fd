"""Kernels where numba may write nowhere."""

import logging

from numba.core import caching

from models.kernels import jit


def test_without_a_folder_for_its_cache_a_kernel_runs_and_it_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    jit._say_not_cached.cache_clear()
    with caplog.at_level(logging.WARNING):
        first, second = (jit.kernel(lambda x: x + 1) for _ in range(2))
    assert (first(1), second(2)) == (2, 3)
    (record,) = [record for record in caplog.records if record.name == jit.__name__]
    assert "set NUMBA_CACHE_DIR" in record.message
