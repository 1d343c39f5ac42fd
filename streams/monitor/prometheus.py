"""The figures as Prometheus reads them.  Nothing is labelled by user or item: series stay few."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.messages import REASONS
from streams.monitor.counts import AGE_BUCKETS_MS, Histogram
from streams.monitor.history import labelled
from streams.monitor.sample import Sample

_PROCESS = ProcessCollector(registry=None)
"""Memory, processor time, open files and start of this process."""


def exposition(metrics: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """The text and its content type, in the format that the scraper accepts."""
    registry = CollectorRegistry()
    registry.register(_Given([*metrics, *_PROCESS.collect()]))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class _Given(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def serving_metrics(reading: Sample) -> Iterator[Metric]:
    """A serving worker's."""
    totals, gauges = reading.totals, reading.gauges
    yield _counter(
        "freshet_events",
        "Events of this worker's partitions, by what became of them",
        "outcome",
        {
            "accepted": totals["accepted"],
            "duplicate": totals["duplicates"],
            "late": totals["late"],
            "replayed": totals["replayed"],
        },
    )
    yield _counter("freshet_recommendations", "Recommendations sent", value=totals["recommendations"])
    yield _counter(
        "freshet_dead_letters",
        "Records that could not be used, by reason",
        "reason",
        dict.fromkeys(REASONS, 0) | labelled(totals, "dead_letter"),
    )
    yield _histogram(
        "freshet_event_age_seconds", "From the event in Kafka to its recommendation", Histogram.of(totals)
    )
    yield from _model(gauges)
    yield _gauge("freshet_users", "Users in this worker's partitions", gauges.get("users"))
    lag = GaugeMetricFamily("freshet_lag_events", "Events in Kafka not served yet", labels=["partition"])
    for partition, events in labelled(gauges, "lag").items():
        lag.add_metric([partition], events)
    yield lag
    yield _counter(
        "freshet_predictions",
        "Events whose item could have been in the list that the user had been shown",
        value=totals["predictions"],
    )
    yield _counter(
        "freshet_hits",
        "... and was, or would have been in the list of what is popular",
        "by",
        {"recommended": totals["recommended_hits"], "popularity": totals["popular_hits"]},
    )
    yield _gauge(
        "freshet_uncommitted_events", "Events served, their offsets not committed yet", gauges["uncommitted"]
    )
    yield _counter("freshet_rebalances", "Times that partitions were given out", value=totals["rebalances"])
    yield _gauge("freshet_ready", "1 when tables and model are there to answer from", reading.process.ready)
    yield from _process(gauges)


def learner_metrics(reading: Sample) -> Iterator[Metric]:
    """A learner's; one that stands by says only that it does."""
    totals, gauges = reading.totals, reading.gauges
    active = gauges["learner_active"]
    yield _gauge("freshet_learner_active", "1 for the learner that learns, 0 for one that stands by", active)
    yield from _process(gauges)
    if active:
        yield _counter("freshet_examples", "Examples learnt, each once", value=totals["examples"])
        yield _counter(
            "freshet_examples_repeated", "Examples skipped because they were learnt before",
            value=totals["examples_repeated"],
        )  # fmt: skip
        yield _counter(
            "freshet_examples_unusable", "Records that were no example", value=totals["examples_unusable"]
        )
        yield _gauge(
            "freshet_learner_lag_examples", "Examples in Kafka not learnt yet", gauges["learner_lag"]
        )
        yield from _model(gauges)


def _model(gauges: Mapping[str, float]) -> Iterator[Metric]:
    checkpoint, age = gauges["model_checkpoint"], gauges.get("model_age_ms")
    yield _gauge("freshet_model_checkpoint", "The model's checkpoint; 0: nothing learnt", checkpoint)
    yield _gauge("freshet_model_items", "Items in the model", gauges["model_items"])
    yield _gauge(
        "freshet_model_age_seconds", "Age of the model's checkpoint", None if age is None else age / 1000
    )


def _process(gauges: Mapping[str, float]) -> Iterator[Metric]:
    yield _gauge("freshet_disk_bytes", "Size of the data folder", gauges["disk_bytes"])


def _counter(
    name: str, what: str, label: str = "", by: Mapping[str, float] | None = None, value: float = 0
) -> Metric:
    if by is None:
        return CounterMetricFamily(name, what, value=value)
    family = CounterMetricFamily(name, what, labels=[label])
    for key, count in by.items():
        family.add_metric([key], count)
    return family


def _gauge(name: str, what: str, value: float | None) -> Metric:
    """Without a sample where there is no figure."""
    family = GaugeMetricFamily(name, what)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _histogram(name: str, what: str, ages: Histogram) -> Metric:
    buckets, seen = [], 0
    for bound, count in zip((*AGE_BUCKETS_MS, None), ages.buckets, strict=True):
        seen += count
        buckets.append(("+Inf" if bound is None else str(bound / 1000), seen))
    return HistogramMetricFamily(name, what, buckets=buckets, sum_value=ages.sum_ms / 1000)
