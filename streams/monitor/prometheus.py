"""The metrics for Prometheus.  No label is a user or an item, so that there are few series."""

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
"""Memory, CPU time, open files and start time of this process."""


def exposition(metrics: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """Body and content type, in the format that the scraper accepts."""
    registry = CollectorRegistry()
    registry.register(_Collected([*metrics, *_PROCESS.collect()]))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class _Collected(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def serving_metrics(sample: Sample) -> Iterator[Metric]:
    """The metrics of a serving worker."""
    totals, gauges = sample.totals, sample.gauges
    yield _counter(
        "freshet_events",
        "Events of this worker's partitions, by outcome",
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
        "freshet_recommendations_skipped",
        "Events that got no recommendation, because the worker was behind and their user's later one did",
        value=totals["skipped"],
    )
    yield _counter(
        "freshet_dead_letters",
        "Records on events that were not a valid event, by reason",
        "reason",
        dict.fromkeys(REASONS, 0) | labelled(totals, "dead_letter"),
    )
    yield _histogram(
        "freshet_event_age_seconds",
        "Age of a recommendation, from the event's arrival in Kafka",
        Histogram.from_counts(totals),
    )
    yield _counter(
        "freshet_lost_events",
        "Events that retention deleted, or that a reset of the group skipped, before they were served",
        "partition",
        labelled(totals, "lost_events"),
    )
    yield from _model(gauges)
    yield _gauge(
        "freshet_model_components_not_updated",
        "Components of the model that keep an earlier state, because the learner's have another layout",
        gauges["model_not_updated"],
    )
    yield _gauge(
        "freshet_model_differences",
        "Components and settings of the model in which this worker differs from the learner",
        gauges["model_differences"],
    )
    yield _gauge("freshet_catalog_items", "Items in the catalog", gauges["catalog_items"])
    yield _gauge(
        "freshet_catalog_items_without_row",
        "Items of the catalog without a row in the model, which are never recommended",
        gauges["catalog_without_row"],
    )
    yield _counter(
        "freshet_catalog_rejected",
        "Records of the catalog that could not be used",
        value=totals["catalog_rejected"],
    )
    yield _counter(
        "freshet_rule_dropped_items",
        "Items that a rule left out of lists in which they would have been",
        "rule",
        labelled(totals, "rule_dropped"),
    )
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
        "Predictions whose item was in that list, or among the most popular items",
        "by",
        {"recommended": totals["recommended_hits"], "popularity": totals["popular_hits"]},
    )
    yield _gauge(
        "freshet_uncommitted_events",
        "Events served whose offsets are not committed yet",
        gauges["uncommitted"],
    )
    yield _counter(
        "freshet_local_state_repairs",
        "Local state that was set aside and restored from Kafka, or written to Kafka again, by kind",
        "kind",
        labelled(totals, "repairs"),
    )
    yield _counter("freshet_rebalances", "Rebalances of this worker", value=totals["rebalances"])
    yield _gauge(
        "freshet_ready",
        "1 when users and model are loaded and the topics are as at the start, else 0",
        sample.process.ready,
    )
    yield from _process(gauges)


def learner_metrics(sample: Sample) -> Iterator[Metric]:
    """The metrics of a learner; a standby has only those of its process."""
    totals, gauges = sample.totals, sample.gauges
    active = gauges["learner_active"]
    yield _gauge("freshet_learner_active", "1 for the active learner, 0 for a standby", active)
    yield from _process(gauges)
    yield _counter(
        "freshet_lost_examples",
        "Examples that retention deleted before they were learnt",
        "partition",
        labelled(totals, "lost_examples"),
    )
    if active:
        yield _counter("freshet_examples", "Examples learnt, each counted once", value=totals["examples"])
        yield _counter(
            "freshet_examples_repeated", "Examples skipped because they had been learnt before",
            value=totals["examples_repeated"],
        )  # fmt: skip
        yield _counter(
            "freshet_examples_unusable",
            "Records skipped because they were not a valid example",
            value=totals["examples_unusable"],
        )
        yield _gauge(
            "freshet_learner_lag_examples", "Examples in Kafka not learnt yet", gauges["learner_lag"]
        )
        yield _gauge(
            "freshet_model_unread_rows",
            "Rows on the topic model that no component reads, to be deleted",
            gauges["model_unread_rows"],
        )
        yield _counter(
            "freshet_model_deleted_rows",
            "Rows deleted because no component read them",
            value=totals["model_deleted_rows"],
        )
        yield from _model(gauges)


def _model(gauges: Mapping[str, float]) -> Iterator[Metric]:
    checkpoint, age = gauges["model_checkpoint"], gauges.get("model_age_ms")
    yield _gauge(
        "freshet_model_checkpoint", "Number of the model's checkpoint; 0 before the first", checkpoint
    )
    yield _gauge("freshet_model_items", "Items in the model", gauges["model_items"])
    yield _gauge(
        "freshet_model_age_seconds", "Age of the model's checkpoint", None if age is None else age / 1000
    )


def _process(gauges: Mapping[str, float]) -> Iterator[Metric]:
    yield _gauge("freshet_disk_bytes", "Size of the data folder, bytes", gauges["disk_bytes"])
    yield _gauge(
        "freshet_clock_skew_seconds",
        "How far the machine's clock is ahead of Kafka's; of a clock that was set, if Kafka's is not known",
        gauges["clock_skew_s"],
    )


def _counter(
    name: str, help: str, label: str = "", by_label: Mapping[str, float] | None = None, value: float = 0
) -> Metric:
    if by_label is None:
        return CounterMetricFamily(name, help, value=value)
    family = CounterMetricFamily(name, help, labels=[label])
    for key, count in by_label.items():
        family.add_metric([key], count)
    return family


def _gauge(name: str, help: str, value: float | None) -> Metric:
    """A gauge; without a sample if the value is None."""
    family = GaugeMetricFamily(name, help)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _histogram(name: str, help: str, ages: Histogram) -> Metric:
    buckets, seen = [], 0
    for bound, count in zip((*AGE_BUCKETS_MS, None), ages.buckets, strict=True):
        seen += count
        buckets.append(("+Inf" if bound is None else str(bound / 1000), seen))
    return HistogramMetricFamily(name, help, buckets=buckets, sum_value=ages.sum_ms / 1000)
