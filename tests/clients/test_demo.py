"""`freshet demo` works, says what it does, and leaves nothing behind however it ends."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from streams.clients import child, demo
from streams.clients.logs import open_log
from streams.kafka.embedded import PARTITIONS
from streams.settings import Settings

T = TypeVar("T")
ROOT = str(Path(__file__).parents[2])
READY_S = 280
"""How long a start may take that compiles kernels."""
HIT_S = 60
"""How long the model may take to beat the most popular items: seconds, where nothing else runs."""


class Demo:
    """A running `freshet demo`; `out` and `err` are files, so that nothing waits for them to be read."""

    def __init__(self, folder: Path, args: tuple[str, ...], settings: dict[str, str]) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._out, self._err = folder / "out", folder / "err"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        environ |= {"PYTHONPATH": ROOT, "TMPDIR": str(self.temporary)} | settings
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams", "demo", *args], stdout=out, stderr=err, env=environ
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, condition: Callable[[], T | None], timeout_s: float = READY_S) -> T:
        """The result of `condition`, once it is true."""
        deadline = time.monotonic() + timeout_s
        while not (result := condition()):
            assert self.process.poll() is None, self.out + self.err
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.05)
        return result

    def url(self) -> str:
        """The address of the worker's pages, once everything is ready."""
        return self.wait_for(lambda: re.search(r"Freshet runs: (http://\S+)/ ", self.out))[1]

    def lines(self) -> list[str]:
        """The lines about what happens that were printed so far."""
        return [line for line in self.err.splitlines() if "events/s" in line]

    def children(self) -> dict[str, int]:
        """Pid by name of the worker and the learner, once both run."""
        return self.wait_for(self._children)

    def _children(self) -> dict[str, int] | None:
        rows = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
        own = [row.split() for row in rows.splitlines() if row.split()[1] == str(self.process.pid)]
        pids = {row[-1]: int(row[0]) for row in own if "streams" in row}
        return pids if set(pids) == {"worker", "learner"} else None

    def wait(self, timeout_s: float = 60) -> int:
        """The exit code."""
        return self.process.wait(timeout_s)


def free_port() -> int:
    """A free port whose successor is free, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError):
                second.bind(("127.0.0.1", port + 1))
                return port


def gone(pids: dict[str, int]) -> bool:
    """Whether all of them end within seconds."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
            return True
        time.sleep(0.05)
    return False


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """Starts a demo with a temporary folder of its own."""
    demos: list[Demo] = []

    def start(*args: str, **settings: str) -> Demo:
        folder = tmp_path / str(len(demos))
        folder.mkdir()
        demos.append(Demo(folder, args, settings))
        return demos[-1]

    yield start
    for running in demos:
        running.process.kill()
        running.process.wait()


SUMMARY = re.compile(r"^(\d+) events/s .* hits ([\d.]+) %, popular ([\d.]+) %")


def beats_popularity(line: str) -> bool:
    """Whether a line tells of a stream that flows and of lists that are hit more often than best sellers."""
    if not (match := SUMMARY.match(line)):
        return False
    events, hits, popular = map(float, match.groups())
    return events > 50 and hits > popular  # 300, where nothing else runs


def test_it_runs_and_recommends_better_than_what_is_popular(start):
    running = start("--rate", "300")
    assert running.url().startswith("http://127.0.0.1:")
    pids = running.children()
    running.wait_for(lambda: any(map(beats_popularity, running.lines())), HIT_S)
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.err
    assert SUMMARY.match(running.out.splitlines()[-1]), "the latest figures"
    assert gone(pids)
    assert list(running.temporary.iterdir()) == []


