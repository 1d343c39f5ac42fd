"""Serve a micro-batch whose step failed: the record at fault becomes a dead letter, all others are served.

A step changes nothing, so it can be tried again, with half of the records, until the one at fault is alone:
a record that fails by itself, and not because of what all records need:

* what the store raises is never a record's fault: it is raised, and the worker ends;
* the model may fail for everybody.  Then every event would become a dead letter, one after the other.  So the
  recommender is asked for two lists that have nothing to do with the record, one for nobody and one for
  somebody who saw the best sellers; what that raises is raised, and the worker ends.
"""

from collections.abc import Callable, Sequence

from models.core import HISTORY, Query
from streams.messages import Malformed
from streams.step.policy import ServingPolicy
from streams.step.serve import Recommender, Record, dead_letter, serve
from streams.step.writes import Counts, UserRecords, Writes, empty_outputs, joined

Stored = Callable[[int, bytes], bytes | None]
"""A user's encoded record by partition and key."""


def serve_in_parts(
    records: Sequence[Record],
    topic: str,
    stored: Stored,
    recommender: Recommender,
    policy: ServingPolicy,
    clock: Callable[[], int],
) -> Writes:
    """Serve as `serve` does, but make a record that raises a dead letter, `unprocessable`.

    Raises what the store raises, and what the recommender raises whatever it is asked for.
    """
    written: UserRecords = {}

    def latest(partition: int, key: bytes) -> bytes | None:
        value = written.get(partition, {}).get(key)
        return stored(partition, key) if value is None else value

    def parts(records: Sequence[Record]) -> list[Writes]:
        try:
            writes = serve(records, topic, latest, recommender, policy, clock)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a record causes
            if len(records) > 1:
                half = len(records) // 2
                return parts(records[:half]) + parts(records[half:])
            _require_innocence(records[0], latest, recommender, policy, clock())
            return [_unprocessable(records[0], topic, error, policy)]
        for partition, changed in writes.users.items():
            written.setdefault(partition, {}).update(changed)
        return [writes]

    return joined(parts(records))


def _require_innocence(
    record: Record, stored: Stored, recommender: Recommender, policy: ServingPolicy, now: int
) -> None:
    """Raise what the store raises for a record's key, and what the recommender raises for anybody."""
    if record.key is not None:
        stored(record.partition, record.key)
    best_sellers = tuple(sorted(recommender.popular(policy.list_length)))[:HISTORY]
    somebody = Query(best_sellers, len(best_sellers) or HISTORY, now)
    recommender.recommend([Query((), HISTORY, now), somebody], policy.list_length)


def _unprocessable(record: Record, topic: str, error: Exception, policy: ServingPolicy) -> Writes:
    reason = Malformed("unprocessable", f"{type(error).__name__}: {error}")
    outputs, counts = empty_outputs(), Counts(dead_letters={reason.reason: 1})
    outputs["dead-letter"][record.partition].append(dead_letter(record, topic, reason, policy))
    return Writes({}, outputs, {}, counts, [])
