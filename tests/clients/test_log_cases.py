"""Logs as they are in the wild, one file of `cases` for each kind, with what is read from it or why not."""

import gzip
import io
from pathlib import Path

import pytest

from streams.clients.log_errors import BadLog, BadRow
from streams.clients.logs import Log, open_log
from streams.event_messages import Event, decode_event
from streams.messages import Malformed, encode

CASES = Path(__file__).parent / "cases"
NOON = 1_769_860_800_000


class Reading:
    """What was read from a log, skipping bad rows."""

    def __init__(self, source, **options) -> None:
        self.bad: list[BadRow] = []
        self.remarks: list[str] = []
        log: Log = open_log(source, run="r", on_bad=self.bad.append, remark=self.remarks.append, **options)
        self.columns, self.unused, self.events = log.columns, log.unused, list(log)

    def of(self, *fields: str) -> list:
        return [tuple(getattr(event, field) for field in fields) for event in self.events]

    def bad_rows(self) -> list[str]:
        return [str(bad) for bad in self.bad]


def case(name: str, **options) -> Reading:
    return Reading(str(CASES / name), **options)


def text(text: str, **options) -> Reading:
    return Reading(io.BytesIO(text.encode()), **options)


# cells


def test_blanks_around_cells_are_not_part_of_them():
    assert case("comma-space.csv").of("user", "item") == [("ann", "tent"), ("ann", "lamp")]
    assert case("trailing-space-time.csv").of("time") == [(NOON,)]
    assert text("user,item,time\nann ,tent ,5 \n").of("user", "item", "time") == [("ann", "tent", 5)]


def test_a_column_twice_is_refused_by_name():
    with pytest.raises(BadLog, match=r"^has two columns item: rename one"):
        case("duplicate-column.csv")
    with pytest.raises(BadLog, match=r"^has two columns for the user, User and user: name one with --user"):
        text("User,user,item,time\na,b,i,1\n")
    assert text("User,user,item,time\na,b,i,1\n", columns={"user": "User"}).of("user") == [("a",)]
    assert text("user,item,time,,\na,i,1,,\n").of("user") == [("a",)], "columns without a name do not matter"


def test_a_tab_separated_log_has_quotes_as_they_are():
    log = case("tsv-stray-quote.tsv", columns={"item": "artist"})
    items = ['"Weird Al" Band', '"heroes', "calm", "quiet", 'loud"', "end"]
    assert log.of("user", "item") == [(f"u{n}", item) for n, item in enumerate(items, 1)]
    assert log.bad == []
    quoted = text('"user"\t"item"\t"time"\n"u"\t"a ""b"""\t"1"\n')
    assert quoted.of("user", "item") == [("u", 'a "b"')], "where the header is quoted, the cells are, too"


SWALLOWED = (
    "user,item,time,title\nu1,i1,1,a\nu2,{item},2,{title}\nu3,i3,3,c\nu4,{last},4,{title_4}\nu5,i5,5,e\n"
)


@pytest.mark.parametrize(
    "cells",
    [
        {"item": '"i2', "title": "b", "last": 'i4"', "title_4": "d"},
        {"item": "i2", "title": '"b', "last": "i4", "title_4": 'd"'},
        {"item": '"i2', "title": "b", "last": 'i4" x', "title_4": "d"},
    ],
)
def test_rows_inside_a_quote_that_is_not_closed_are_named_and_counted(cells):
    log = text(SWALLOWED.format(**cells))
    assert log.of("user") == [("u1",), ("u5",)]
    assert log.bad_rows() == [
        "line 3: a quote is not closed: lines 3 to 5 would be one row; write a quote in a cell twice"
    ]
    assert log.bad[0].lines == 3


@pytest.mark.parametrize("rows", [0, 3, 50_000])
def test_a_quote_that_is_never_closed_names_all_lines_that_are_not_read(rows):
    log = text('user,item,time\nu1,i1,1\nu2,"i2,2\n' + "u3,i3,3\n" * rows)
    assert log.of("user")[0] == ("u1",)
    assert [bad.line for bad in log.bad] == [3]
    assert len(log.events) + log.bad[0].lines == rows + 2


def test_a_quoted_text_of_several_lines_is_a_cell():
    log = text('user,item,time,title\nu1,i1,1,"a,\n\nb\nc"\nu2,i2,2,d\n', context=["title"])
    assert log.of("user") == [("u1",), ("u2",)]
    assert log.events[0].context == {"title": "a,\n\nb\nc"}


# without a header


def test_the_columns_of_a_log_without_a_header_are_named():
    log = case("movielens-double-colon.dat", names=["user", "item", "value", "time"])
    assert log.of("event_id", "user", "item", "value", "time") == [
        ("r-1", "7", "31", 3.0, 881_250_949_000),
        ("r-2", "7", "32", 3.0, 881_250_950_000),
    ]
    log = case("yoochoose-no-header.dat", names=["session", "time", "item", "-"])
    assert log.of("user", "item", "time") == [
        ("1", "1001", NOON + 123),
        ("1", "1002", NOON + 30_000),
        ("2", "1003", NOON + 60_000),
    ]


