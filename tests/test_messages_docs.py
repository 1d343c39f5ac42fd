"""The records, reasons and headers in docs/messages.md are those that the program reads and writes."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from streams import event_messages, messages
from streams.schemas import RECORDS

PAGE = (Path(__file__).parents[1] / "docs" / "messages.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in PAGE.split("\n## ")}


@pytest.mark.parametrize("name", ["events", "catalog", "recommendations", "examples", "metrics", "settings"])
def test_the_examples_are_records_and_have_every_field(name):
    blocks = re.findall(r"```json\n(.*?)```", SECTIONS[name], re.DOTALL)
    examples = [text for block in blocks for text in (block.splitlines() if block[1] != "\n" else [block])]
    record = RECORDS[name]
    fields = {field.encode_name for field in msgspec.inspect.type_info(record).fields}
    assert set().union(*map(json.loads, examples)) == fields - {"version"}
    for example in examples:
        assert msgspec.json.decode(example, type=record, strict=True)
        if name == "events":
            event_messages.decode_event(example.encode())


def test_the_example_of_a_request_is_a_valid_event():
    (example,) = re.findall(r"`(\{.*?\})`", SECTIONS["events"])
    assert event_messages.decode_event(example.encode()).type == "request"


def test_every_reason_and_header_is_listed():
    assert dict(re.findall(r"\| `([a-z0-9-]+)` \| (.*) \|", SECTIONS["dead-letter"])) == messages.REASONS
    assert all(f"`{name}`" in SECTIONS["dead-letter"] for name in messages.DeadLetter.__struct_fields__)
