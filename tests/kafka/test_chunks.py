"""Into how large chunks a fetch is cut."""

from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import Fetcher

from streams.kafka.chunks import ChunkApp
from streams.kafka.fetch_waits import Wait
from streams.kafka.loop_consumer import LoopConsumer


@pytest.mark.parametrize(
    ("waited_s", "whole"), [((5, 1), False), ((31, 1), True), ((1, 31), True), ((), False)]
)
def test_a_fetch_that_waited_is_one_chunk(waited_s, whole):
    app, now = SimpleNamespace(chunk_events=100, whole_fetch_after_s=30.0), 1_700_000_000.0
    fetched = {n: [SimpleNamespace(timestamp=int(1000 * (now - s)))] for n, s in enumerate(waited_s)}
    assert (ChunkApp.chunk_size(app, fetched, now) > 100) == whole
    app.whole_fetch_after_s = float("inf")
    assert ChunkApp.chunk_size(app, fetched, now) == 100


def test_what_a_fetch_asks_for_is_set_where_the_client_reads_it():
    fetcher = SimpleNamespace()
    consumer = SimpleNamespace(_fetcher=fetcher)
    LoopConsumer.expect(SimpleNamespace(_ensure_consumer=lambda: consumer), Wait(7, 1))
    assert vars(fetcher) == {"_fetch_max_wait_ms": 7, "_fetch_min_bytes": 1}
    assert vars(fetcher).keys() <= set(Fetcher._get_actions_per_node.__code__.co_names)
