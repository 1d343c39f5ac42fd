"""Exactness in memory: after any crashes, users, examples and answers are those of a run without one."""

from dataclasses import dataclass, replace

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.core import Slate
from streams.event_messages import Event
from streams.messages import decode_example, decode_recommendation, encode
from streams.settings import Settings
from streams.step.policy import SessionLimits
from streams.step.users import User, Verdict, advance, decode_user
from tests.memory_loop import CHANGELOG, Disk, Life, Record, run

ON_A_BUSY_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
NOW = 1_700_000_000_000
PARTITIONS = 2
SETTINGS = Settings(
    partitions=PARTITIONS,
    grace_s=60,
    session_gap_s=30,
    history_length=6,
    dedupe_events=2,
    answer_all_within_s=0,
)


@dataclass
class Newest:
    """Recommends the history, newest first: a list tells exactly which events came before it."""

    checkpoint: int = 1
    checkpoint_time: int | None = NOW

    def recommend(self, queries, k):
        lists = [query.history[::-1][:k] for query in queries]
        return [Slate(tuple(items), (0.5,) * len(items), ("",) * len(items)) for items in lists]

    def popular(self, k):
        return frozenset()


@st.composite
def logs(draw) -> list[Record]:
    """Records of three users in two partitions: duplicates, late events, wrong order, malformed ones."""
    ends = [0] * PARTITIONS
    records = []
    for number in range(draw(st.integers(1, 20))):
        user = draw(st.integers(0, 2))
        partition = user % PARTITIONS
        arrived = NOW + 10_000 * number
        event = Event(
            event_id=f"e{draw(st.integers(0, number))}",  # some come again
            user=f"u{user}",
            type=draw(st.sampled_from(["view", "view", "purchase", "impression", "request"])),
            item=draw(st.sampled_from("abcd")),
            time=arrived - draw(st.sampled_from([0, 0, 5_000, 45_000, 90_000, 10**9])),
            session=draw(st.sampled_from([None, None, "s"])),
        )
        value = draw(st.sampled_from([encode(event)] * 9 + [b"{"]))
        records.append(Record(event.user.encode(), value, partition, ends[partition], arrived))
        ends[partition] += 1
    return records


def lives(transactional: bool, longest: int = 4):
    """Lives that end with a crash or a fence, or both, or neither."""
    writes = st.integers(0, 25) | st.just(10**9)
    fenced = st.integers(0, 4) | st.just(10**9) if transactional else st.just(10**9)
    return st.lists(st.builds(Life, writes, fenced, st.just(transactional)), max_size=longest)


def answers(disk: Disk) -> dict[str, bytes]:
    """The recommendations by id; all of one id list the same."""
    by_id: dict[str, bytes] = {}
    for (topic, _), records in disk.topics.items():
        if topic == "recommendations":
            for _, value, _ in records:
                recommendation = decode_recommendation(value)
                known = by_id.setdefault(recommendation.recommendation_id, value)
                assert [i.item for i in decode_recommendation(known).items] == [
                    i.item for i in recommendation.items
                ]
    return by_id


def learnt(disk: Disk) -> dict[int, list[bytes]]:
    """The examples that a learner takes, by partition: none whose offset is not after the one before."""
    taken: dict[int, list[bytes]] = {}
    for partition in range(PARTITIONS):
        offset, kept = -1, taken.setdefault(partition, [])
        for _, value, _ in disk.topics["examples", partition]:
            if (example := decode_example(value)).offset > offset:
                offset = example.offset
                kept.append(value)
    return taken


def dead_letters(disk: Disk) -> set[tuple[bytes, ...]]:
    return {
        tuple(text for _, text in headers)
        for (topic, _), records in disk.topics.items()
        if topic == "dead-letter"
        for _, _, headers in records
    }


@given(
    records=logs(),
    ended=st.booleans().flatmap(lives),
    chunk=st.integers(1, 6),
    chunk_without=st.integers(1, 6),
)
@settings(max_examples=400, **ON_A_BUSY_MACHINE)
def test_a_crash_before_any_write_and_a_fence_change_nothing(records, ended, chunk, chunk_without):
    crashed = run(records, SETTINGS, Newest(), ended, chunk)
    plain = run(records, SETTINGS, Newest(), [], chunk_without)
    for partition in range(PARTITIONS):
        assert crashed.stores[partition] == plain.stores[partition]
        assert crashed.changelog(partition) == crashed.stores[partition], "a restore gives the same"
    assert learnt(crashed) == learnt(plain)
    assert dead_letters(crashed) == dead_letters(plain)
    assert crashed.committed == plain.committed
    after_crashes, uninterrupted = answers(crashed), answers(plain)
    assert after_crashes.keys() == uninterrupted.keys()
    for name, value in uninterrupted.items():
        assert decode_recommendation(after_crashes[name]).items == decode_recommendation(value).items


