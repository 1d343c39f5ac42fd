"""The arithmetic and the command line of the benchmarks; `make bench` measures."""

import json
import subprocess
import sys

import pytest

from tests.bench.__main__ import PARTS
from tests.bench.clicks import EVENTS_A_USER, ITEMS, clicks, event, number
from tests.bench.naive_faust import naive
from tests.bench.process import ROOT
from tests.bench.report import Row, as_json, lines, markdown

ROWS = [
    Row("age", "ours, p50", 4.2, "ms", at_most=6, note="learner at work"),
    Row("throughput", "whole path", 7999.0, "events/s", at_least=8000, details={"turns": [7999.0]}),
    Row("restart", "answers again after", None, "s", at_most=5),
    Row("memory", "a bare `import torch`", 526.0, "MiB"),
]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_help_names_every_part():
    result = bench("--help")
    assert result.returncode == 0
    assert all(f"\n  {name} " in result.stdout for name in PARTS)


@pytest.mark.parametrize("arguments", [["speed"], ["--repeat", "0"]])
def test_invalid_arguments_are_refused(arguments):
    result = bench(*arguments)
    assert (result.returncode, result.stdout) == (2, "")


def test_a_figure_that_could_not_be_measured_misses_its_bar():
    assert [row.verdict for row in ROWS] == ["ok", "MISSED", "MISSED", ""]


def test_the_table_is_aligned_and_complete():
    *head, blank, names, first, second, third, fourth = lines({"seed": "1"}, ROWS)
    assert (head, blank) == (["seed       1"], "")
    assert names.index("verdict") == first.index("ok") == second.index("MISSED")
    assert "≥ 8,000 events/s" in second
    assert "none" in third
    assert "526 MiB" in fourth


def test_markdown_has_a_line_a_figure():
    table = [line for line in markdown({"seed": "1"}, ROWS) if line.startswith("|")]
    assert len(table) == len(ROWS) + 2
    assert {line.count("|") for line in table} == {7}


def test_json_has_the_details():
    report = json.loads(json.dumps(as_json({"seed": "1"}, ROWS)))
    assert report["rows"][1]["details"] == {"turns": [7999.0]}
    assert report["rows"][1]["verdict"] == "MISSED"


def test_clicks_are_seeded_and_each_walk_differs():
    once, again, other = (list(clicks(5000, 300, seed, walk)) for seed, walk in ((1, 1), (1, 1), (1, 2)))
    assert once == again != other
    assert {c.user for c in once} == set(range(300))
    assert max(c.item for c in once) < ITEMS
    assert len(once) / 300 == pytest.approx(EVENTS_A_USER, abs=2)


def test_the_number_of_an_event_is_in_its_id():
    (click,) = clicks(1, 1, seed=1)
    assert number(event(41, click).event_id) == 41
    assert number("another's") == -1


def test_the_naive_agent_is_a_faust_app(tmp_path):
    app = naive("127.0.0.1:9", "bench.", str(tmp_path))
    app.finalize()
    assert list(app.agents) == ["naive"]
    assert app.tables["recent"].changelog_topic_name == "bench.naive-recent-changelog"
