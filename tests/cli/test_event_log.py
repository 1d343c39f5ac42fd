"""Logs on the command line: what is refused, what is said, and that every command reads the same."""

from pathlib import Path

import pytest

from streams import event_messages, messages
from streams.clients.subscribe import follow, format_json, format_line, records
from streams.settings import load
from tests.cli.invoke import run

CASES = Path(__file__).parents[1] / "clients" / "cases"


def case(name: str) -> str:
    return str(CASES / name)


def last_line(result) -> str:
    return result.stderr.splitlines()[-1]


def published(topic_prefix: str, *args: str) -> list[event_messages.Event]:
    """The events that `freshet publish` delivers."""
    consumer = follow(load(), "events")
    result = run("publish", *args)
    assert result.exit_code == 0, result.output
    expected = int(result.stdout.split()[0])
    values: list[bytes] = []
    while len(values) < expected:
        values += [record.value() for record in records(consumer, 1)]
    return [event_messages.decode_event(value) for value in values]


def test_the_options_reach_the_reader(topic_prefix):
    columns = ("--columns", "user,item,value,time", "--delimiter", "::")
    events = published(topic_prefix, case("movielens-double-colon.dat"), *columns)
    assert [(event.item, event.value) for event in events] == [("31", 3.0), ("32", 3.0)]
    options = ("--user", "userId,anonymousId", "--item", "properties.product_id", "--on-error", "skip")
    (event,) = published(topic_prefix, case("segment-track.jsonl"), *options)
    assert (event.user, event.item) == ("ann", "p1")
    options = ("--time-unit", "us", "--event-id", "item_id")
    events = published(topic_prefix, case("ga4-microseconds.csv"), *options)
    assert [(event.event_id, event.time) for event in events] == [
        ("sku-1", 1_769_860_800_000),
        ("sku-2", 1_769_860_801_000),
    ]


@pytest.mark.parametrize("command", ["publish", "evaluate"])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("long-url-ids.csv", "line 2: out-of-range: Expected `str` of length <= 256 - at `$.item`"),
        ("nested-context.jsonl", "line 1: wrong-type: Expected `float | str`, got `object`"),
        ("duplicate-column.csv", "has two columns item"),
        ("json-array.json", "is one JSON array: expected one object a line"),
        ("yoochoose-no-header.dat", "has no header: its first line is"),
        ("null-users.csv", "line 2: has no user"),
    ],
)
def test_publish_and_evaluate_refuse_the_same(topic_prefix, command, file, message):
    result = run(command, case(file))
    assert result.exit_code == 1
    assert message in last_line(result)


def test_publish_refuses_what_the_workers_are_set_to_refuse(topic_prefix, monkeypatch):
    monkeypatch.setenv("FRESHET_ACCEPT_UNKNOWN_TYPES", "false")
    for command in ("publish", "evaluate"):
        result = run(command, "-", stdin="user,item,time,type\nu,i,1,wave\n")
        assert result.exit_code == 1
        assert "line 2: unknown-type: 'wave' is not in event_weights" in last_line(result)


@pytest.mark.parametrize("command", ["publish", "replay", "evaluate"])
def test_skipping_every_row_is_no_success(topic_prefix, command):
    result = run(command, "-", "--on-error", "skip", stdin="user,item,time\n,i,1\n,j,2\n")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "freshet: - has no row that is a valid event" in result.stderr
    assert "freshet: skipped 2 rows that are not valid events" in result.stderr


def test_publishing_a_log_that_is_not_in_order_of_time_is_said(topic_prefix):
    result = run("publish", case("grouped-by-session.csv"))
    assert (result.exit_code, result.stdout) == (0, "300 events delivered, 0 not\n")
    assert "of 300 events are out of the order of their times" in last_line(result)
    ordered = "user,item,time\n" + "".join(f"u,i,{n}\n" for n in range(200))
    for log in (ordered, ordered + "u,i,7\n"):
        result = run("publish", "-", "--replay", stdin=log)
        assert len(result.stderr.splitlines()) == 1


def test_rows_inside_a_quote_count_one_by_one(topic_prefix):
    log = 'user,item,time\nu1,"i1,1\nu2,i2,2\nu3,i3",3\nu4,i4,4\n'
    result = run("publish", "-", "--on-error", "skip", stdin=log)
    assert (result.exit_code, result.stdout) == (0, "1 events delivered, 0 not\n")
    assert last_line(result) == "freshet: skipped 3 rows that are not valid events"


def test_the_unit_of_times_is_said_below_the_columns(topic_prefix):
    result = run("publish", case("ga4-microseconds.csv"))
    assert result.stderr.splitlines() == [
        f"reading {case('ga4-microseconds.csv')}: user=user_pseudo_id item=item_id type=event_name"
        " time=event_timestamp; begins 2026-01-31 12:00:00 UTC",
        "freshet: times are read as us: 1769860800000000 is 2026-01-31 12:00:00 UTC",
    ]


def test_a_field_that_the_first_line_lacks_is_said_before_its_row_is_refused(topic_prefix):
    result = run("publish", "-", "--user", "usr", stdin='{"user":"u","item":"i","time":1}\n')
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "freshet: line 1 has no usr; it has user, item, time",
        "freshet: line 1: has no user; --on-error skip leaves such rows out",
    ]


def test_control_characters_of_a_log_are_not_printed(topic_prefix):
    for log in (
        "user,item,time,\x1b[31mred\nu,i,1,x\n",
        "user,item,time\nu,i,\x1b[2J\n",
        "user,item,time,value\nu,i,1,\x1b[2J\n",
        '{"user":"u","item":"i","time":1,"\x9b31m":2}\n',
    ):
        result = run("publish", "-", stdin=log)
        assert not set(result.stderr + result.stdout) & {"\x1b", "\x9b"}
        assert "\\x" in result.stderr


def test_a_recommendation_is_a_line_without_control_characters():
    recommendation = messages.Recommendation(
        recommendation_id="r", user="u\nv", time=0, event_id="e", event_type="\x9b31m", checkpoint=1,
        items=[messages.Recommended("\x1b[2J\x1b[31mred", 1.0, "often after \u202e")],
        age_ms=4, model_age_ms=None,
    )  # fmt: skip
    line = format_line(recommendation)
    assert line.isprintable()
    assert r"u\x0av  \x9b31m  \x1b[2J\x1b[31mred (often after \u202e)" in line
    pretty = messages.encode(recommendation).replace(b",", b",\r\n  ")
    line = format_json(pretty)
    assert line.isprintable()
    assert messages.decode_recommendation(line) == recommendation
