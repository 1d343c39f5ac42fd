"""An outage does not flood the log."""

import logging

import faust
from faust.worker import Worker

from streams.runtime.faust_app import Repeats, quiet_logs


def test_a_warning_is_logged_once_in_ten_seconds_and_an_error_always():
    """By the monotonic clock: were the wall clock set back by an hour, warnings would be missing for one."""
    now = 0.0
    repeats = Repeats(monotonic=lambda: now)

    def logged(message: str, level: int = logging.WARNING) -> bool:
        record = logging.LogRecord("aiokafka.producer.sender", level, __file__, 7, message, (), None)
        record.created -= 3600 * now
        return repeats.filter(record)

    assert logged("no broker")
    now = 9
    assert not logged("no broker")
    assert logged("another thing")
    now = 20
    assert logged("no broker")
    assert all(logged("it failed", logging.ERROR) for _ in range(3))


def test_it_is_asked_about_the_records_of_children():
    """On the handler: a filter on a logger is not."""
    seen = []
    handler = logging.Handler()
    handler.emit = seen.append
    handler.addFilter(Repeats())
    logger = logging.getLogger("aiokafka.producer.sender")
    logger.addHandler(handler)
    try:
        for _ in range(5):
            logger.warning("no broker")
    finally:
        logger.removeHandler(handler)
    assert len(seen) == 1


def test_libraries_make_no_debug_messages_for_a_spinner(monkeypatch):
    """Faust, at the log level `warning`, sets the root logger to DEBUG."""
    root, handler = logging.getLogger(), logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", root.level)
    Worker(faust.App("spins")).on_setup_root_logger(root, logging.WARNING)
    assert logging.getLogger("aiokafka.conn").isEnabledFor(logging.DEBUG)
    quiet_logs()
    root.manager._clear_cache()
    assert not logging.getLogger("aiokafka.conn").isEnabledFor(logging.INFO)
    assert logging.getLogger("aiokafka.conn").isEnabledFor(logging.WARNING)
