"""A deployment under test: topics with a prefix of their own, a folder, processes, and what they wrote."""

import json
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from deploy.kafka import free_port
from tests.bench.process import ROOT, Process
from tests.chaos.broker import Broker
from tests.chaos.expected import Expected, expected
from tests.chaos.faults import faults
from tests.chaos.pages import READY_S, page_faults, wait_ready
from tests.chaos.records import Record, end_offsets, read
from tests.chaos.seen import TOPICS, Seen, seen
from tests.chaos.shop import Shop
from tests.chaos.waiting import within

PARTITIONS = 4
SESSION_TIMEOUT_S = 6
QUIET_S = 2.5
"""Time without a new record after which all work is taken to be done."""
PATIENCE_S = 40


class Deployment:
    """Topics, settings and processes of one scenario; `with` ends the processes and deletes the topics."""

    def __init__(self, broker: Broker, folder: Path, name: str, rng: random.Random, **settings: Any) -> None:
        self.broker, self.prefix, self.folder = broker, f"{name}.", folder / name
        self._configured = {
            "brokers": broker.brokers,
            "topic_prefix": self.prefix,
            "partitions": PARTITIONS,
            "max_items": 10_000,
            "publish_interval_s": 0.2,
            "session_timeout_s": SESSION_TIMEOUT_S,
        } | settings
        self.shop = Shop(broker.brokers, self.topic("events"), random.Random(rng.random()))
        self.admin = AdminClient({"bootstrap.servers": broker.brokers})
        self._processes = ExitStack()
        self._events: dict[tuple[int, int], Record] = {}

    def __enter__(self) -> "Deployment":
        self.folder.mkdir(parents=True)
        self.create_topics()
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.close()
        self.delete_topics(
            *(t for t in self.admin.list_topics(timeout=15).topics if t.startswith(self.prefix))
        )

    def topic(self, name: str) -> str:
        """The full name of a topic."""
        return self.prefix + name

    def create_topics(self) -> None:
        """Run `freshet topics`."""
        command = [sys.executable, "-m", "streams", "topics"]
        result = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=os.environ | self._environ({})
        )
        assert result.returncode == 0, result.stdout + result.stderr

    def delete_topics(self, *names: str) -> None:
        """Delete topics by full name, and wait until they are gone."""
        if not names:
            return
        for future in self.admin.delete_topics(list(names)).values():
            future.result(30)
        within(30, lambda: not set(names) & set(self.admin.list_topics(timeout=15).topics))

    def worker(self, name: str = "worker", **settings: Any) -> Process:
        """Start a worker; with the same name again: the same folder and worker id."""
        return self._start("worker", name, {"worker_id": name} | settings)

    def learner(self, name: str = "learner", **settings: Any) -> Process:
        """Start a learner."""
        return self._start("learner", name, settings)

    def _start(self, command: str, name: str, settings: dict[str, Any]) -> Process:
        port = settings.get("web_port") or free_port()
        environ = self._environ({"data_dir": self.folder / name, "web_port": port} | settings)
        log = self.folder / f"{name}-{port}.log"
        process = Process(["-m", "streams", command], log, environ, port)
        self._processes.callback(process.kill)
        return process

    def _environ(self, settings: dict[str, Any]) -> dict[str, str]:
        values = self._configured | settings
        return {
            f"FRESHET_{name.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
            for name, value in values.items()
            if value is not None
        }

    def expected(self) -> Expected:
        """What the oracle expects of the events that were ever in the topic.

        Events that were deleted since the last call count, and those deleted before the first one do not.
        """
        for record in read(self.broker.brokers, self.topic("events")):
            self._events[record.partition, record.offset] = record
        return expected(self._events[place] for place in sorted(self._events))

    def seen(self) -> Seen:
        """What the processes wrote to their topics."""
        return seen(lambda name: read(self.broker.brokers, self.topic(name), name == "dead-letter"))

    def settle(self, patience_s: float = PATIENCE_S) -> list[str]:
        """Wait until no record comes any more, and return what is wrong then.

        What is wrong at first and comes right within `patience_s` is not wrong: events may be under way.
        """
        until = time.monotonic() + patience_s
        while True:
            self._wait_quiet(until)
            wrong = faults(self.expected(), self.seen())
            if not wrong or time.monotonic() > until:
                return wrong

    def _wait_quiet(self, until: float) -> None:
        ends, since = self._ends(), time.monotonic()
        while time.monotonic() - since < QUIET_S and time.monotonic() < until:
            time.sleep(0.25)
            if (now := self._ends()) != ends:
                ends, since = now, time.monotonic()

    def _ends(self) -> list[dict[int, int]]:
        return [end_offsets(self.broker.brokers, self.topic(name)) for name in ("events", *TOPICS)]

    def restored_faults(self, patience_s: float = READY_S) -> list[str]:
        """What is wrong on the pages of a worker that starts with an empty folder, alone."""
        worker = self.worker(f"restored-{free_port()}", worker_id=None)
        wait_ready(worker, patience_s)
        try:
            return page_faults(worker, self.expected())
        finally:
            worker.stop()
