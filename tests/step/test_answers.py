"""Placements: which lists an event is answered with, under which key, and what each starts from."""

import json

import pytest
from msgspec.structs import replace as with_fields

from models.core import HISTORY
from streams.event_messages import Event, decode_event
from streams.messages import Malformed, decode_recommendation, encode
from streams.settings import BadSetting, Settings, load
from streams.step.policy import ServingPolicy
from streams.step.serve import serve
from streams.step.users import User, decode_user
from tests.step.test_serve import NOW, POLICY, Echo, Record

PLACEMENTS = {
    "product": {"start": "item", "answers": ["view"], "list_length": 3},
    "basket": {"start": "cart", "answers": ["cart", "purchase"], "where": {"category": "Extras"}},
    "mail": {},
}
PLACED = ServingPolicy.from_settings(Settings(placements=PLACEMENTS))


class Asked(Echo):
    """Keeps what it was asked for."""

    def recommend(self, queries, k):
        self.queries = queries
        return super().recommend(queries, k)


def record(offset, type="view", item=None, time=NOW, **fields):
    event = Event(event_id=f"e{offset}", user="u", type=type, item=item, time=time + offset, **fields)
    return Record(b"u", encode(event), offset)


def serve_all(*records, policy=PLACED, now=NOW):
    asked = Asked()
    writes = serve(records, "events", lambda *_: None, asked, policy, lambda: now)
    answers = [
        (key, decode_recommendation(value)) for key, value, _ in writes.outputs["recommendations"].get(3, [])
    ]
    return writes, answers, asked.queries


def test_an_event_is_answered_with_the_lists_of_its_type_each_under_its_key():
    writes, answers, queries = serve_all(
        record(0, "view", "a"), record(1, "cart", "b"), record(2, "impression", "c"), record(3, "request")
    )
    assert [(key, answer.placement) for key, answer in answers] == [
        (b"u", ""), (b"u\xffproduct", "product"), (b"u", ""), (b"u\xffbasket", "basket"), (b"u", ""),
    ]  # fmt: skip
    assert [answer.recommendation_id for _, answer in answers] == [
        "3-0", "3-0-product", "3-1", "3-1-basket", "3-3"
    ]  # fmt: skip
    assert {answer.user for _, answer in answers} == {"u"}
    assert writes.counts.recommendations == 5
    assert decode_user(writes.users[3][b"u"]).slate_id == "3-3", "that of the default placement"
    assert [query.k for query in queries] == [None, 3, None, None, None]
    assert json.loads(queries[3].where) == {"category": "Extras"}


def test_a_request_names_a_placement_items_and_conditions():
    where = {"price": {"to": 50}, "brand": ["Fjell"]}
    _, answers, (query,) = serve_all(
        record(0, "request", placement="mail", items=("x", "y"), k=7, exclude=("z",), where=where)
    )
    assert [key for key, _ in answers] == [b"u\xffmail"]
    assert (query.history, query.session_size, query.k) == (("x", "y"), 2, 7)
    assert query.excluded == ("z", "x", "y"), "what it starts from is not listed"
    assert json.loads(query.where) == where
    _, _, (query,) = serve_all(record(0, "request", placement="basket", where={"brand": "F"}))
    assert json.loads(query.where) == {"brand": "F", "category": "Extras"}, "both are met"


def test_a_request_filters_by_kept_attributes_beside_those_of_its_placement():
    where = {"attributes": {"colour": "red", "season": "winter"}}
    settings = Settings(catalog_filters=["colour", "season", "tags"], placements={"shop": {"where": where}})
    own = {"tags": ["new"], "attributes": {"colour": ["blue", 5], "season": {"from": 2}}}
    policy = ServingPolicy.from_settings(settings)
    _, _, (query,) = serve_all(record(0, "request", placement="shop", where=own), policy=policy)
    assert json.loads(query.where) == own
    only_tags = {"tags": "new"}
    _, _, (query,) = serve_all(record(0, "request", placement="shop", where=only_tags), policy=policy)
    assert json.loads(query.where) == only_tags | where
    writes, _, _ = serve_all(record(0, "request", where={"attributes": {"weight": 3}}), policy=policy)
    ((_, _, headers),) = writes.outputs["dead-letter"][3]
    assert dict(headers)["reason"] == b"unknown-filter"
    assert b"where: weight not in the setting catalog_filters" in dict(headers)["detail"]


