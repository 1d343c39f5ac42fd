"""publish, replay and subscribe on a broker, and without one."""

import json
import re
import signal
import time

import pytest
from confluent_kafka import Producer

from streams import messages
from streams.clients.subscribe import follow, records
from streams.settings import load
from tests.cli.invoke import error_line, run, start

LOG = "user,item,time\nu,i,1\nu,j,2\n"


@pytest.mark.parametrize("command", [["topics"], ["subscribe"], ["publish", "-"], ["replay", "-"]])
def test_without_kafka_it_is_one_line_and_exit_code_1(command, monkeypatch):
    monkeypatch.setattr("streams.cli.connection.ANSWER_TIMEOUT_S", 0.5)
    result = run(*command, "--brokers", "127.0.0.1:1", stdin="")
    assert result.exit_code == 1
    assert "Kafka does not answer at 127.0.0.1:1" in error_line(result)
    assert "--brokers" in error_line(result)


def test_publish_says_what_it_took_and_how_many_were_delivered(topic_prefix, tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    result = run("publish", "log.csv", "--copies", "2")
    assert result.exit_code == 0
    assert (
        result.stderr
        == "reading log.csv: user=user item=item time=time type==view; begins 1970-01-01 00:00:00 UTC\n"
    )
    assert result.stdout == "4 events delivered, 0 not\n"


def test_ctrl_c_says_how_many_were_delivered(topic_prefix, tmp_path):
    (tmp_path / "log.csv").write_text("user,item,time\n" + "u,i,1\n" * 1000)
    consumer = follow(load(), "events", from_start=True)
    process = start("publish", "log.csv", "--rate", "50")
    delivered, deadline = 0, time.monotonic() + 30
    while delivered <= 5:
        assert time.monotonic() < deadline, "no events arrive"
        delivered += len(records(consumer, 0.1))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.startswith("reading log.csv")
    assert len(err.splitlines()) == 1
    assert 5 < int(re.fullmatch(r"(\d+) events delivered, 0 not\n", out)[1]) < 1000


def test_publish_from_stdin(topic_prefix):
    result = run("publish", "-", stdin=LOG)
    assert (result.exit_code, result.stdout) == (0, "2 events delivered, 0 not\n")


def test_a_bad_row_stops_or_is_skipped(topic_prefix):
    log = LOG + "u,,3\nu,k,4\n"
    result = run("publish", "-", stdin=log)
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[-1] == "freshet: line 4: has no item; --on-error skip leaves such rows out"
    )
    assert result.stdout == "2 events delivered, 0 not\n"
    result = run("publish", "-", "--on-error", "skip", stdin=log)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-2:] == [
        "freshet: skipped line 4: has no item",
        "freshet: skipped 1 rows that are not valid events",
    ]
    assert result.stdout == "3 events delivered, 0 not\n"


def test_a_log_without_users_is_one_line_and_exit_code_1(topic_prefix):
    result = run("publish", "-", stdin="item,time\n")
    assert result.exit_code == 1
    assert error_line(result) == (
        "freshet: - has no column for the user: name it with --user; it has item, time"
    )


def test_a_replay_without_a_worker_says_so(topic_prefix):
    result = run("replay", "-", "--timeout", "1", "--json", "--run", "x", stdin=LOG)
    assert result.exit_code == 1
    figures = json.loads(result.stdout)
    assert (figures["run"], figures["events"], figures["unanswered"]) == ("x", 2, 2)
    assert "2 of 2 events are unanswered (lines 2, 3): is a worker running?" in result.stderr


def test_subscribe_from_the_start(topic_prefix, embedded, caplog):
    producer = Producer({"bootstrap.servers": embedded.brokers})
    for user in ("ann", "bob", "ann"):
        recommendation = messages.Recommendation(
            recommendation_id="r", user=user, time=0, event_id="e", event_type="view", checkpoint=1, age_ms=4,
            items=[messages.Recommended("tent", 1.0, "popular now")], model_age_ms=None,
        )  # fmt: skip
        producer.produce(f"{topic_prefix}recommendations", messages.encode(recommendation), user)
        producer.produce(f"{topic_prefix}recommendations", b"{}", user)
    producer.flush()
    result = run("subscribe", "--from-start", "--user", "ann", "-n", "2")
    assert result.exit_code == 0
    assert "is skipped: not a valid recommendation" in caplog.text
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("ann  view  tent (popular now)  [age 4 ms, model none yet]") for line in lines)
    (line,) = run("subscribe", "--from-start", "--json", "--user", "bob", "-n", "1").stdout.splitlines()
    assert messages.decode_recommendation(line).user == "bob"