@given(records=logs(), ended=lives(transactional=True), chunk=st.integers(1, 6))
@settings(max_examples=200, **ON_A_BUSY_MACHINE)
def test_with_transactions_examples_and_dead_letters_are_written_once(records, ended, chunk):
    """And the values in the changelog only advance, whoever wrote them."""
    disk = run(records, SETTINGS, Newest(), ended, chunk)
    plain = run(records, SETTINGS, Newest(), [], chunk)
    for partition in range(PARTITIONS):
        for topic in ("examples", "dead-letter"):
            assert disk.topics[topic, partition] == plain.topics[topic, partition]
        newest: dict[bytes, int] = {}
        for key, value, _ in disk.topics[CHANGELOG, partition]:
            assert decode_user(value).offset > newest.get(key, -1)
            newest[key] = decode_user(value).offset


@given(records=logs(), ended=st.booleans().flatmap(lives), chunk=st.integers(1, 6))
@settings(max_examples=100, **ON_A_BUSY_MACHINE)
def test_a_value_in_the_changelog_means_that_its_answers_are_in_kafka(records, ended, chunk):
    """The order of writing is outputs, changelog, store, whichever write a life ends before."""
    disk = run(records, SETTINGS, Newest(), ended, chunk)
    ids = answers(disk).keys()
    for partition in range(PARTITIONS):
        for _, value, _ in disk.topics[CHANGELOG, partition]:
            user = decode_user(value)
            assert not user.slate_id or user.slate_id in ids
        assert disk.stored_to[partition] == len(disk.topics[CHANGELOG, partition]) - 1


BEHIND = SETTINGS.model_copy(update={"answer_all_within_s": 60})


@given(
    records=logs(),
    ended=st.booleans().flatmap(lives),
    chunk=st.integers(1, 6),
    ahead_s=st.integers(0, 300),
)
@settings(max_examples=200, **ON_A_BUSY_MACHINE)
def test_a_worker_that_is_behind_skips_answers_and_nothing_else(records, ended, chunk, ahead_s):
    """Also with crashes and fences: micro-batches are others then, and other answers are skipped."""
    behind = run(records, BEHIND, Newest(), ended, chunk, lambda: NOW + 1000 * ahead_s)
    plain = run(records, SETTINGS, Newest(), [], chunk)
    after, everything = answers(behind), answers(plain)
    assert after.keys() <= everything.keys()
    for name, value in after.items():
        assert decode_recommendation(value).items == decode_recommendation(everything[name]).items
    arrivals = {f"{record.partition}-{record.offset}": record.timestamp for record in records}
    waited = {name for name, arrived in arrivals.items() if arrived < NOW + 1000 * (ahead_s - 60)}
    assert everything.keys() - after.keys() <= waited, "what came in time is answered"
    for partition in range(PARTITIONS):
        assert behind.changelog(partition) == behind.stores[partition]
        assert behind.stores[partition].keys() == plain.stores[partition].keys()
        for key, value in behind.stores[partition].items():
            user, expected = decode_user(value), decode_user(plain.stores[partition][key])
            user, expected = (msgspec.structs.replace(each, slate_time=0) for each in (user, expected))
            assert user == expected, "each last one is answered"
        pairs = zip(learnt(behind)[partition], learnt(plain)[partition], strict=True)
        for one, other in ((decode_example(a), decode_example(b)) for a, b in pairs):
            assert replace(one, shown=None) == replace(other, shown=None)
            if one.shown is not None:
                shown = decode_recommendation(after[one.shown.recommendation_id])
                assert shown.items[one.shown.position].item == one.item
    assert dead_letters(behind) == dead_letters(plain)
    assert behind.committed == plain.committed


# The user record, against a plain sort


arrivals = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from("abc"), st.integers(0, 200)), min_size=1, max_size=30
)


@given(arrivals=arrivals, length=st.integers(1, 8), remembered=st.integers(1, 6), grace=st.integers(0, 100))
@settings(max_examples=300, **ON_A_BUSY_MACHINE)
def test_a_user_holds_the_latest_events_in_order_of_time(arrivals, length, remembered, grace):
    """History: distinct events sorted by time, the latest ones kept; the latest applied ids are known."""
    limits = SessionLimits(30, grace, length, remembered)
    user, ids, applied, latest = User(), [], [], 0
    for offset, (number, item, time) in enumerate(arrivals):
        event = Event(event_id=f"e{number}", user="u", type="view", item=item, time=time)
        step = advance(user, event, time, time, offset, True, limits)
        user = step.user
        assert user.offset == offset
        if number in ids[-remembered:]:
            assert step.verdict is Verdict.DUPLICATE
            continue
        late = latest - time > grace and time < latest
        assert (step.verdict is Verdict.LATE) == late
        earlier = [i for t, i in sorted(applied, key=lambda pair: pair[0]) if t <= time][-length:]
        if not late and len(applied) <= length:
            assert list(step.before) == earlier
        ids.append(number)
        applied.append((time, item))
        latest = latest if late else max(latest, time)
    ordered = sorted(applied, key=lambda pair: pair[0])[-length:]
    assert list(zip(user.times, user.items, strict=True)) == ordered
    assert user.events == len(applied)
    assert user.last == latest
    assert 0 <= user.session_size <= len(user.items)