@pytest.mark.parametrize("file", ["movielens-double-colon.dat", "yoochoose-no-header.dat"])
def test_a_log_without_a_header_is_refused_with_what_to_do(file):
    with pytest.raises(BadLog, match=r"^has no header: its first line is .*--columns user,item,-,time"):
        case(file)


def test_a_row_is_not_taken_for_a_header_because_its_cells_are_chosen():
    columns = {"user": "7", "item": "31", "time": "881250949"}
    with pytest.raises(BadLog, match=r"^has no header"):
        case("movielens-double-colon.dat", columns=columns)


def test_the_number_of_named_columns_is_that_of_the_first_line():
    with pytest.raises(BadLog, match=r"^has 4 cells in its first line, and --columns names 3"):
        case("movielens-double-colon.dat", names=["user", "item", "time"])
    with pytest.raises(BadLog, match=r"^has two columns user"):
        case("movielens-double-colon.dat", names=["user", "user", "item", "time"])


def test_a_header_is_no_row_where_the_columns_are_named():
    log = text("user,item,time\nu,i,1\n", names=["user", "item", "time"])
    assert log.bad_rows()[0].startswith("line 1: invalid time 'time'")
    assert log.of("user") == [("u",)]


@pytest.mark.parametrize("delimiter", ["|", "::", "\t", " ", "~~~"])
def test_any_delimiter(delimiter):
    log = text(
        "user,item,time\nu,a b,1\nx,y\n".replace(",", delimiter).replace("a b", "ab"), delimiter=delimiter
    )
    assert log.of("user", "item", "time") == [("u", "ab", 1)]
    assert log.bad_rows() == ["line 3: has 2 cells, expected 3"]
    if delimiter in "|::\t":
        assert text("user,item,time\nu,i,1\n".replace(",", delimiter)).of("user") == [("u",)], "found"


def test_an_unknown_delimiter_is_named():
    with pytest.raises(BadLog, match="it has user~item~time; name its delimiter with --delimiter"):
        text("user~item~time\nu~i~1\n")


# times


@pytest.mark.parametrize(
    ("number", "unit"),
    [("1769860800", "s"), ("1769860800000", "ms"), ("1769860800000000", "us"), ("1769860800000000000", "ns")],
)
def test_the_unit_of_times_is_found_and_said(number, unit):
    log = text(f"user,item,time\nu,i,{number}\n")
    assert log.of("time") == [(NOON,)]
    assert log.remarks == [f"times are read as {unit}: {number} is 2026-01-31 12:00:00 UTC"]
    named = text(f"user,item,time\nu,i,{number}\n", time_unit=unit)
    assert (named.of("time"), named.remarks) == ([(NOON,)], [])


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([4_275, 99_999_000, 100_002_024, 10**11 + 5], [4_275, 99_999_000, 100_002_024, 10**11 + 5]),
        ([0, 1_769_860_800], [0, 1_769_860_800_000]),
        ([3, 17, 1_769_860_800], [3, 17, 1_769_860_800_000]),
    ],
    ids=["from its own beginning", "a row without a time", "positions"],
)
def test_a_log_that_counts_from_its_own_beginning_keeps_its_unit(times, expected):
    log = text("user,item,time\n" + "".join(f"u,i{n},{time}\n" for n, time in enumerate(times)))
    assert [time for (time,) in log.of("time")] == expected


def test_times_of_an_export_in_microseconds():
    log = case("ga4-microseconds.csv")
    assert log.of("user", "item", "type", "time") == [
        ("11.22", "sku-1", "view_item", NOON),
        ("11.22", "sku-2", "add_to_cart", NOON + 1000),
    ]
    assert "times are read as us" in log.remarks[0]


def test_a_unit_that_the_times_do_not_seem_to_have_is_said():
    log = text("user,item,time\nu,i,1769860800\n", time_unit="ms")
    assert log.of("time") == [(1_769_860_800,)]
    assert log.remarks == ["times look like s, not ms: 1769860800; is --time-unit right?"]


def test_a_time_in_another_unit_than_those_before_it_is_refused():
    log = text("user,item,time\nu,i,0\nu,i,1769860800\nu,i,1769860800000\nu,i,1769860801\n")
    assert log.of("time") == [(0,), (NOON,), (NOON + 1000,)], "a missing time tells no unit"
    assert log.bad_rows() == ["line 4: time 1769860800000 is in ms, and those before it are in s"]


def test_positions_are_no_times_of_some_unit():
    log = text("user,item,time\nu,i,1\nu,i,2\n")
    assert (log.of("time"), log.remarks) == ([(1,), (2,)], [])