def test_what_a_list_starts_from():
    events = [
        record(0, "view", "a"),
        record(1, "cart", "b"),
        record(2, "cart", "c"),
        record(3, "purchase", "b"),
    ]
    starts = {name: serve_all(*events, record(4, "request", placement=name))[2][-1] for name in PLACEMENTS}
    assert starts["mail"].history == ("a", "b", "c", "b")
    assert (starts["product"].history[-1], starts["product"].session_size) == ("b", 1)
    assert (starts["basket"].history, starts["basket"].session_size) == (("a", "b", "b", "c"), 1)
    assert starts["basket"].types == ("view", "cart", "purchase", ""), "what was bought is still known"
    assert starts["basket"].excluded == ("c",)


def test_a_long_history_makes_room_for_what_a_list_starts_from():
    events = [record(n, "view", f"i{n}") for n in range(40)]
    items = tuple(f"s{n}" for n in range(5))
    query = serve_all(*events, record(40, "request", items=items))[2][-1]
    assert len(query.history) == len(query.types) == len(query.times) == HISTORY
    assert query.history[-5:] == items


def test_a_placement_that_there_is_not_is_a_dead_letter_with_the_names():
    writes, answers, _ = serve_all(record(0, "request", placement="home"), record(1, "view", "a"))
    assert writes.counts.dead_letters == {"unknown-placement": 1}
    assert len(answers) == 2
    (letter,) = writes.outputs["dead-letter"][3]
    assert b"'home' is not in the setting placements: product, basket, mail" in dict(letter[2])["detail"]


def test_a_request_for_another_placement_is_not_the_moment_the_default_list_was_asked_for():
    writes, _, _ = serve_all(record(0, "view", "a"), record(1, "request", placement="mail"))
    assert decode_user(writes.users[3][b"u"]).asked == NOW


def test_a_worker_that_is_behind_makes_each_users_latest_list_of_every_placement():
    late = [
        record(0, "view", "a"),
        record(1, "request", placement="mail"),
        record(2, "view", "b"),
        record(3, "cart", "c"),
    ]
    _, answers, _ = serve_all(*late, now=NOW + 10**6)
    assert [(answer.offset, answer.placement) for _, answer in answers] == [
        (1, "mail"), (2, "product"), (3, ""), (3, "basket")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"where": {"colour": "red"}}, "wrong-type: Object contains unknown field `colour`"),
        ({"where": {"price": {"below": 5}}}, "wrong-type: Object contains unknown field `below`"),
        ({"where": {"price": "cheap"}}, "wrong-type: "),
        ({"k": 0}, "out-of-range: Expected `int` >= 1"),
        ({"k": 201}, "out-of-range: Expected `int` <= 200"),
        ({"items": ["a"] * 33}, "out-of-range: "),
        ({"items": ["ü" * 200]}, "out-of-range: an id of more than 256 bytes"),
        ({"exclude": "a"}, "wrong-type: "),
    ],
)
def test_a_wrong_request_says_what_is_wrong(fields, reason):
    value = {"event_id": "1", "user": "u", "type": "request", "time": NOW} | fields
    with pytest.raises(Malformed) as error:
        decode_event(json.dumps(value).encode())
    assert str(error.value).startswith(reason)


def test_fields_of_a_request_that_say_nothing_are_absent():
    value = {"event_id": "1", "user": "u", "type": "request", "time": NOW}
    nothing = {"placement": None, "items": None, "k": "", "where": False, "exclude": None}
    assert decode_event(json.dumps(value | nothing).encode()) == decode_event(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("placements", "reason"),
    [
        ({"Home": {}}, "placements: 'Home' is not a name of up to 64"),
        ({"home": {"begin": "cart"}}, "placements: home: Object contains unknown field `begin`"),
        ({"home": {"start": "basket"}}, "placements: home: Invalid enum value 'basket'"),
        ({"home": {"list_length": 0}}, "placements: home: Expected `int` >= 1"),
        ({"home": {"where": {"colour": "red"}}}, "placements: home: where: unknown field colour"),
        ({"home": {"rules": [{"rule": "none"}]}}, "placements: home: unknown rule 'none'"),
        ({"home": {"generators": {"next": 0}}}, "placements: home: generators: at least one"),
        ({"home": {"generators": {"magic": 1}}}, "placements: unknown magic; known: "),
    ],
)
def test_a_wrong_placement_is_refused_at_start(placements, reason):
    with pytest.raises(BadSetting) as error:
        load({"FRESHET_PLACEMENTS": json.dumps(placements)})
    assert str(error.value).startswith(reason)


def test_without_placements_nothing_is_different():
    _, answers, (query,) = serve_all(record(0, "view", "a"), policy=POLICY)
    assert [(key, answer.placement) for key, answer in answers] == [(b"u", "")]
    assert query == with_nothing(query)
    assert with_fields(User(), offset=3) != User()


def with_nothing(query):
    return query._replace(placement="", k=None, excluded=(), where="")
