"""The driver itself, and the most valuable scenarios, scaled down; `make chaos` plays all of them."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from tests.bench.process import ROOT
from tests.chaos.__main__ import play
from tests.chaos.broker import Broker
from tests.chaos.expected import expected
from tests.chaos.faults import faults
from tests.chaos.records import Record
from tests.chaos.report import Row, table
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.seen import CHANGELOG, seen

SHORT = ("pause", "stall", "poison", "damage")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("chaos") / "kafka") as broker:
        yield broker


@pytest.mark.kafka
@pytest.mark.parametrize("name", SHORT)
def test_every_row_is_right(name, broker, tmp_path):
    rows = list(play(name, broker, tmp_path, seed=1, quick=True))
    assert [row for row in rows if not row.right] == []
    assert rows


def test_no_module_shares_code_with_the_product():
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {"streams", "models"} & {(module or "").split(".")[0] for module in modules}, path


# The oracle, against hand-made topics


def record(offset: int, value: bytes | None, key: bytes | None = b"ann") -> Record:
    return Record(0, offset, 0, key, value, ())


def made(offset: int, event_id: str, **fields: object) -> Record:
    event = {"event_id": event_id, "user": "ann", "type": "view", "item": "tent", "time": 5}
    return record(offset, json.dumps(event | fields).encode())


EVENTS = [
    made(0, "a", item="tent"),
    made(1, "b", item="lamp", time=6),
    made(2, "a"),  # a duplicate
    record(3, b"{"),
    made(4, "c", type="request", time=7),
    made(5, "d", type="impression", time=8),
]


def topics(**changes: list[Record]) -> dict[str, list[Record]]:
    """What is right for `EVENTS`, unless `changes` say something else."""
    headers = (("partition", b"0"), ("offset", b"3"), ("reason", b"malformed-json"))
    right = {
        CHANGELOG: [
            record(0, b"\x93\x00\x01\x90"),
            record(1, msgpack.packb([5, 4, ["tent", "lamp"], "more"])),
        ],
        "examples": [record(0, b'{"offset": 0}'), record(1, b'{"offset": 1}')],
        "recommendations": [record(0, b'{"user": "ann", "event_id": "c"}')],
        "dead-letter": [Record(0, 0, 0, b"ann", b"{", headers)],
    }
    return right | {name.replace("_", "-"): records for name, records in changes.items()}


def test_what_is_right_has_no_fault():
    assert faults(expected(EVENTS), seen(topics().__getitem__)) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({CHANGELOG: []}, "1 of 1 users are not in the changelog"),
        (
            {CHANGELOG: [record(0, msgpack.packb([3, 2, ["tent", "lamp"]]))]},
            "1 of 1 users are old in the changelog, by up to 2 offsets",
        ),
        (
            {CHANGELOG: [record(0, msgpack.packb([5, 3, ["tent", "lamp"]]))]},
            "1 of 1 users are wrong in the changelog: 'ann' has 3 events, not 4",
        ),
        ({"examples": [record(0, b'{"offset": 0}')]}, "1 examples lost"),
        ({"examples": [record(n, b'{"offset": %d}' % (n // 2)) for n in range(3)]}, "1 examples doubled"),
        ({"examples": [record(n, b'{"offset": %d}' % n) for n in range(3)]}, "1 examples of no event"),
        ({"recommendations": []}, "1 of 1 users without a recommendation"),
        (
            {"recommendations": [record(0, b'{"user": "ann", "event_id": "b"}')]},
            "1 of 1 users whose last recommendation is stale",
        ),
        ({"dead_letter": []}, "1 dead letters lost"),
    ],
)
def test_each_fault_is_found(changes, fault):
    assert faults(expected(EVENTS), seen(topics(**changes).__getitem__)) == [fault]


# The command line and the table


def test_help_names_every_scenario():
    command = [sys.executable, "-m", "tests.chaos", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0
    assert all(f"\n  {name} " in result.stdout for name in SCENARIOS)


def test_a_cell_is_one_line_of_bounded_length():
    text = table([("kill", Row("a|b\nc", "x", "y" * 1000, False))])
    assert len(text.splitlines()) == 3
    assert "| a/b c | x | " in text
    assert text.endswith("… | WRONG |")