def test_its_first_lines_and_its_pages(start):
    """On one demo, because a start takes a while: ages, the token, the ports, the user's own settings."""
    port = free_port()
    settings = {"FRESHET_WEB_PORT": str(port), "FRESHET_MEASURE_EVERY": "7", "FRESHET_BROKERS": "kafka:9092"}
    running = start(**settings)
    assert running.url() == f"http://127.0.0.1:{port}"
    for number in (port, port + 1):
        assert child_page(number, "/health/ready")["ready"], "the shop opens when both are ready"
    assert "FRESHET_BROKERS ignored" in running.err
    (token,) = re.findall(r"^token for changing settings on the pages: (\S+)$", running.out, re.MULTILINE)
    fixed = {row["setting"]: row["value"] for row in child_page(port, "/settings")["fixed"]}
    assert (fixed["measure_every"], fixed["frozen_twin_h"]) == (7, 0.05)
    change = {"setting": "list_length", "value": 12, "who": "a test"}
    assert child_page(port, "/settings", change | {"token": token})["changed"] == "list_length"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        child_page(port, "/settings", change | {"token": "another token"})
    lines = running.wait_for(lambda: [line for line in running.lines() if "age p50 -" not in line])
    assert float(re.search(r"age p50 ([\d.]+)", lines[0])[1]) < 5000, lines
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert "Traceback" not in running.err


