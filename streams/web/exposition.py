"""The figures as Prometheus reads them.  Nothing is labelled by user or item: series stay few."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.messages import REASONS
from streams.metrics import AGE_BUCKETS_MS, Histogram

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


def serving_metrics(figures: Mapping[str, Any], ages: Histogram) -> Iterator[Metric]:
    """A serving worker's, from the figures of its overview and the ages since its start."""
    counts, model, hits = figures["counts"], figures["model"], figures["hits"]
    yield _counter(
        "freshet_events",
        "Events of this worker's partitions, by what became of them",
        "outcome",
        {
            "accepted": counts["accepted"],
            "duplicate": counts["duplicates"],
            "late": counts["late"],
            "replayed": counts["replayed"],
        },
    )
    yield _counter("freshet_recommendations", "Recommendations sent", value=counts["recommendations"])
    yield _counter(
        "freshet_dead_letters",
        "Records that could not be used, by reason",
        "reason",
        dict.fromkeys(REASONS, 0) | figures["dead_letters"],
    )
    yield _histogram("freshet_event_age_seconds", "From the event in Kafka to its recommendation", ages)
    yield from _model(model["checkpoint"], model["items"], model["age_ms"])
    yield _gauge("freshet_users", "Users in this worker's partitions", counts["users"])
    lag = GaugeMetricFamily("freshet_lag_events", "Events in Kafka not served yet", labels=["partition"])
    for partition, events in figures["lag"].items():
        lag.add_metric([partition], events)
    yield lag
    yield _counter(
        "freshet_predictions",
        "Events whose item could have been in the list that the user had been shown",
        value=hits["predictions"],
    )
    yield _counter(
        "freshet_hits",
        "... and was, or would have been in the list of what is popular",
        "by",
        {"recommended": hits["recommended"], "popularity": hits["popularity"]},
    )
    yield _gauge("freshet_ready", "1 when tables and model are there to answer from", figures["ready"])


def learner_metrics(figures: Mapping[str, Any]) -> Iterator[Metric]:
    """A learner's; one that stands by says only that it does."""
    active = figures["state"] == "active"
    yield _gauge("freshet_learner_active", "1 for the learner that learns, 0 for one that stands by", active)
    if active:
        yield _counter("freshet_examples", "Examples learnt, each once", value=figures["examples"])
        yield _counter(
            "freshet_examples_repeated", "Examples skipped because they were learnt before",
            value=figures["repeated"],
        )  # fmt: skip
        yield _counter("freshet_examples_unusable", "Records that were no example", value=figures["unusable"])
        yield _gauge("freshet_learner_lag_examples", "Examples in Kafka not learnt yet", figures["lag"])
        yield from _model(figures["checkpoint"], figures["items"], figures["publish_age_ms"])


def _model(checkpoint: int, items: int | None, age_ms: float | None) -> Iterator[Metric]:
    yield _gauge("freshet_model_checkpoint", "The model's checkpoint; 0: nothing learnt", checkpoint)
    yield _gauge("freshet_model_items", "Items in the model", items)
    age = None if age_ms is None else age_ms / 1000
    yield _gauge("freshet_model_age_seconds", "Age of the model's checkpoint", age)


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
