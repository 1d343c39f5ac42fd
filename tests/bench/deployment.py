"""The deployment that a part measures: topics with a prefix of their own, a folder, processes."""

import json
import shutil
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.kafka import free_port
from streams.kafka.admin import create
from streams.settings import PREFIX, Settings
from tests.bench.process import Process

_START = time.monotonic()


def progress(text: str) -> None:
    """Print a line on the progress of the run to stderr."""
    print(f"{time.monotonic() - _START:6.0f} s  {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """The options of a run, shared by all parts."""

    brokers: str
    folder: Path
    seed: int = 0
    quick: bool = False
    """Whether this is a smoke run: every part in its shortest form, with figures that mean little."""
    repeat: int = 3
    fresh: bool = False
    numbers: Any = field(default_factory=count)

    def deploy(self, name: str, **settings: Any) -> "Deployment":
        """A new deployment with these settings; `with` ends its processes and deletes its topics."""
        return Deployment(self, f"{name}-{next(self.numbers)}", settings)

    def scaled(self, full: int) -> int:
        """The size of a measurement: a tenth of `full` in a smoke run."""
        return full // 10 if self.quick else full


class Deployment:
    """Topics, settings and processes of one measurement."""

    def __init__(self, bench: Bench, name: str, settings: dict[str, Any]) -> None:
        self.bench, self.folder = bench, bench.folder / name
        own = {
            "brokers": bench.brokers,
            "topic_prefix": f"{name}.",
            "log_level": "info",
            "answer_all_within_s": 0,  # a backlog is answered in full
        }
        self._configured = own | settings
        self.settings = Settings(**self._configured)
        self._processes = ExitStack()
        self._admin = AdminClient({"bootstrap.servers": bench.brokers})

    def __enter__(self) -> "Deployment":
        self.folder.mkdir(parents=True)
        if not self.settings.embedded:
            create(self.settings)
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.close()
        if not self.settings.embedded:
            self._delete_topics()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _delete_topics(self) -> None:
        prefix = self.settings.topic_prefix
        with suppress(KafkaException):  # without a broker there are no topics to delete
            own = [name for name in self._admin.list_topics(timeout=15).topics if name.startswith(prefix)]
            for future in self._admin.delete_topics(own).values():
                future.exception(30)

    def worker(self, name: str = "worker") -> Process:
        """Start a worker; with the same name again: the same folder, port and worker id."""
        return self._start_freshet("worker", name)

    def learner(self) -> Process:
        """Start a learner."""
        return self._start_freshet("learner", "learner")

    def program(self, module: str, *arguments: str) -> Process:
        """Start another program of `tests.bench`; its first arguments are the brokers and the prefix."""
        cluster = self.settings.brokers, self.settings.topic_prefix
        return self._start(["-m", f"tests.bench.{module}", *cluster, *arguments], module, {})

    def _start_freshet(self, command: str, name: str) -> Process:
        ports = self.folder / f"{name}.port"
        if not ports.exists():
            ports.write_text(str(free_port()))
        port = int(ports.read_text())
        settings = {"data_dir": self.folder / name, "web_port": port, "worker_id": name} | self._configured
        environ = {
            PREFIX + key.upper(): json.dumps(value) if isinstance(value, dict) else str(value)
            for key, value in settings.items()
        }
        return self._start(["-m", "streams", command], name, environ, port)

    def _start(self, arguments: list[str], name: str, environ: dict[str, str], port: int = 0) -> Process:
        process = Process(arguments, self.folder / f"{name}.log", environ, port)
        self._processes.callback(process.kill)
        return process
