"""How long a fetch waits, and what it delivers besides records."""

from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import Fetcher
from faust.types import TP

from streams.kafka.chunks import ChunkConsumer
from streams.kafka.loop_consumer import FETCH_MIN_BYTES, QUIET_WAIT_MS, LoopConsumer


@pytest.mark.parametrize(
    ("quiet", "waits_when_quiet", "wait_ms", "min_bytes"),
    [
        (False, True, 2, FETCH_MIN_BYTES),
        (True, True, QUIET_WAIT_MS, 1),
        (True, False, 2, FETCH_MIN_BYTES),  # an embedded broker lets every fetch wait to the end
    ],
)
def test_a_fetch_waits_long_only_where_nothing_comes(quiet, waits_when_quiet, wait_ms, min_bytes):
    fetcher = SimpleNamespace()
    app = SimpleNamespace(fetch_max_wait_ms=2, waits_when_quiet=waits_when_quiet)
    consumer = SimpleNamespace(_fetcher=fetcher)
    LoopConsumer.expect(SimpleNamespace(app=app, _ensure_consumer=lambda: consumer), quiet=quiet)
    assert vars(fetcher) == {"_fetch_max_wait_ms": wait_ms, "_fetch_min_bytes": min_bytes}
    assert vars(fetcher).keys() <= set(Fetcher._get_actions_per_node.__code__.co_names)  # what it asks by


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
