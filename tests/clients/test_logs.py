"""A log is read as its promises say: columns by name, times, ids, bad rows."""

import gzip
import io
import json

import pytest

from streams import messages
from streams.clients.logs import BadLog, BadRow, open_log


def read(text: str | bytes, **options):
    data = text.encode() if isinstance(text, str) else text
    return open_log(io.BytesIO(data), **{"run": "r"} | options)


def test_csv_columns_are_found_by_their_common_names():
    log = read("timestamp,visitorid,event,itemid,price,quantity\n7,ann,cart,tent,2.5,4\n")
    assert log.columns == {
        "user": "visitorid",
        "item": "itemid",
        "type": "event",
        "time": "timestamp",
        "value": "price*quantity",
    }
    assert list(log) == [
        messages.Event(event_id="r-2", user="ann", item="tent", type="cart", time=7, value=10.0)
    ]


def test_case_and_byte_order_mark_do_not_matter():
    assert read("\ufeffUserId,Item_ID,TIME\nu,i,1\n").columns["user"] == "UserId"


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_other_delimiters(delimiter):
    (event,) = read("user,item,time\nu,i,1\n".replace(",", delimiter))
    assert (event.user, event.item, event.time) == ("u", "i", 1)


def test_sessions_without_users_are_users_of_their_own():
    (event,) = read("session_id,item,time\ns1,i,1\n")
    assert (event.user, event.session) == ("s1", "s1")


def test_columns_can_be_named():
    log = read(
        "who,what,when,kind,rating\nu,i,1,like,4\n",
        columns={"user": "who", "item": "what", "time": "when", "type": "kind", "value": "rating"},
        context=["kind"],
    )
    (event,) = log
    assert (event.user, event.item, event.type, event.value) == ("u", "i", "like", 4.0)
    assert event.context == {"kind": "like"}


def test_a_type_for_all_and_a_column_not_to_take():
    log = read("user,item,time,type,session\nu,i,1,x,s\n", columns={"type": "=purchase", "session": ""})
    (event,) = log
    assert (event.type, event.session) == ("purchase", None)


def test_without_a_type_it_is_a_view():
    assert [e.type for e in read("user,item,time,type\nu,i,1,\n")] == ["view"]
    assert [e.type for e in read("user,item,time\nu,i,1\n")] == ["view"]


@pytest.mark.parametrize(
    ("text", "unit", "ms"),
    [
        ("1511539217000", "ms", 1_511_539_217_000),
        ("1511539217", "s", 1_511_539_217_000),
        ("1511539217.25", "s", 1_511_539_217_250),
        ("2017-11-24T16:00:17Z", "ms", 1_511_539_217_000),
        ("2017-11-24T17:00:17.250+01:00", "s", 1_511_539_217_250),
        ("2017-11-24 16:00:17", "ms", 1_511_539_217_000),
    ],
)
def test_times(text, unit, ms):
    assert [e.time for e in read(f"user,item,time\nu,i,{text}\n", time_unit=unit)] == [ms]
    line = json.dumps({"user": "u", "item": "i", "time": float(text) if text.isdecimal() else text})
    assert [e.time for e in read(line, time_unit=unit)] == [ms]


def test_an_event_keeps_its_id_or_gets_one_from_its_line():
    log = read("event_id,user,item,time\na,u,i,1\n\n,u,i,2\n")
    assert [e.event_id for e in log] == ["a", "r-4"]


def test_json_lines_with_fields_that_come_later():
    lines = [
        {"user": 12, "item": "i", "time": 1},
        {
            "user": "u",
            "item": "j",
            "time": 2,
            "session": "s",
            "context": {"device": "phone"},
            "event_id": "e",
        },
        {"user": "u", "type": "request", "time": 3},
    ]
    first, second, third = read("\n".join(map(json.dumps, lines)))
    assert (first.event_id, first.user) == ("r-1", "12")
    assert (second.session, second.context, second.event_id) == ("s", {"device": "phone"}, "e")
    assert third.item is None


@pytest.mark.parametrize("text", ["user,item,time\nu,i,1\n", '{"user":"u","item":"i","time":1}\n'])
def test_gzip_is_told_by_its_bytes(text):
    (event,) = read(gzip.compress(text.encode()))
    assert event.user == "u"


def test_what_is_read_can_be_published():
    (event,) = read("user,item,time,device\nänn,ten🏕t,1,phone\n", context=["device"])
    assert messages.decode_event(messages.encode(event)) == event


BAD_CSV = {
    "has 2 cells": b"u,i",
    "has no user": b",i,1",
    "has no item": b"u,,1",
    "is no time": b"u,i,noon",
    "after 9999": b"u,i,999999999999999999",
    "before 1970": b"u,i,-5",
    "is not UTF-8": b"u\xff,i,1",
}


@pytest.mark.parametrize("reason", BAD_CSV)
def test_a_bad_row_says_its_line_and_why(reason):
    text = b"user,item,time\nu,i,1\n" + BAD_CSV[reason] + b"\nu,i,2\n"
    with pytest.raises(BadRow, match=f"^line 3: .*{reason}"):
        list(read(text))
    bad: list[BadRow] = []
    assert [e.time for e in read(text, on_bad=bad.append)] == [1, 2]
    assert [b.line for b in bad] == [3]


@pytest.mark.parametrize(
    "line",
    ["[1]", "{", '{"user":1.5,"item":"i","time":1}', '{"user":"u","item":"i"}', '{"user":"u\\ud800"}'],
)
def test_a_bad_line_of_json_too(line):
    text = '{"user":"u","item":"i","time":1}\n' + line + "\n"
    with pytest.raises(BadRow, match=r"^line 2: "):
        list(read(text))


@pytest.mark.parametrize("value", ["x", "nan", "inf"])
def test_a_value_that_is_no_number(value):
    with pytest.raises(BadRow, match=f"line 2: {value} is no number"):
        read(f"user,item,time,value\nu,i,1,{value}\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("item,time\n", "has no column for the user: name it with --user; it has item, time"),
        ("[1]\n", "has no column for the user"),
        ("{oops\n", "is no JSON lines"),
        ("PK\0\3\n", "is no text: CSV or JSON lines, plain or gzip"),
    ],
)
def test_what_is_no_log(text, why):
    with pytest.raises(BadLog, match=why):
        read(text)


def test_a_column_that_is_not_there():
    with pytest.raises(BadLog, match="has no column nobody; it has user, item, time"):
        read("user,item,time\n", columns={"user": "nobody"})
    with pytest.raises(BadLog, match="has no column nowhere"):
        read("user,item,time\n", context=["nowhere"])


def test_a_gzip_file_that_breaks_off():
    rows = "".join(f"u{n},i{n * n},{n}\n" for n in range(10_000))
    log = read(gzip.compress(f"user,item,time\n{rows}".encode())[:-5000])
    with pytest.raises(BadLog, match=r"breaks off after line \d+"):
        list(log)


def test_a_log_is_read_lazily(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + "u,i,1\n" * 200_000)
    log = open_log(str(path), run="r")
    assert log.first is not None
    assert log.fraction() < 0.1
    assert sum(1 for _ in log) == 200_000
    assert log.fraction() == 1.0