def child_page(port: int, path: str, fields: dict[str, Any] | None = None) -> Any:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    body = json.dumps(fields).encode() if fields else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(start, number):
    running = start(FRESHET_WEB_PORT=str(free_port()))
    pids = running.children()
    running.process.send_signal(number)
    assert running.wait() == 0, running.out + running.err
    assert running.err == ""
    assert gone(pids)
    assert list(running.temporary.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_killed_hard_it_takes_its_children_along(start):
    running = start()
    pids = running.children()
    running.process.kill()
    assert gone(pids)


def test_a_child_that_dies_is_named_with_the_end_of_its_log(start):
    running = start()
    pids = running.children()
    os.kill(pids["learner"], signal.SIGKILL)
    assert running.wait() == 1
    assert "freshet: the learner ended with exit code -9; the end of its log:" in running.err
    assert gone(pids)
    assert list(running.temporary.iterdir()) == []


def test_a_port_that_was_asked_for_and_is_taken_is_one_line(start):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        running = start(FRESHET_WEB_PORT=str(port))
        assert running.wait() == 1
    assert running.out == ""
    assert running.err == (
        f"freshet: port {port} of 127.0.0.1 cannot be used (Address already in use): set FRESHET_WEB_HOST to"
        " an address of this machine and FRESHET_WEB_PORT to a free port, or to 0 for any\n"
    )


# ports and settings


def test_the_learner_has_the_port_beside_the_workers():
    port = free_port()
    assert demo.choose_ports(Settings(web_port=port), asked_for=True) == (port, port + 1)


def test_a_taken_port_that_was_not_asked_for_is_replaced(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        worker, learner = demo.choose_ports(Settings(web_port=port), asked_for=False)
    assert len({port, worker, learner}) == 3
    assert capsys.readouterr().err == (
        f"freshet: port {port} of 127.0.0.1 cannot be used (Address already in use);"
        " the pages get another one\n"
    )


def test_a_taken_port_beside_is_replaced():
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        worker, learner = demo.choose_ports(Settings(web_port=port), asked_for=True)
    assert worker == port
    assert learner not in (0, port, port + 1)


@pytest.mark.parametrize("port", [0, 65_535])
def test_any_port_and_the_last_port(port):
    worker, learner = demo.choose_ports(Settings(web_port=port), asked_for=True)
    assert port in (0, worker)
    assert len({0, worker, learner}) == 3


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(demo.PortUnavailable, match="set FRESHET_WEB_HOST to an address of this machine"):
        demo.choose_ports(Settings(web_host="192.0.2.1"), asked_for=False)


def test_settings_of_the_user_are_kept_or_named(capsys):
    overrides = demo.demo_settings("127.0.0.1:5", {"measure_every", "web_token", "web_host", "seed"})
    assert overrides == {
        "embedded": True,
        "security_protocol": "PLAINTEXT",
        "partitions": PARTITIONS,
        "brokers": "127.0.0.1:5",
        "frozen_twin_h": 0.05,
        "log_level": "warning",
    }
    assert capsys.readouterr().err == ""
    demo.demo_settings("127.0.0.1:5", {"partitions", "data_dir"})
    assert "FRESHET_DATA_DIR, FRESHET_PARTITIONS ignored" in capsys.readouterr().err


def test_every_demo_has_a_token_of_its_own():
    tokens = {demo.demo_settings("127.0.0.1:5", set())["web_token"] for _ in range(10)}
    assert len(tokens) == 10
    assert min(map(len, tokens)) >= 16


# the start


class StartingChild:
    """A child that is ready after `ready_after` checks."""

    def __init__(self, ready_after: int) -> None:
        self.checks, self._ready_after = 0, ready_after

    def ready(self) -> bool:
        self.checks += 1
        return self.checks > self._ready_after

    def check(self) -> None:
        pass

    def failure(self, what: str) -> child.ProcessFailed:
        return child.ProcessFailed(f"the worker {what}")


def test_the_start_waits_for_all_children():
    children, waits = [StartingChild(1), StartingChild(3)], []
    child.wait_ready(children, waits.append)
    assert len(waits) == 3
    assert waits == sorted(waits)


def test_a_start_that_takes_too_long_fails(monkeypatch):
    monkeypatch.setattr(child, "READY_TIMEOUT_S", 0.2)
    with pytest.raises(child.ProcessFailed, match=r"the worker was not ready after 0\.2 s"):
        child.wait_ready([StartingChild(0), StartingChild(10_000)], lambda waited_s: None)


def test_only_a_start_that_takes_longer_is_explained_and_once(capsys):
    notice = demo.StartNotice()
    notice(0.1)
    notice(demo.NOTICE_S)
    assert capsys.readouterr().out == ""
    notice(demo.NOTICE_S + 0.1)
    notice(demo.NOTICE_S + 0.2)
    assert capsys.readouterr().out.count("compiles kernels") == 1


# the rate


def traffic(embedded, rate: float, seconds: float, lag: dict[str, int]) -> demo.Traffic:
    embedded.create("demo.events", "demo.recommendations", "demo.catalog")
    settings = Settings(brokers=embedded.brokers, embedded=True, partitions=PARTITIONS, topic_prefix="demo.")
    return demo.Traffic(settings, [], SimpleNamespace(figures=FIGURES | {"lag": lag}), rate, seconds)


FIGURES = {
    "events_per_s": 10.0,
    "age_ms": {"p50": 3.0, "p99": 9.0},
    "hits": {"predictions": 0},
    "model": {"checkpoint": 0, "age_ms": None},
}


def printed(running: demo.Traffic, log=None) -> list[str]:
    lines: list[str] = []
    running.run(running.schedule(log), lambda text: lines.append(text()))
    return lines


def test_a_rate_that_cannot_be_reached_is_said_and_ends_in_time(embedded):
    began = time.monotonic()
    lines = printed(traffic(embedded, rate=1e7, seconds=4, lag={}))
    took_s = time.monotonic() - began
    assert 4 <= took_s < 20
    assert "behind" not in lines[0]
    behind_s = float(re.search(r"· ([\d.]+) s \([\d,]+ events\) behind 1e\+07 events/s$", lines[-1])[1])
    assert 2 < behind_s < took_s + 1


def test_a_worker_that_lags_is_said(embedded):
    lines = printed(traffic(embedded, rate=100, seconds=1, lag={"0": 300, "2": 100}))
    assert lines[-1].endswith("· 4 s (400 events) behind 100 events/s")


def test_a_demo_that_keeps_up_says_nothing_of_it(embedded):
    assert not [line for line in printed(traffic(embedded, 100, 1, lag={"0": 5})) if "behind" in line]


def test_after_the_last_event_of_a_log_nothing_is_behind(embedded):
    log = open_log(io.BytesIO(b"user,item,time\n" + b"u,i,1\n" * 50), run="demo")
    assert "behind" not in printed(traffic(embedded, 1e7, 1, lag={}), log)[-1]
