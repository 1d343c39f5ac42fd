"""The arrival of records whose Kafka time cannot be, and event times in seconds."""

import pytest

from models.units import DAY_MS, HOUR_MS
from streams import messages
from streams.messages import DeadLetter
from streams.step.clock import arrival, kafka_time
from tests.step.test_serve import NOW, POLICY, record, step


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (NOW, NOW),
        (NOW - 9 * 365 * DAY_MS, NOW - 9 * 365 * DAY_MS),
        (NOW + HOUR_MS, NOW + HOUR_MS),
        (NOW // 1000, NOW),
        (NOW * 1000, NOW),
        (NOW * 1_000_000, NOW),
        (-1, NOW + 7),
        (0, NOW + 7),
        (12_345, NOW + 7),
        (NOW + 3 * DAY_MS, NOW + 7),
        (2**63 - 1, NOW + 7),
    ],
)
def test_a_time_of_kafka_that_cannot_be_is_read_in_another_unit_or_is_now(timestamp, expected):
    assert kafka_time(timestamp, NOW + 7) == expected
    assert arrival(timestamp, [("replay", b"5")], NOW + 7) == 5
    assert arrival(timestamp, [("replay", None), ("replay", b"soon")], NOW + 7) == expected


@pytest.mark.parametrize("timestamp", [NOW // 1000, NOW * 1000, NOW * 1_000_000, -1, 0, NOW + 40 * DAY_MS])
def test_no_event_is_of_1970_because_of_the_record_that_it_came_in(timestamp):
    writes = step([record(1, time=NOW, timestamp=timestamp), record(2, time=NOW, timestamp=NOW)])
    assert [messages.decode_example(value).time for _, value in writes.examples] == [NOW, NOW]
    assert writes.ages_ms == [pytest.approx(5, abs=5), 10]


def test_a_time_in_seconds_is_a_dead_letter_that_says_so():
    writes = step([record(1, time=NOW), record(2, time=NOW // 1000), record(3, time=NOW)])
    ((_, _, headers),) = writes.dead_letters
    letter = DeadLetter.from_headers(headers)
    assert (letter.reason, letter.offset) == ("time-in-seconds", 2)
    assert "seconds" in letter.detail
    assert str(NOW // 1000) in letter.detail
    assert writes.counts.recommendations == 2
    replayed = step([record(1, time=NOW // 1000, headers=(("replay", b"%d" % (NOW // 1000)),))])
    assert not replayed.dead_letters, "a log of its own epoch"
    assert step([record(1, time=5)]).counts.accepted == 1, "a device whose clock begins in 1970"
    assert POLICY.sessions.grace_ms < DAY_MS
