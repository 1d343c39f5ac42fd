"""Aliases: the history of a visitor moves to the user who logged in, once, whatever crashes."""

from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.event_messages import Event, PastEvent, decode_event
from streams.messages import encode
from streams.settings import Settings
from streams.step.aliases import merged, partition_of
from streams.step.policy import ServingPolicy
from streams.step.serve import serve
from streams.step.users import User, decode_user, encode_user
from tests.memory_loop import Disk, Life, Record, Worker
from tests.step.test_serve import NOW, Echo
from tests.test_exactness import lives

PARTITIONS = 2
SETTINGS = Settings(partitions=PARTITIONS, grace_s=3600, answer_all_within_s=0)
VISITORS, USERS = [f"visitor-{n}" for n in range(4)], [f"user-{n}" for n in range(3)]
PAST = tuple(PastEvent(f"i{n}", "view", NOW + n) for n in range(3))


def event(number: int, user: str, type: str, **fields) -> Event:
    return Event(event_id=f"e{number}", user=user, type=type, time=NOW + 1000 * number, **fields)


class Log:
    """The topic `events`: what shops publish, and what workers add."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def publish(self, event: Event) -> None:
        partition = partition_of(event.user, PARTITIONS)
        self.disk.topics["events", partition].append((event.user.encode(), encode(event), []))

    def records(self) -> list[Record]:
        return [
            Record(key, value, partition, offset, NOW + 1000, headers)
            for partition in range(PARTITIONS)
            for offset, (key, value, headers) in enumerate(self.disk.topics["events", partition])
        ]


def serve_until_the_end(log: Log, ended: list[Life], chunk: int) -> dict[str, User]:
    """All users, after these lives and as many further ones as it takes to read what they add."""
    for life in (*ended, Life(), Life()):
        Worker(log.disk, SETTINGS, Echo(), life, lambda: NOW + 1000).run(log.records(), chunk)
    ends = {partition: len(log.disk.topics["events", partition]) for partition in range(PARTITIONS)}
    assert {p: log.disk.committed[p] for p in ends} == ends
    return {
        key.decode(): decode_user(value)
        for partition in range(PARTITIONS)
        for key, value in log.disk.stores[partition].items()
    }


ACTIONS = st.one_of(
    st.tuples(st.just("view"), st.sampled_from([*VISITORS, *USERS]), st.sampled_from("abcd")),
    st.tuples(st.just("hide"), st.sampled_from(VISITORS), st.sampled_from("xyz")),
    st.tuples(st.just("alias"), st.sampled_from(VISITORS), st.sampled_from(USERS)),
)


@given(
    actions=st.lists(ACTIONS, min_size=1, max_size=15),
    ended=st.booleans().flatmap(lives),
    chunk=st.integers(1, 5),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_event_is_in_one_history_after_any_crashes(actions, ended, chunk):
    """Against plain sets: who did what, and to whom it moved by the order of each visitor's own events."""
    log, expected, hidden = Log(Disk()), defaultdict(set), defaultdict(set)
    for number, (type, user, other) in enumerate(actions):
        if type == "alias":
            log.publish(event(number, user, "alias", alias=other))
            expected[other] |= expected.pop(user, set())
            hidden[other] |= hidden[user]
        else:
            log.publish(event(number, user, type, item=other))
            (hidden if type == "hide" else expected)[user].add(other if type == "hide" else (number, other))
    users = serve_until_the_end(log, ended, chunk)
    for name, user in users.items():
        had = {((time - NOW) // 1000, item) for time, item in zip(user.times, user.items, strict=True)}
        assert had == {(min(number, 301), item) for number, item in expected[name]}
        assert len(user.items) == len(had), "once"
        assert list(user.times) == sorted(user.times)
        assert set(user.hidden) == hidden[name]


def test_what_moves_is_put_in_its_place_once_and_bounded():
    user = User(items=("kettle",), types=("view",), times=(NOW + 1,), last=NOW + 1, session_size=1)
    merge = event(9, "ann", "merge", moved=PAST)
    once = merged(user, merge, NOW + 9000, 50)
    assert once.items == ("i0", "kettle", "i1", "i2")
    assert once.session_size == 3, "what is not older than the session's first event belongs to it"
    assert merged(once, merge, NOW + 9000, 50) == once
    assert merged(user, merge, NOW + 9000, 2).items == ("i1", "i2")
    assert merged(user, merge, NOW, 50).times == (NOW, NOW, NOW, NOW + 1), "no time is ahead of the merge"


def test_nothing_moves_to_who_does_not_want_a_profile():
    user = User(profiling=False)
    assert merged(user, event(9, "ann", "merge", moved=PAST), NOW, 50) == user


def moved_of(visitor: User, **more) -> Event:
    """The merge that an alias of this visitor gives."""
    policy = ServingPolicy.from_settings(SETTINGS)
    partition = partition_of("visitor", PARTITIONS)

    alias = Record(b"visitor", encode(event(5, "visitor", "alias", alias="ann")), partition, 5, NOW, **more)
    writes = serve([alias], "events", lambda *_: encode_user(visitor), Echo(), policy, lambda: NOW)
    ((key, value, headers),) = writes.outputs["events"][partition_of("ann", PARTITIONS)]
    assert key == b"ann"
    assert headers == list(more.get("headers", []))
    return decode_event(value)


def test_a_merge_is_never_too_large_to_be_read():
    items = tuple(f"{n}" + "ü" * 120 for n in range(1000))
    visitor = User(items=items, types=("view",) * 1000, times=tuple(range(1000)), hidden=items[:200])
    merge = moved_of(visitor)
    assert 100 < len(merge.moved) < 1000
    assert merge.moved[-1].item == items[-1], "the oldest stay behind"


def test_a_merge_of_a_replayed_log_is_replayed_too():
    assert moved_of(User(items=("a",), types=("view",), times=(5,)), headers=[("replay", b"1000000")]).moved


def test_an_alias_of_another_partitioner_is_a_dead_letter():
    wrong = 1 - partition_of("visitor", PARTITIONS)
    alias = Record(b"visitor", encode(event(5, "visitor", "alias", alias="ann")), wrong, 5, NOW)
    policy = ServingPolicy.from_settings(SETTINGS)
    writes = serve([alias], "events", lambda *_: None, Echo(), policy, lambda: NOW)
    assert writes.counts.dead_letters == {"wrong-partition": 1}
    assert not writes.users
