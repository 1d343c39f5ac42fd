"""The serving step, without a broker: what goes in, what is written, and exactly once."""

import json
import random
from dataclasses import dataclass
from types import SimpleNamespace

import msgspec
import pytest

from models.core import Slate
from streams import messages
from streams.event_messages import Event
from streams.messages import DeadLetter, decode_recommendation, encode
from streams.settings import Settings
from streams.step.policy import ServingPolicy
from streams.step.serve import serve
from streams.step.users import decode_user

NOW = 1_700_000_000_000
POLICY = ServingPolicy.from_settings(Settings())


@dataclass
class Record:
    """A record of `events`."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int = NOW
    headers: tuple = ()
    partition: int = 3


@dataclass
class Echo:
    """Recommends what the session holds, newest first."""

    checkpoint: int = 7
    checkpoint_time: int | None = NOW - 500

    def recommend(self, queries, k):
        sessions = [query.history[-query.session_size :] for query in queries]
        return [Slate(tuple(s[::-1][:k]), (0.5,) * len(s[:k]), ("because",) * len(s[:k])) for s in sessions]

    def popular(self, k):
        return frozenset({"hit"})


def record(offset: int, user: str = "u", item: str | None = "a", type: str = "view", time: int = NOW, **more):
    event = Event(event_id=f"e{offset}", user=user, type=type, item=item, time=time)
    return Record(user.encode(), encode(event), offset, **more)


def step(records, stored=None, policy=POLICY, recommender=None, now=NOW + 10):
    """What is written to partition 3, with the counts and ages of the step."""
    writes = serve(
        records, "events", lambda _, key: (stored or {}).get(key), recommender or Echo(), policy, lambda: now
    )
    assert {partition for topic in writes.outputs.values() for partition in topic} | writes.users.keys() <= {
        3
    }
    recommendations, examples, dead_letters = (
        writes.outputs.get(topic, {}).get(3, []) for topic in ("recommendations", "examples", "dead-letter")
    )
    return SimpleNamespace(
        users=writes.users.get(3, {}),
        recommendations=[(key, value) for key, value, _ in recommendations],
        examples=[(key, value) for key, value, _ in examples],
        dead_letters=dead_letters,
        counts=writes.counts,
        ages_ms=writes.ages_ms,
    )


def test_an_event_is_answered_from_the_session_that_it_ends():
    writes = step([record(5, item="a"), record(6, item="b")])
    first, second = (decode_recommendation(value) for _, value in writes.recommendations)
    assert [i.item for i in first.items] == ["a"]
    assert [i.item for i in second.items] == ["b", "a"]
    assert (second.recommendation_id, second.event_id, second.user) == ("3-6", "e6", "u")
    assert (second.checkpoint, second.age_ms, second.model_age_ms) == (7, 10, 510)
    assert writes.counts.accepted == writes.counts.recommendations == 2
    assert writes.ages_ms == [10, 10]
    examples = [messages.decode_example(value) for _, value in writes.examples]
    taught = [(e.item, e.history, e.session_size, e.session, e.offset) for e in examples]
    assert taught == [("a", (), 0, 1, 5), ("b", ("a",), 1, 1, 6)]


def in_steps(*records: Record, age: int = 10):
    """What each record writes where each is served alone, `age` ms after it came."""
    stored: dict[bytes, bytes] = {}
    for one in records:
        writes = step([one], stored, now=one.timestamp + age)
        stored |= writes.users
        yield writes


def shown(writes) -> list[tuple[str, int] | None]:
    """Id and position of what was shown, of each example."""
    examples = [messages.decode_example(value) for _, value in writes.examples]
    return [e.shown and (e.shown.recommendation_id, e.shown.position) for e in examples]


def test_what_was_shown_is_joined_with_what_came():
    items = ["a", "hit", "a", "new"]
    steps = list(
        in_steps(*(record(n, item=item, timestamp=NOW + 100 * n) for n, item in enumerate(items, 1)))
    )
    assert [shown(writes) for writes in steps] == [[None], [None], [("3-2", 1)], [None]]
    assert [writes.counts.predictions for writes in steps] == [0, 1, 1, 1]  # the first came before any list
    assert [writes.counts.recommended_hits for writes in steps] == [0, 0, 1, 0]
    assert [writes.counts.popular_hits for writes in steps] == [0, 1, 0, 0]


def test_a_list_that_was_made_after_an_event_was_not_shown_before_it():
    """After an outage, all that came meanwhile is one micro-batch."""
    hour = 3_600_000
    records = [record(n, item="a", timestamp=NOW + n * hour) for n in range(5)]
    writes = step(records, now=NOW + 10 * hour)
    assert shown(writes) == [None] * 5
    assert (writes.counts.predictions, writes.counts.recommended_hits, writes.counts.popular_hits) == (
        0,
        0,
        0,
    )
    for timestamp, seen in ((10 * hour, None), (10 * hour + 1, ("3-4", 0))):
        later = step(
            [record(5, item="a", timestamp=NOW + timestamp)], dict(writes.users), now=NOW + 11 * hour
        )
        assert shown(later) == [seen]


def test_events_of_the_same_millisecond_were_not_caused_by_each_others_lists():
    assert shown(step([record(1), record(2), record(3)], now=NOW)) == [None] * 3


@pytest.mark.parametrize(
    ("came_from", "seen"), [("3-1", ("3-1", 0)), ("3-0", None), ("other", None), (None, None)]
)
def test_the_recommendation_that_an_event_names_decides(came_from, seen):
    """Whenever it came: here at the time at which the list was made."""
    listed = step([record(1)])
    event = Event(event_id="e2", user="u", type="click", item="a", time=NOW, recommendation_id=came_from)
    writes = step([Record(b"u", encode(event), 2, NOW + 10)], dict(listed.users))
    assert shown(writes) == [seen]
    assert writes.counts.predictions == writes.counts.recommended_hits == (seen is not None)


def test_an_event_that_names_an_older_list_is_no_hit_of_the_latest():
    listed = step([record(1)])
    event = Event(event_id="e2", user="u", type="click", item="a", time=NOW, recommendation_id="3-0")
    writes = step([Record(b"u", encode(event), 2, NOW + 3_600_000)], dict(listed.users), now=NOW + 4_000_000)
    assert shown(writes) == [None]
    assert writes.counts.predictions == 0


def test_in_a_log_that_is_replayed_lists_are_shown_by_its_own_times():
    """All in one micro-batch, 50 ms after it was published: what came a minute later could see the list."""
    begin = NOW - 10**9
    records = [
        record(n, item="a", time=time, headers=(("replay", str(time).encode()),))
        for n, time in enumerate([begin, begin + 20, begin + 60_000])
    ]
    assert shown(step(records, now=NOW + 50)) == [None, None, ("3-1", 0)]


def test_a_user_record_from_before_slates_had_times_is_read():
    users = step([record(1)]).users
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(users[b"u"])[:-6])
    assert (decode_user(old).slate_time, decode_user(old).asked) == (0, None)
    assert shown(step([record(2)], {b"u": old})) == [("3-1", 0)]


def test_a_step_applied_twice_changes_nothing_the_second_time():
    records = [record(n, user=f"u{n % 3}", item=str(n)) for n in range(30)]
    once = step(records)
    again = step(records, once.users)
    assert again.counts.replayed == 30
    assert again.users == {}
    assert not again.recommendations
    assert not again.examples


@pytest.mark.parametrize("seed", range(20))
def test_interrupted_equals_uninterrupted(seed):
    """Chunks of any size, killed at any point, replayed from any committed offset: the same state."""
    rng = random.Random(seed)
    records = [
        record(n, user=f"u{rng.randrange(5)}", item=str(rng.randrange(9)), time=NOW + rng.randrange(10**7))
        for n in range(120)
    ]
    whole = step(records)
    stored: dict[bytes, bytes] = {}
    committed = at = 0
    examples: dict[int, bytes] = {}
    while at < len(records):
        size = rng.randrange(1, 20)
        writes = step(records[at : at + size], stored)
        for _, value in writes.examples[: rng.randrange(len(writes.examples) + 1)]:
            examples[messages.decode_example(value).offset] = value  # outputs come first, perhaps in part
        if rng.random() < 0.4:  # killed before the state was written: some outputs are out
            at = committed
            continue
        for _, value in writes.examples:
            examples[messages.decode_example(value).offset] = value
        changed = list(writes.users.items())
        if rng.random() < 0.3:  # killed between two record batches of the changelog
            stored.update(changed[: rng.randrange(len(changed) + 1)])
            at = committed
            continue
        stored.update(changed)
        at += size
        if rng.random() < 0.5:
            committed = min(at, len(records))
    assert stored == whole.users
    assert [examples[n] for n in sorted(examples)] == [value for _, value in whole.examples]


def test_duplicates_and_late_events_get_no_answer():
    hour = 3_600_000
    writes = step(
        [
            record(1, time=NOW),
            Record(b"u", record(1).value, 2),
            record(3, time=NOW - 2 * hour, item="old", timestamp=NOW - hour),
        ]
    )
    assert (writes.counts.accepted, writes.counts.duplicates, writes.counts.late) == (1, 1, 1)
    assert len(writes.recommendations) == len(writes.examples) == 1
    assert decode_user(writes.users[b"u"]).items == ("old", "a")


def test_impressions_and_requests_teach_nothing():
    writes = step([record(1, type="impression"), record(2, item=None, type="request")])
    assert not writes.examples
    assert writes.counts.accepted == 2
    assert [decode_recommendation(v).event_type for _, v in writes.recommendations] == ["request"]
    assert decode_user(writes.users[b"u"]).items == ()


def test_what_comes_back_is_history_and_teaches_nothing():
    writes = step([record(0), record(1, type="purchase"), record(2, type="return"), record(3, item="b")])
    user = decode_user(writes.users[b"u"])
    assert user.types == ("view", "purchase", "return", "view")
    assert [msgspec.json.decode(value)["type"] for _, value in writes.examples] == [
        "view",
        "purchase",
        "view",
    ]
    assert len(writes.recommendations) == 4
    ignored = ServingPolicy.from_settings(Settings(event_weights={"return": 0.0}))
    writes = step([record(0), record(1, type="return")], policy=ignored)
    assert decode_user(writes.users[b"u"]).types == ("view",)


def test_poison_of_every_kind_becomes_a_dead_letter_and_the_rest_is_served():
    from tests.test_messages import BAD

    records = []
    for n, (value, _) in enumerate(BAD):
        records += [Record(b"u", value, 2 * n), record(2 * n + 1, item=str(n))]
    records.append(Record(b"someone else", record(999).value, 999))
    records.append(Record(None, record(1000).value, 1000))
    writes = step(records)
    letters = [DeadLetter.from_headers(headers) for _, _, headers in writes.dead_letters]
    assert [letter.reason for letter in letters] == [*(reason for _, reason in BAD), "wrong-key", "wrong-key"]
    assert [letter.offset for letter in letters] == [*range(0, 2 * len(BAD), 2), 999, 1000]
    assert all(letter.topic == "events" and letter.partition == 3 for letter in letters)
    assert [value for _, value, _ in writes.dead_letters][: len(BAD)] == [value for value, _ in BAD]
    assert writes.counts.accepted == len(writes.recommendations) == len(BAD)
    assert sum(writes.counts.dead_letters.values()) == len(letters)


BEHIND = ServingPolicy.from_settings(Settings(answer_all_within_s=30))
LATER = NOW + 60_000
"""A minute after the records arrived."""


def answered(writes):
    return [decode_recommendation(value).event_id for _, value in writes.recommendations]


def test_behind_only_the_latest_event_of_each_user_is_answered_and_every_event_is_applied():
    records = [record(n, user=f"u{n % 2}", item=f"i{n}") for n in range(5)]
    in_time, behind = step(records, policy=BEHIND, now=NOW + 30_000), step(records, policy=BEHIND, now=LATER)
    assert (answered(in_time), in_time.counts.skipped) == (["e0", "e1", "e2", "e3", "e4"], 0)
    assert (answered(behind), behind.counts.skipped) == (["e3", "e4"], 3)
    assert (behind.counts.accepted, behind.counts.recommendations) == (5, 2)
    assert len(behind.ages_ms) == 2
    users = [
        {
            key: msgspec.structs.replace(decode_user(value), slate_time=0)
            for key, value in writes.users.items()
        }
        for writes in (in_time, behind)
    ]
    assert users[0] == users[1], "history and the latest list are the same"
    taught = [[messages.decode_example(v) for _, v in writes.examples] for writes in (in_time, behind)]
    assert [(e.item, e.history, e.offset) for e in taught[0]] == [
        (e.item, e.history, e.offset) for e in taught[1]
    ]
    lists = [[decode_recommendation(v).items for _, v in w.recommendations] for w in (in_time, behind)]
    assert lists[1] == lists[0][-2:]
    everything = ServingPolicy.from_settings(Settings(answer_all_within_s=0))
    assert len(step(records, policy=everything, now=LATER).recommendations) == 5


@pytest.mark.parametrize("all_within_s", [0, 30])
def test_an_event_that_waited_for_too_long_is_applied_and_not_answered(all_within_s):
    settings = Settings(answer_all_within_s=all_within_s, answer_none_after_s=50)
    policy = ServingPolicy.from_settings(settings)
    waited_s = [55, 45, 55, 45, 10, 55]
    records = [
        record(n, user=f"u{n // 2}", item=f"i{n}", timestamp=LATER - 1000 * s) for n, s in enumerate(waited_s)
    ]
    writes = step(records, policy=policy, now=LATER)
    assert answered(writes) == ["e1", "e3", "e4"], "e5 is its user's latest, and too old"
    assert (writes.counts.accepted, writes.counts.skipped) == (6, 3)
    assert len(writes.examples) == 6
    assert decode_user(writes.users[b"u2"]).slate_id == "3-4"


def test_an_event_that_came_in_time_is_answered_beside_those_that_waited():
    old, new = NOW, LATER - 1_000
    arrivals = [("a", old), ("b", new), ("b", old), ("a", new), ("a", new), ("c", old)]
    records = [record(n, user=user, timestamp=at) for n, (user, at) in enumerate(arrivals)]
    writes = step(records, policy=BEHIND, now=LATER)
    assert answered(writes) == ["e1", "e2", "e3", "e4", "e5"], "e0 waited, and e4 is its user's latest"
    assert writes.counts.skipped == 1


def test_what_came_after_a_skipped_event_is_compared_with_the_list_that_was_shown():
    stored = dict(step([record(1, item="a")]).users)  # shows ["a"]
    came = [record(n, item=item, timestamp=NOW + 20) for n, item in ((2, "b"), (3, "b"), (4, "a"))]
    writes = step(came, stored, BEHIND, now=LATER)
    examples = [messages.decode_example(value) for _, value in writes.examples]
    assert [e.shown and e.shown.recommendation_id for e in examples] == [None, None, "3-1"]
    assert (writes.counts.predictions, writes.counts.recommended_hits) == (3, 1)
    assert decode_user(writes.users[b"u"]).slate_id == "3-4"


def test_an_event_that_is_not_answered_anyway_replaces_no_answer():
    records = [record(1), record(2, item="b"), record(3, type="impression")]
    writes = step(
        [*records, Record(b"u", b"{", 4), Record(b"u", records[0].value, 5)], policy=BEHIND, now=LATER
    )
    assert answered(writes) == ["e2"]
    assert writes.counts.skipped == 1


def test_a_replayed_log_is_answered_in_full():
    header = (("replay", str(NOW - 10**9).encode()),)
    records = [record(n, time=NOW - 10**9 + n, headers=header) for n in range(3)]
    writes = step(records, policy=BEHIND, now=LATER)
    assert answered(writes) == ["e0", "e1", "e2"]
    assert writes.counts.skipped == 0


def test_unknown_types_can_be_refused():
    strict = ServingPolicy.from_settings(Settings(accept_unknown_types=False))
    writes = step([record(1, type="dance")], policy=strict)
    assert DeadLetter.from_headers(writes.dead_letters[0][2]).reason == "unknown-type"
    assert step([record(1, type="dance")]).counts.accepted == 1


def test_an_event_a_month_ahead_changes_nothing_but_itself():
    month = 30 * 24 * 3_600_000
    times = [NOW + n * 60_000 for n in range(6)]
    plain = step([record(n, item=str(n), time=t, timestamp=t) for n, t in enumerate(times)])
    lying = step(
        [record(n, item=str(n), time=t + month * (n == 2), timestamp=t) for n, t in enumerate(times)]
    )
    assert lying.users == plain.users
    assert lying.examples == plain.examples


def test_a_replayed_log_keeps_its_own_clock():
    years_ago = NOW - 10 * 365 * 24 * 3_600_000
    writes = step([record(1, time=years_ago, headers=(("replay", str(years_ago).encode()),))])
    assert messages.decode_example(writes.examples[0][1]).time == years_ago
    tomorrow = str(NOW + 10**12).encode()
    lied = step([record(1, headers=(("replay", tomorrow),))])
    assert messages.decode_example(lied.examples[0][1]).time == NOW, "no log arrived after it was replayed"
    live = step([record(1, time=years_ago)])
    assert messages.decode_example(live.examples[0][1]).time == NOW - POLICY.sessions.grace_ms


def test_recommendations_are_json_that_others_can_read():
    key, value = step([record(1)]).recommendations[0]
    assert key == b"u"
    assert set(json.loads(value)) >= {"recommendation_id", "items", "age_ms", "checkpoint"}
