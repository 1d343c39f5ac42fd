"""Whether partitions that moved count as skipped; tests/broker/test_losses.py resets a group."""

from types import SimpleNamespace

import pytest

from streams.kafka import group_reset
from streams.kafka.group_reset import Skipped, count_skipped
from streams.kafka.losses import Losses
from streams.settings import Settings
from streams.step.policy import ServingPolicy

SETTINGS = Settings(session_timeout_s=30)


@pytest.mark.parametrize(("generation", "stood_still_s", "counts"), [(3, 0, {0: 7}), (4, 0, {}), (3, 31, {})])
def test_what_another_worker_committed_meanwhile_is_not_skipped(
    monkeypatch, generation, stood_still_s, counts
):
    app, now = SimpleNamespace(consumer_generation_id=3), [1000.0]
    monkeypatch.setattr(group_reset, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def skipped(settings, partitions, stored, policy, assigned):
        app.consumer_generation_id = generation
        now[0] += stood_still_s
        return [Skipped(0, 7, 10, 17)] if assigned() else []

    monkeypatch.setattr(group_reset, "skipped", skipped)
    losses = Losses()
    count_skipped(app, SETTINGS, ServingPolicy.from_settings(SETTINGS), lambda *_: None, losses, [0])
    assert losses.counts == counts
