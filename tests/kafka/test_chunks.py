"""Into how large chunks a fetch is cut."""

from types import SimpleNamespace

import pytest

from streams.kafka.chunks import ChunkApp


@pytest.mark.parametrize(
    ("waited_s", "whole"), [((5, 1), False), ((31, 1), True), ((1, 31), True), ((), False)]
)
def test_a_fetch_that_waited_is_one_chunk(waited_s, whole):
    app, now = SimpleNamespace(chunk_events=100, whole_fetch_after_s=30.0), 1_700_000_000_000
    times = [now - 1000 * s for s in waited_s]
    fetched = {n: [SimpleNamespace(timestamp=time, headers=())] for n, time in enumerate(times)}
    assert (ChunkApp.chunk_size(app, fetched, now) > 100) == whole
    app.whole_fetch_after_s = float("inf")
    assert ChunkApp.chunk_size(app, fetched, now) == 100
    replayed = {
        n: [SimpleNamespace(timestamp=time, headers=(("replay", b"7"),))] for n, time in enumerate(times)
    }
    app.whole_fetch_after_s = 30.0
    assert ChunkApp.chunk_size(app, replayed, now) == 100, "a replay is answered in full: it gains nothing"
