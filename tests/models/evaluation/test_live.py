"""Live quality on streams whose counts are known beforehand."""

import sys
import threading

import numpy as np

from models.core import Example, Shown
from models.evaluation.evaluated import EvaluatedRecommender
from models.evaluation.live import FROZEN, NOW, SHOWN, LiveQuality, by_recommender
from models.evaluation.replicas import DelayedReplica
from models.model import Model
from models.recommender import Recommender
from streams.monitor.sample import as_counters
from tests.models import arrays

START_MS = 1_700_000_000_000


def example(item, *before, time=0):
    return arrays.example(item, *before, time=START_MS + time)


def pairs(names: list[str], step_ms: int = 1) -> list[Example]:
    """Sessions of two items, `a` and `b` of each name; only the second can be predicted."""
    examples = []
    for n, name in enumerate(names):
        examples += [example(f"a{name}", time=n * step_ms), example(f"b{name}", f"a{name}", time=n * step_ms)]
    return examples


def live_quality(every: int = 1, refresh_ms: int | None = None) -> tuple[LiveQuality, Model]:
    model, other = Model(["next", "popularity"], 100), Model(["next", "popularity"], 100)
    weights = {"next": 1.0, "popularity": 0.01}
    recommenders = [EvaluatedRecommender(NOW, model, Recommender(model, weights))]
    replicas = [DelayedReplica(FROZEN, other, refresh_ms)] if refresh_ms else []
    recommenders += [EvaluatedRecommender(r.name, r.model, Recommender(r.model, weights)) for r in replicas]
    recommenders.append(EvaluatedRecommender("popularity", model, Recommender(model, {"popularity": 1.0})))
    return LiveQuality(recommenders, replicas, every), model


def counts_of(quality: LiveQuality, model: Model, examples: list[Example], size: int = 1) -> dict:
    """Measure, learn and publish the examples in micro-batches; returns the counts by recommender."""
    for at in range(0, len(examples), size):
        part = examples[at : at + size]
        quality.observe(part)
        model.learn(part)
        quality.learnt(part)
        quality.published(model.dump_touched())
    return by_recommender(quality.totals)


def test_nothing_is_learnt_before_it_is_measured():
    """Each pair is new: a hit would mean that it was learnt before it was measured."""
    quality, model = live_quality()
    counts = counts_of(quality, model, pairs([str(n) for n in range(40)]))
    assert counts[NOW]["all"] == {"predictions": 40}


def test_a_repeated_pair_is_hit_from_its_second_time_on():
    quality, model = live_quality()
    counts = counts_of(quality, model, pairs([str(n % 10) for n in range(40)]))
    assert counts[NOW]["all"] == {"predictions": 40, "hits": 30, "reciprocal_ranks": 30, "gains": 30}
    assert counts[NOW]["item unknown"] == {"predictions": 10}
    assert counts[NOW]["user new"] == counts[NOW]["all"]
    assert counts[NOW]["type view"] == counts[NOW]["all"]
    assert quality.totals["lift:popularity|predictions"] == 40
    missed = 30 - counts["popularity"]["all"].get("hits", 0)
    assert quality.totals["lift:popularity|difference"] == missed == quality.totals["lift:popularity|squares"]


def test_ranks_of_shown_lists_are_those_of_the_examples():
    quality, model = live_quality(every=1000)
    shown = [example("b", "a") for _ in range(3)]
    shown[0].shown, shown[1].shown = Shown("0-1", 0), Shown("0-2", 3)
    counts = counts_of(quality, model, [*shown, example("first of a user")])
    assert counts[SHOWN]["all"]["predictions"] == 3
    assert counts[SHOWN]["all"]["hits"] == 2
    assert counts[SHOWN]["all"]["reciprocal_ranks"] == 1 + 1 / 4


def test_one_example_in_every_seven_is_measured():
    quality, model = live_quality(every=7)
    counts = counts_of(quality, model, [example(f"b{n % 3}", "a", time=n) for n in range(100)], size=9)
    assert counts[NOW]["all"]["predictions"] == 15  # of 100: the first, and every seventh after it


def test_a_delayed_replica_knows_the_rows_published_before_its_refresh():
    """Pairs repeat within an hour and never after it: a replica that is an hour old never hits."""
    quality, model = live_quality(refresh_ms=3_600_000)
    names = [f"{hour}-{n % 5}" for hour in range(3) for n in range(60)]
    counts = counts_of(quality, model, pairs(names, step_ms=60_000))
    assert counts[NOW]["all"]["hits"] == 3 * 55
    assert "hits" not in counts[FROZEN]["all"]
    assert quality.gauges()["twin_age_ms:frozen"] == 59 * 60_000


def test_the_number_of_segments_is_bounded():
    quality, model = live_quality()
    counts_of(
        quality, model, [Example("u", n, START_MS + n, f"type-{n}", "b", history=("a",)) for n in range(200)]
    )
    assert len(by_recommender(quality.totals)[NOW]) < 40


def test_lists_are_measured_after_enough_of_them():
    quality, model = live_quality()
    rng = np.random.default_rng(1)
    counts_of(quality, model, [example(f"b{rng.integers(20)}", "a", time=n) for n in range(2100)], size=100)
    assert 0 < quality.gauges()["lists:coverage"] <= 1
    assert quality.gauges()["lists:novelty"] > 0


def test_totals_are_read_while_another_thread_counts():
    quality, _ = live_quality()
    reads = threading.Event()

    def count() -> None:
        n = 0
        while not reads.is_set():
            n = (n + 1) % 50_000 or quality.totals.clear() or 0
            quality.totals[f"quality:now|type {n}|hits"] += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(300):
            as_counters(quality.counts())
    finally:
        reads.set()
        thread.join()
        sys.setswitchinterval(interval)
