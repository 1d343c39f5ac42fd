"""A follower of a topic that Kafka stamps tells the process what time it is."""

import time
from uuid import uuid4

import pytest

from streams.kafka import follower as module
from streams.kafka.admin import create
from streams.kafka.follower import Follower
from streams.kafka.sending import Sender
from streams.settings import Settings
from streams.wall_clock import WallClock
from tests.broker.cluster import wait_for


@pytest.mark.parametrize("wrong_by_s", [-3600, 0, 86_400])
def test_a_machine_whose_clock_is_wrong_takes_kafkas_time(kafka, monkeypatch, wrong_by_s):
    """Kafka refuses the stamps of a clock that is a day ahead, unless it stamps the records itself."""
    clock = WallClock(lambda: time.time() + wrong_by_s)
    monkeypatch.setattr(module, "CLOCK", clock)
    settings = Settings(brokers=kafka.brokers, topic_prefix=f"{uuid4().hex}.", partitions=1)
    create(settings)
    received: list[bytes] = []
    follower = Follower(settings, "metrics", lambda key, *record: received.append(key))
    follower.start()
    try:
        wait_for(lambda: follower.caught_up, "the topic read", 20, 0.01)
        Sender(settings).send("metrics", b"serving/a/now", b"{}")
        wait_for(lambda: received, "the record read", 20, 0.01)
        assert clock.measured
        assert abs(clock.now_ms() / 1000 - time.time()) < 5
        assert abs(clock.skew_s - wrong_by_s) < 5
    finally:
        follower.stop()
