"""How long a fetch waits, by what arrives."""

from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import Fetcher

from streams.kafka.fetch_waits import FETCH_MIN_BYTES, QUIET_WAIT_MS, FetchWaits, Wait
from streams.kafka.loop_consumer import LoopConsumer


def latest(per_s: float, seconds: float = 3.0, more: bool = False) -> Wait:
    """The wait after records that arrive one at a time."""
    waits, wait = FetchWaits(wait_ms=2), None
    for n in range(int(per_s * seconds)):
        wait = waits.after(1, more, n / per_s)
    return wait


@pytest.mark.parametrize(
    ("per_s", "wait"),
    [
        (1000, Wait(2, FETCH_MIN_BYTES)),
        (500, Wait(2, FETCH_MIN_BYTES)),
        (200, Wait(10, 1)),
        (20, Wait(10, 1)),
    ],
)
def test_a_fetch_ends_with_the_first_record_where_few_arrive(per_s, wait):
    assert latest(per_s) == wait


def test_what_a_fetch_left_does_not_wait_again():
    assert latest(1000, more=True) == Wait(2, 1)


def test_a_fetch_waits_long_where_nothing_comes():
    waits = FetchWaits(wait_ms=2)
    assert waits.after(0, False, 0.1) == Wait(QUIET_WAIT_MS, 1)
    assert waits.after(5000, False, 0.2) == Wait(2, FETCH_MIN_BYTES), "a burst is fetched at once"
    assert FetchWaits(wait_ms=500).after(0, False, 0.1) == Wait(500, 1), "a learner's long poll stays"


def test_aiokafka_has_the_attributes_that_are_set():
    fetcher = SimpleNamespace()
    consumer = SimpleNamespace(_fetcher=fetcher)
    LoopConsumer.expect(SimpleNamespace(_ensure_consumer=lambda: consumer), Wait(7, 9))
    assert vars(fetcher) == {"_fetch_max_wait_ms": 7, "_fetch_min_bytes": 9}
    assert vars(fetcher).keys() <= set(Fetcher._get_actions_per_node.__code__.co_names)  # what it asks by
