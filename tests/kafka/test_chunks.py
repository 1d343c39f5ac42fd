"""How long a fetch waits, by whether anything comes, and into how large chunks it is cut."""

from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import Fetcher

from streams.kafka.chunks import FETCH_MIN_BYTES, QUIET_WAIT_MS, ChunkApp, _OnLoop


@pytest.mark.parametrize(
    ("quiet", "more", "wait_ms", "min_bytes"),
    [
        (False, False, 2, FETCH_MIN_BYTES),
        (False, True, 2, 1),  # what a fetch left does not wait again
        (True, False, QUIET_WAIT_MS, 1),
    ],
)
def test_a_fetch_waits_long_only_where_nothing_comes(quiet, more, wait_ms, min_bytes):
    fetcher = SimpleNamespace()
    app = SimpleNamespace(fetch_max_wait_ms=2)
    consumer = SimpleNamespace(_fetcher=fetcher)
    _OnLoop.expect(SimpleNamespace(app=app, _ensure_consumer=lambda: consumer), quiet, more)
    assert vars(fetcher) == {"_fetch_max_wait_ms": wait_ms, "_fetch_min_bytes": min_bytes}
    assert vars(fetcher).keys() <= set(Fetcher._get_actions_per_node.__code__.co_names)  # what it asks by


@pytest.mark.parametrize(
    ("waited_s", "whole"), [((5, 1), False), ((31, 1), True), ((1, 31), True), ((), False)]
)
def test_a_fetch_that_waited_is_one_chunk(waited_s, whole):
    app, now = SimpleNamespace(chunk_events=100, whole_fetch_after_s=30.0), 1_700_000_000.0
    fetched = {n: [SimpleNamespace(timestamp=int(1000 * (now - s)))] for n, s in enumerate(waited_s)}
    assert (ChunkApp.chunk_size(app, fetched, now) > 100) == whole
    app.whole_fetch_after_s = float("inf")
    assert ChunkApp.chunk_size(app, fetched, now) == 100
