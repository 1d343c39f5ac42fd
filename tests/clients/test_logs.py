"""Reading a log: columns by name, times, ids, bad rows."""

import gzip
import io
import json

import pytest

from streams import event_messages, messages
from streams.clients.log_errors import BadLog, BadRow
from streams.clients.logs import open_log


def read(text: str | bytes, **options):
    data = text.encode() if isinstance(text, str) else text
    return open_log(io.BytesIO(data), **{"run": "r"} | options)


def test_csv_columns_with_common_names():
    log = read("timestamp,visitorid,event,itemid,price,quantity\n7,ann,cart,tent,2.5,4\n")
    assert log.columns == {
        "user": "visitorid",
        "item": "itemid",
        "type": "event",
        "time": "timestamp",
        "value": "price*quantity",
    }
    assert list(log) == [
        event_messages.Event(event_id="r-2", user="ann", item="tent", type="cart", time=7, value=10.0)
    ]


def test_case_and_byte_order_mark_do_not_matter():
    assert read("\ufeffUserId,Item_ID,TIME\nu,i,1\n").columns["user"] == "UserId"


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_other_delimiters(delimiter):
    (event,) = read("user,item,time\nu,i,1\n".replace(",", delimiter))
    assert (event.user, event.item, event.time) == ("u", "i", 1)


def test_a_session_without_a_user_is_a_user_of_its_own():
    (event,) = read("session_id,item,time\ns1,i,1\n")
    assert (event.user, event.session) == ("s1", "s1")


def test_chosen_columns():
    log = read(
        "who,what,when,kind,rating\nu,i,1,like,4\n",
        columns={"user": "who", "item": "what", "time": "when", "type": "kind", "value": "rating"},
        context=["kind"],
    )
    (event,) = log
    assert (event.user, event.item, event.type, event.value) == ("u", "i", "like", 4.0)
    assert event.context == {"kind": "like"}


def test_one_type_for_all_rows_and_a_field_that_is_not_read():
    log = read("user,item,time,type,session\nu,i,1,x,s\n", columns={"type": "=purchase", "session": ""})
    (event,) = log
    assert (event.type, event.session) == ("purchase", None)


def test_an_event_without_a_type_is_a_view():
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


def test_json_lines_with_fields_that_the_first_line_lacks():
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
def test_gzip_is_recognised_by_its_bytes(text):
    (event,) = read(gzip.compress(text.encode()))
    assert event.user == "u"


def test_an_event_of_a_log_can_be_published():
    (event,) = read("user,item,time,device\nänn,ten🏕t,1,phone\n", context=["device"])
    assert event_messages.decode_event(messages.encode(event)) == event


BAD_CSV = {
    "has 2 cells, expected 3": b"u,i",
    "has no user": b",i,1",
    "has no item": b"u,,1",
    "invalid time 'noon': expected a number, or RFC 3339": b"u,i,noon",
    "after 9999": b"u,i,999999999999999999999999",
    "before 1970": b"u,i,-5",
    "is not UTF-8": b"u\xff,i,1",
}


@pytest.mark.parametrize("reason", BAD_CSV)
def test_a_bad_row_is_named_by_its_line_and_reason(reason):
    text = b"user,item,time\nu,i,1\n" + BAD_CSV[reason] + b"\nu,i,2\n"
    with pytest.raises(BadRow, match=f"^line 3: .*{reason}"):
        list(read(text))
    bad_rows: list[BadRow] = []
    assert [e.time for e in read(text, on_bad=bad_rows.append)] == [1, 2]
    assert [bad.line for bad in bad_rows] == [3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "is not a JSON object: "),
        ("{", "is not a JSON object: "),
        ('{"user":1.5,"item":"i","time":1}', "invalid id 1.5: expected a string or a whole number"),
        ('{"user":"u","item":"i"}', "invalid time None: expected a number, or RFC 3339"),
        ('{"user":"u\\ud800"}', "is not a JSON object: "),
    ],
)
def test_a_bad_line_of_json_is_named_by_its_number_and_reason(line, reason):
    text = '{"user":"u","item":"i","time":1}\n' + line + "\n"
    with pytest.raises(BadRow, match=f"^line 2: {reason}"):
        list(read(text))


@pytest.mark.parametrize("value", ["x", "-inf", "inf"])
def test_an_invalid_value(value):
    with pytest.raises(BadRow, match=f"line 2: invalid value '{value}': expected a finite number"):
        read(f"user,item,time,value\nu,i,1,{value}\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("item,time\n", "has no column for the user: name it with --user; it has item, time"),
        ("[1]\n", "has no column for the user"),
        ("{oops\n", "is not valid JSON lines: line 1: "),
        ("PK\0\3\n", "is not text: expected CSV or JSON lines, plain or gzip"),
    ],
)
def test_an_invalid_log(text, reason):
    with pytest.raises(BadLog, match=reason):
        read(text)


def test_a_missing_column():
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
