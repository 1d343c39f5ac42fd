"""Into how large chunks a fetch is cut, and what it delivers besides records."""

from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.kafka.chunks import ChunkApp, ChunkConsumer


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


def test_partitions_may_be_assigned_while_changelogs_behind_a_marker_are_delivered():
    """Faust adds to the set of active partitions while a delivery waits: that ended a worker."""
    active = {TP("changelog", partition) for partition in range(2)}
    thread = SimpleNamespace(position=lambda tp: 5)
    consumer = SimpleNamespace(
        _is_changelog_tp=lambda tp: True, _thread=thread, _read_offset={}.fromkeys(active)
    )
    behind = ChunkConsumer._changelogs_behind_a_marker(consumer, active)
    delivered = {next(behind)}
    active.add(TP("changelog", 2))
    assert delivered | set(behind) == {TP("changelog", 0), TP("changelog", 1)}


def test_a_partition_paused_for_a_restore_is_not_fetched_when_its_queue_has_room_again():
    """Faust did: the restore waited for the changelog, and the changelog for the events that were fetched."""
    events, changelog = TP("events", 0), TP("changelog", 0)
    consumer = ChunkConsumer.__new__(ChunkConsumer)
    consumer._active_partitions, consumer._paused_partitions = {changelog}, {events}
    consumer._buffered_partitions = {events}
    consumer.on_buffer_drop(events)
    assert (consumer._active_partitions, consumer._buffered_partitions) == ({changelog}, set())
    consumer._paused_partitions, consumer._buffered_partitions = set(), {events}
    consumer.on_buffer_drop(events)
    assert consumer._active_partitions == {changelog, events}
