"""Brokers for the tests: Apache Kafka where Java and Maven are, librdkafka's mock everywhere.

A test that takes the fixture `kafka`, or is marked so, is skipped where there is no Java or Maven, one that
is marked `browser` where there is no Chromium; the summary says so loudly, and with CI=true they fail.
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

NEEDED: dict[str, Callable[[], str | None]] = {"kafka": available, "browser": chromium.missing}
"""Marker ▶ why what it needs is missing."""
_skipped: dict[str, str] = {}


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real broker, one for all tests: use topics of your own, or a `topic_prefix`."""
    folder = tmp_path_factory.mktemp("kafka")
    with KafkaBroker(folder) as broker:
        yield broker
    shutil.rmtree(folder / "data")  # pytest keeps the folders of three runs


@pytest.fixture(scope="session")
def embedded() -> EmbeddedBroker:
    """The mock broker, one for all tests."""
    return EmbeddedBroker()


def pytest_configure() -> None:
    """A shell's job in the background ignores Ctrl-C; so would all that the tests start and stop by it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever takes the fixture is marked, so that `-m 'not kafka'` leaves all of them out."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail before any fixture is made."""
    for what, missing in NEEDED.items():
        if item.get_closest_marker(what) and (reason := missing()):
            if os.environ.get("CI") == "true":
                pytest.fail(f"CI must run the {what} tests, but {reason}", pytrace=False)
            _skipped[item.nodeid] = f"no real {what}: {reason}"
            pytest.skip(_skipped[item.nodeid])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested."""
    if _skipped:
        terminalreporter.section(f"{len(_skipped)} TESTS WERE SKIPPED", sep="!", red=True, bold=True)
        for reason, count in Counter(_skipped.values()).items():
            terminalreporter.write_line(f"{count} not tested, {reason}.")
