"""The history of the cluster: rings of slots, what a restart keeps, what several processes add up to."""

import random

import pytest

from streams.messages import MetricsRow, Process, decode_metrics, encode
from streams.monitor.counts import Histogram
from streams.monitor.history import LISTED_S, SPANS, History, Recorder, add_up
from streams.monitor.overview import overview

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BEGAN = 20_000 * DAY


class Topic:
    """The compacted topic, and everybody who follows it."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.written = 0

    def write(self, rows: dict[str, MetricsRow]) -> None:
        for key, row in rows.items():
            self.rows[key] = encode(row)
            self.written += 1

    def history(self, now: int) -> History:
        """Of a worker that starts to read now."""
        history = History()
        for key, value in self.rows.items():
            history.add(key, decode_metrics(value), now)
        return history


def run(topic: Topic, recorder: Recorder, start: int, end: int, per_tick: int, step: int = 2_000) -> None:
    """A process that counts `per_tick` events every two seconds."""
    for n, now in enumerate(range(start, end, step), 1):
        topic.write(recorder.add(now, {"accepted": per_tick * n}, {"users": n}))


def test_the_topic_is_bounded_whatever_happens():
    topic = Topic()
    run(topic, Recorder("serving/a"), BEGAN, BEGAN + 9 * DAY, 5, step=60_000)
    assert len(topic.rows) <= sum(span.slots for span in SPANS.values())
    assert max(map(len, topic.rows.values())) < 200
    history = topic.history(BEGAN + 9 * DAY)
    assert sum(len(rows) for rows in history._rows.values()) <= sum(s.slots + 2 for s in SPANS.values())


def test_a_figure_is_written_about_once_a_second_not_more():
    topic = Topic()
    run(topic, Recorder("serving/a"), BEGAN, BEGAN + HOUR, 5)
    assert topic.written / 3600 < 0.7


@pytest.mark.parametrize("span", SPANS)
def test_each_span_counts_the_same_events(span):
    topic, now = Topic(), BEGAN + 10 * MINUTE
    run(topic, Recorder("serving/a"), BEGAN, now, 5)
    points = topic.history(now).points(span, now)
    assert add_up(points)["accepted"] == pytest.approx(5 * 300, abs=5 * 60 if span == "7d" else 25)
    assert points[-1].gauges == {"serving/a": {"users": pytest.approx(300, abs=60)}}


def test_workers_add_up_and_ages_merge():
    topic, now = Topic(), BEGAN + MINUTE
    rng = random.Random(5)
    all_ages = []
    for name in ("a", "b", "c"):
        recorder, histogram = Recorder(f"serving/{name}"), Histogram()
        for at in range(BEGAN, now, 2_000):
            ages = [int(rng.lognormvariate(3, 1)) for _ in range(20)]
            all_ages += ages
            histogram.add(ages)
            topic.write(recorder.add(at, histogram.counts(), {}))
    merged = Histogram.from_counts(add_up(topic.history(now).points("15min", now)))
    alone = Histogram()
    alone.add(all_ages)
    assert merged.buckets == alone.buckets
    assert merged.sum_ms == alone.sum_ms
    assert [merged.quantile(q) for q in (0.5, 0.99)] == [alone.quantile(q) for q in (0.5, 0.99)]


def test_a_restart_continues_the_open_slots():
    topic, crash = Topic(), BEGAN + 7 * MINUTE
    run(topic, Recorder("serving/a"), BEGAN, crash, 5)
    again = Recorder("serving/a")
    again.resume(topic.history(crash + 30_000).rows_of("serving/a"), crash + 30_000)
    run(topic, again, crash + 30_000, crash + 30_000 + 4 * MINUTE, 5)
    now = crash + 30_000 + 4 * MINUTE
    history = topic.history(now)
    lost = {"15min": 0, "24h": 2 * 25, "7d": 2 * 5 * 60}
    for span, most in lost.items():
        assert 0 <= 5 * (210 + 120) - add_up(history.points(span, now))["accepted"] <= most, span
    hour = [point for point in history.points("7d", now) if point.time == SPANS["7d"].start(now)]
    assert len(hour) == 1, "one slot, of both lives"


def test_old_rows_and_rows_of_a_wrong_clock_are_ignored():
    topic, now = Topic(), BEGAN + HOUR
    run(topic, Recorder("serving/a"), BEGAN, BEGAN + MINUTE, 5)
    history = topic.history(now)
    assert history.points("15min", now) == []
    assert history.points("24h", now)
    history.add(
        "serving/b/15min/1", MetricsRow(time=now + HOUR, until=now + HOUR, counts={"accepted": 1}), now
    )
    assert history.points("15min", now) == []


def test_a_clock_that_is_set_back_stops_no_history_and_no_rate():
    topic, recorder = Topic(), Recorder("serving/a")
    for start in (BEGAN + DAY, BEGAN):
        run(topic, recorder, start, start + 10 * MINUTE, 5)
    assert recorder.window() == {"accepted": 25}, "of ten seconds"
    history = topic.history(BEGAN + 10 * MINUTE)
    for span in SPANS:
        points = history.points(span, BEGAN + 10 * MINUTE)
        assert add_up(point for point in points if point.time < BEGAN + HOUR)["accepted"] > 1000


@pytest.mark.parametrize("key", ["", "/", "serving/a", "serving/a/year/1", "a/b/c/d/e", "serving/a/"])
def test_a_key_of_another_version_is_ignored(key):
    history = History()
    history.add(key, MetricsRow(time=BEGAN, until=BEGAN), BEGAN)
    assert history.heartbeats(BEGAN) == []
    assert all(history.points(span, BEGAN) == [] for span in SPANS)


def beat(history: History, name: str, kind: str, received: int, **more) -> None:
    about = Process(kind=kind, url=f"http://{name}", started=received - 1000, ready=True)
    row = MetricsRow(time=received - 10_000, until=received, process=about, **more)
    history.add(f"{kind}/{name}/now", row, received)


def test_a_process_is_silent_after_seconds_and_delisted_after_an_hour():
    history = History()
    beat(history, "a", "serving", BEGAN)
    beat(history, "b", "serving", BEGAN + 9_000)

    def states(now: int) -> dict[str, str]:
        return {p["name"]: p["state"] for p in overview(history.heartbeats(now), [], "15min")["processes"]}

    assert states(BEGAN + 9_000) == {"a": "silent", "b": "ready"}
    assert states(BEGAN + 9_000 + int(LISTED_S * 1000)) == {}
    history.add("serving/b/now", None, BEGAN + 10_000)
    assert states(BEGAN + 10_000) == {"a": "silent"}, "a process that deregistered is not missed"


def test_current_figures_are_of_the_running_processes():
    history = History()
    beat(history, "a", "serving", BEGAN, counts={"accepted": 20, "late": 10}, gauges={"lag:0": 5, "users": 3})
    beat(
        history, "b", "serving", BEGAN, counts={"accepted": 30, "dead_letter:empty": 40}, gauges={"lag:1": 7}
    )
    beat(history, "c", "serving", BEGAN - 20_000, counts={"accepted": 1000}, gauges={"lag:2": 99})
    beat(history, "l", "learning", BEGAN, gauges={"learner_active": 1.0, "model_checkpoint": 8})
    cluster = overview(history.heartbeats(BEGAN), [], "15min")
    assert cluster["events_per_s"] == 10.0
    assert cluster["lag"] == {"0": 5, "1": 7}
    assert cluster["counts"]["users"] is None, "b is still counting"
    assert cluster["learner"]["name"] == "l"
    assert cluster["learner"]["checkpoint"] == 8


def test_processes_that_are_long_gone_are_forgotten_though_nobody_looks():
    history = History()
    for n in range(5_000):  # one a minute, each with another name
        beat(history, f"w{n}", "serving", BEGAN + n * MINUTE)
    assert len(history._heartbeats) == LISTED_S * 1000 / MINUTE
    beat(history, "w4950", "serving", BEGAN + 5_000 * MINUTE)
    now = BEGAN + 5_030 * MINUTE
    assert [beat.process for beat in history.heartbeats(now)] == [
        "serving/w4950", *(f"serving/w{n}" for n in range(4971, 5000)),
    ]  # fmt: skip