@pytest.mark.parametrize("suffix", [" UTC", " GMT", "Z", " +0000", " +00:00", "+00:00", " ", ""])
def test_zones_as_they_are_written(suffix):
    assert text(f"user,item,time\nu,i,2026-01-31 12:00:00{suffix}\n").of("time") == [(NOON,)]
    assert text(f"user,item,time\nu,i,2026-01-31 12:00:00.250{suffix}\n").of("time") == [(NOON + 250,)]


def test_times_that_end_in_utc():
    log = case("rees46-utc-suffix.csv")
    assert log.of("user", "item", "type", "time") == [
        ("501", "1001", "view", NOON),
        ("501", "1001", "cart", NOON + 5000),
    ]


# ids


def test_words_for_no_value_are_not_users():
    log = case("null-users.csv")
    assert log.of("user") == [("ann",)]
    assert log.bad_rows() == [f"line {n}: has no user" for n in range(2, 7)]


def test_words_for_no_value_are_absent_in_every_field():
    log = text("user,item,type,time,session,value,device\nu,i,NULL,1,\\N,nan,undefined\n", context=["device"])
    (event,) = log.events
    assert (event.type, event.session, event.value, event.context) == ("view", None, None, {})
    log = text('{"user":"undefined","item":"i","time":1}\n')
    assert log.bad_rows() == ["line 1: has no user"]


def test_an_id_that_is_a_float_is_the_whole_number():
    log = case("float-ids.csv")
    assert log.of("user") == [("123",), ("123",)]
    assert "ids such as 123.0 are read as 123" in log.remarks
    assert text('{"user":123.0,"item":"1.0.0","time":1}\n').of("user", "item") == [("123", "1.0.0")]


def test_a_session_alone_is_the_user():
    assert case("session-only.csv").of("user", "session") == [("s1", "s1"), ("s1", "s1")]


def test_the_first_column_that_has_a_value_is_the_user():
    log = text(
        "member,visitor,item,time\n,v1,i,1\nm1,v1,i,2\nNULL,NULL,i,3\n", columns={"user": "member,visitor"}
    )
    assert log.of("user") == [("v1",), ("m1",)]
    assert log.bad_rows() == ["line 4: has no user"]


# JSON


def test_a_json_array_is_refused():
    for array in ("[{", "[\n{", " [ \n {"):
        with pytest.raises(BadLog, match=r"^is one JSON array: expected one object a line"):
            text(array + '"user":"ann","item":"tent","time":1}]\n')
    with pytest.raises(BadLog, match=r"^is one JSON array"):
        case("json-array.json")


def test_fields_inside_objects_and_a_user_that_stands_in():
    columns = {"user": "userId,anonymousId", "item": "properties.product_id"}
    log = case("segment-track.jsonl", columns=columns)
    assert log.of("user", "item", "type", "time") == [("ann", "p1", "Product Viewed", NOON)]
    assert log.bad_rows() == ["line 2: has no item"], "an order of several products has no product_id"
    assert log.unused == ["messageId", "context"], "an object named context is not the event's"
    log = case("segment-track.jsonl", columns=columns | {"item": "messageId"}, context=["context.ip"])
    assert log.of("user") == [("ann",), ("a-7",)]
    assert log.events[0].context == {"context.ip": "192.0.2.1"}


def test_a_field_that_no_line_has_is_said():
    log = text('{"user":"u","item":"i","time":1}\n', columns={"value": "properties.price"})
    assert "no line has properties.price" in log.remarks


def test_columns_of_a_table_make_no_sense_for_json():
    with pytest.raises(BadLog, match=r"^has JSON lines: --columns and --delimiter are for tables"):
        text('{"user":"u","item":"i","time":1}\n', names=["user", "item", "time"])


# what a worker refuses


@pytest.mark.parametrize("file", ["long-url-ids.csv", "nested-context.jsonl"])
def test_a_row_that_a_worker_would_refuse_is_named_with_its_reason(file):
    first, line = case(file).bad[0], 2 if file.endswith("csv") else 1
    assert first.line == line
    context = {"ip": "192.0.2.1", "library": {"name": "lib"}} if line == 1 else {}
    item = "https://news.example/a?" + "q" * 300 if line == 2 else "p1"
    event = Event(event_id="e", user="u", type="view", item=item, time=1, context=context)
    with pytest.raises(Malformed) as malformed:
        decode_event(encode(event))
    assert first.reason == str(malformed.value)


def test_an_event_is_the_one_that_a_worker_decodes():
    def decode(value: bytes) -> Event:
        event = decode_event(value)
        if event.item == "refused":
            raise Malformed("unknown-type", "not here")
        return event

    log = text("user,item,time\nu,i,1\nu,refused,2\n", decode=decode)
    assert log.of("item") == [("i",)]
    assert log.bad_rows() == ["line 3: unknown-type: not here"]


def test_a_case_is_read_from_gzip_too():
    data = gzip.compress((CASES / "rees46-utc-suffix.csv").read_bytes())
    assert len(Reading(io.BytesIO(data)).events) == 2
