"""`freshet demo` works, and leaves nothing behind however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def demo(tmp_path):
    """Starts it, with a temporary folder of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "streams", "demo", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ | {"PYTHONPATH": ROOT, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children(process: subprocess.Popen[str]) -> dict[str, int]:
    """name ▶ pid of the worker and the learner, once both run."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        rows = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
        mine = [row.split() for row in rows.splitlines() if row.split()[1] == str(process.pid)]
        found = {row[-1]: int(row[0]) for row in mine if "streams" in row}
        if set(found) == {"worker", "learner"}:
            return found
        time.sleep(0.05)
    raise AssertionError("worker and learner do not run")


def gone(pids: dict[str, int]) -> bool:
    """Whether all of them end within seconds."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
            return True
        time.sleep(0.05)
    return False


def test_it_runs_and_recommends_better_than_what_is_popular(demo, tmp_path):
    process = demo("--seconds", "25", "--rate", "300")
    pids = children(process)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert re.search(r"Freshet runs: http://127.0.0.1:\d+/", out)
    said = re.findall(r"^(\d+) events/s .* hits ([\d.]+) %, popular ([\d.]+) %", out, re.MULTILINE)
    assert max(int(events) for events, _, _ in said) > 50, out  # 300, where nothing else runs
    _, hits, popular = said[-1]
    assert float(hits) > float(popular)
    assert gone(pids)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(demo, tmp_path, sent):
    process = demo()
    pids = children(process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, out + err
    assert gone(pids)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_killed_hard_it_takes_its_children_along(demo):
    process = demo()
    pids = children(process)
    process.kill()
    assert gone(pids)


def test_a_child_that_dies_is_named_with_the_end_of_its_log(demo, tmp_path):
    process = demo()
    pids = children(process)
    os.kill(pids["learner"], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "freshet: the learner ended with exit code -9; the end of its log:" in err
    assert gone(pids)
    assert list(tmp_path.iterdir()) == []
