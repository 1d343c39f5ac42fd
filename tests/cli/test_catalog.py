"""The command catalog, on a broker."""

import pytest

from streams.catalog_messages import decode_item
from streams.kafka.follower import Follower
from streams.settings import load
from tests.broker.cluster import wait_for
from tests.cli.invoke import error_line, run

CATALOG = "id,title,stock\na,A tent,3\nb,A boat,0\nc,A rope,1\n"


def records() -> list[tuple[bytes, bytes | None]]:
    """Key and value of each record."""
    found = []
    follower = Follower(load(), "catalog", lambda key, value, *place: found.append((key, value)))
    follower.start()
    wait_for(lambda: follower.caught_up, "the topic is read")
    follower.stop()
    return found


def topic() -> list[tuple[str, str | None]]:
    """Item and title of each record, None of a withdrawal."""
    return [(key.decode(), value and decode_item(key, value).title) for key, value in records()]


def test_it_publishes_the_items(topic_prefix, tmp_path):
    (tmp_path / "items.csv").write_text(CATALOG)
    result = run("catalog", "items.csv")
    assert result.stderr == "reading items.csv: item=id title=title available=stock\n"
    assert result.stdout == "3 items published, 0 withdrawn, 0 not delivered\n"
    assert result.exit_code == 0
    assert topic() == [("a", "A tent"), ("b", "A boat"), ("c", "A rope")]


def test_withdraw_missing_publishes_what_changed_and_withdraws_the_rest(topic_prefix, tmp_path):
    (tmp_path / "items.csv").write_text(CATALOG)
    run("catalog", "items.csv")
    (tmp_path / "items.csv").write_text(CATALOG.replace("A boat,0", "A boat,1").replace("c,A rope,1\n", ""))
    result = run("catalog", "items.csv", "--withdraw-missing")
    assert result.stdout == "1 items published, 1 withdrawn, 0 not delivered\n"
    assert topic()[3:] == [("b", "A boat"), ("c", None)]


def test_most_items_are_withdrawn_only_if_that_is_said(topic_prefix, tmp_path):
    (tmp_path / "items.csv").write_text(CATALOG)
    run("catalog", "items.csv")
    (tmp_path / "items.csv").write_text("id,title,stock\nd,New,1\n")
    result = run("catalog", "items.csv", "--withdraw-missing")
    assert result.exit_code == 1
    assert "lacks 3 of 3 published items, so nothing is withdrawn" in result.stderr
    assert "--withdraw-most" in result.stderr
    assert topic()[3:] == [("d", "New")]
    assert run("catalog", "items.csv", "--withdraw-most").exit_code == 0
    assert sorted(topic()[4:]) == [("a", None), ("b", None), ("c", None)]


def test_a_bad_row_stops_it_or_is_skipped_and_then_nothing_is_withdrawn(topic_prefix, tmp_path):
    (tmp_path / "items.csv").write_text("id,price\na,1\nb,x\nc,2\n")
    result = run("catalog", "items.csv")
    assert result.exit_code == 1
    assert "line 3: invalid price 'x'" in result.stderr
    result = run("catalog", "items.csv", "--on-error", "skip", "--withdraw-missing")
    assert result.exit_code == 1
    assert "skipped 1 rows that are not valid items" in result.stderr
    assert "nothing was withdrawn" in result.stderr
    assert [item for item, _ in topic()] == ["a", "c"], "a was published before the bad row"


@pytest.mark.parametrize("content", ["id,price\nb,x\n", "id,price\n"])
def test_a_file_without_an_item_is_an_error(topic_prefix, tmp_path, content):
    (tmp_path / "items.csv").write_text(content)
    result = run("catalog", "items.csv", "--on-error", "skip")
    assert result.exit_code == 1
    assert "has no row that is a valid item" in result.stderr


def test_without_kafka_it_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("streams.cli.connection.ANSWER_TIMEOUT_S", 0.5)
    result = run("catalog", "-", "--brokers", "127.0.0.1:1", stdin="")
    assert result.exit_code == 1
    assert "Kafka does not answer at 127.0.0.1:1" in error_line(result)


def test_encode_adds_vectors_made_of_the_texts(topic_prefix, tmp_path):
    (tmp_path / "items.csv").write_text(CATALOG)
    result = run("catalog", "items.csv", "--encode", "words=wordllama")
    assert (result.exit_code, result.stdout) == (0, "3 items published, 0 withdrawn, 0 not delivered\n")
    lengths = [len(item.vectors["words"]) for item in (decode_item(*record) for record in records())]
    assert lengths == [256] * 3


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        ("wordllama", "invalid encoder 'wordllama': expected NAME=wordllama or NAME=FOLDER"),
        ("words=nowhere", "no folder with model.onnx and tokenizer.json"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_refused(topic_prefix, tmp_path, encoder, says):
    (tmp_path / "items.csv").write_text(CATALOG)
    result = run("catalog", "items.csv", "--encode", encoder)
    assert result.exit_code == 2
    assert says in error_line(result)
    assert topic() == []
