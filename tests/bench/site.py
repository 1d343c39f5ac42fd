"""Where a measurement takes place: topics behind a prefix of their own, a folder, processes."""

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

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """A line on how far it is, on stderr."""
    print(f"{time.monotonic() - _BEGAN:6.0f} s  {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all parts share."""

    brokers: str
    folder: Path
    seed: int = 0
    quick: bool = False
    """A smoke run: every part in its shortest form, with figures that mean little."""
    repeat: int = 3
    fresh: bool = False
    numbers: Any = field(default_factory=count)

    def site(self, name: str, **settings: Any) -> "Site":
        """A new site; `with` ends its processes and deletes its topics."""
        return Site(self, f"{name}-{next(self.numbers)}", settings)

    def scaled(self, full: int) -> int:
        """A size, smaller in a smoke run."""
        return full // 10 if self.quick else full


class Site:
    """Topics, settings and processes of one measurement."""

    def __init__(self, bench: Bench, name: str, settings: dict[str, Any]) -> None:
        self.bench, self.folder = bench, bench.folder / name
        self._ours = {"brokers": bench.brokers, "topic_prefix": f"{name}.", "log_level": "info"} | settings
        self.settings = Settings(**self._ours)
        self._processes = ExitStack()
        self._admin = AdminClient({"bootstrap.servers": bench.brokers})

    def __enter__(self) -> "Site":
        self.folder.mkdir(parents=True)
        create(self.settings)
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.close()
        prefix = self.settings.topic_prefix
        with suppress(KafkaException):  # a broker that is gone has no topics; what went wrong comes after
            made = [name for name in self._admin.list_topics(timeout=15).topics if name.startswith(prefix)]
            for future in self._admin.delete_topics(made).values():
                future.exception(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def worker(self, name: str = "worker") -> Process:
        """A serving worker.  With the same name again: the same folder, port and worker id."""
        return self._ours_started("worker", name)

    def learner(self) -> Process:
        """A learner."""
        return self._ours_started("learner", "learner")

    def other(self, module: str, *arguments: str) -> Process:
        """Another of this folder's programs; its first arguments are the brokers and the prefix."""
        mine = [self.settings.brokers, self.settings.topic_prefix, *arguments]
        return self._started(["-m", f"tests.bench.{module}", *mine], module, {})

    def _ours_started(self, command: str, name: str) -> Process:
        ports = self.folder / f"{name}.port"
        if not ports.exists():
            ports.write_text(str(free_port()))
        port = int(ports.read_text())
        mine = {"data_dir": self.folder / name, "web_port": port, "worker_id": name} | self._ours
        environ = {PREFIX + key.upper(): str(value) for key, value in mine.items()}
        return self._started(["-m", "streams", command], name, environ, port)

    def _started(self, arguments: list[str], name: str, environ: dict[str, str], port: int = 0) -> Process:
        process = Process(arguments, self.folder / f"{name}.log", environ, port)
        self._processes.callback(process.kill)
        return process
