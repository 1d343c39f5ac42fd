"""What the tests of the pages share."""

from typing import Any

import pytest

from streams.monitor import exposure
from tests.web.worker import Worker


@pytest.fixture(autouse=True)
def recommendations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages on the topic of recommendations; there is no Kafka here."""
    messages: list[Any] = []

    def latest(settings: Any, topic: str, per_partition: int, timeout_s: float, keep: Any) -> list[Any]:
        return [keep(message)[0] for message in messages]

    monkeypatch.setattr(exposure, "latest", latest)
    return messages


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker whose model has learnt, for tests that only read."""
    worker = Worker(tmp_path_factory.mktemp("worker") / "data")
    worker.learn()
    return worker
