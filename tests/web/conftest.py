"""What the tests of the pages share."""

from typing import Any

import pytest

from streams.monitor import exposure
from tests.web.worker import Worker


@pytest.fixture(autouse=True)
def recommendations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages on the topic of recommendations; there is no Kafka here."""
    messages: list[Any] = []
    monkeypatch.setattr(exposure, "latest", lambda *args: messages)
    return messages


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker whose model has learnt, for tests that only read."""
    worker = Worker(tmp_path_factory.mktemp("worker") / "data")
    worker.learn()
    return worker
