"""Brokers for the tests: Apache Kafka where Java and Maven are installed, librdkafka's mock everywhere.

A test with the fixture or the marker `kafka` is skipped without Java or Maven, one with the marker `browser`
without Chromium.  The summary lists what was skipped; with CI=true these tests fail instead.
"""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from deploy.kafka import KafkaBroker, available
from streams.kafka.embedded import EmbeddedBroker
from tests.browser import chromium

REQUIREMENTS: dict[str, Callable[[], str | None]] = {"kafka": available, "browser": chromium.missing}
"""By marker: why what its tests need is missing; None if nothing is."""
NOT_TESTED = "no real "
"""Beginning of the reason of a test that was skipped because something is missing."""


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real broker, shared by all tests: each uses topics or a `topic_prefix` of its own."""
    folder = tmp_path_factory.mktemp("kafka")
    with KafkaBroker(folder) as broker:
        yield broker
    shutil.rmtree(folder / "data")  # pytest keeps the folders of three runs


@pytest.fixture(scope="session")
def embedded() -> EmbeddedBroker:
    """The embedded broker, shared by all tests."""
    return EmbeddedBroker()


def pytest_configure() -> None:
    """Restore SIGINT: a background job of a shell ignores it, and so would the processes that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the fixture `kafka`, so that `-m 'not kafka'` leaves them out."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test that cannot run, before its fixtures are set up."""
    for marker, missing in REQUIREMENTS.items():
        if item.get_closest_marker(marker) and (reason := missing()):
            if os.environ.get("CI") == "true":
                pytest.fail(f"CI must run the {marker} tests, but {reason}", pytrace=False)
            pytest.skip(f"{NOT_TESTED}{marker}: {reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was not tested, and why."""
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.getreports("skipped")
    ]
    missing = [reason for reason in reasons if reason.startswith(NOT_TESTED)]
    if missing:
        terminalreporter.section(f"{len(missing)} TESTS WERE SKIPPED", sep="!", red=True, bold=True)
        for reason, count in Counter(missing).items():
            terminalreporter.write_line(f"{count} not tested, {reason}.")
