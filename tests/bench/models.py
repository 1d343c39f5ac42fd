"""Models: CPU time to learn an example and to rank for a session, with the default model, without Kafka.

Unit: µs, the best of three turns; and the rows of a checkpoint of 500 examples.

    python -m tests.bench models
"""

import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from models.core import HISTORY, Query
from models.model import Model
from streams.runtime.factory import make_model, make_recommender
from streams.settings import Settings
from tests.bench.clicks import ITEMS
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import batches, examples
from tests.bench.report import Row

CLICKS = 300_000
"""Clicks learnt before the measurement, 7 an item."""
MEASURED = 20_000
"""Clicks of a turn."""
BATCH = 256
LIVE = 50
"""Examples of a micro-batch at 1,000 events/s: the learner gathers them for 50 ms."""
PUBLISHED = 500
"""Examples of a checkpoint at that rate."""


def models(bench: Bench) -> list[Row]:
    """Measure microseconds an example and a session, the best of three turns."""
    settings = Settings(max_items=100_000, seed=bench.seed)
    filled, measured = bench.scaled(CLICKS), bench.scaled(MEASURED)
    now = int(time.time() * 1000)
    stream = examples(filled + 3 * measured + PUBLISHED, bench.seed, now)
    progress(f"models: learning {filled:,} clicks on {ITEMS:,} items")
    ranked = make_model(settings)
    plain = Model(settings.generators, settings.max_items, parameters=settings.model_parameters)
    for batch in batches(islice(stream, filled), settings.learn_batch):
        for model in (ranked, plain):
            model.learn(batch)
    learn: dict[tuple[str, int], list[float]] = {}
    rank: dict[int, list[float]] = {BATCH: [], 1: []}
    recommender = make_recommender(settings, ranked)
    for turn in batches(islice(stream, 3 * measured), measured):
        queries = [Query((*e.history, e.item)[-HISTORY:], e.session_size + 1, now) for e in turn]
        for size, times in rank.items():
            sample = queries if size > 1 else queries[: measured // 10]
            parts = list(batches(sample, size))
            recommender.recommend(parts[0], settings.list_length)  # compiles for these shapes
            cpu_us = _cpu_us(lambda part: recommender.recommend(part, settings.list_length), parts)
            times.append(cpu_us / len(sample))
        few, rest = turn[: measured // 10], turn[measured // 10 :]
        for name, model in (("plain", plain), ("ranked", ranked)):
            for size, sample in ((LIVE, few), (settings.learn_batch, rest)):
                parts = list(batches(sample, size))
                cpu_us = _cpu_us(model.learn, parts)
                learn.setdefault((name, size), []).append(cpu_us / len(sample))
    ranked.dump_touched()
    for batch in batches(islice(stream, PUBLISHED), LIVE):
        ranked.learn(batch)
    rows = len(ranked.dump_touched())
    generators, full = ", ".join(settings.generators), settings.learn_batch
    return [
        Row("models", "learn an example: counts and embeddings", min(learn["plain", full]), "µs", at_most=25,
            note=generators, details={"turns": learn["plain", full]}),
        Row("models", "... with the ranker", min(learn["ranked", full]), "µs", at_most=60,
            note=settings.ranker, details={"turns": learn["ranked", full]}),
        Row("models", f"... counts and embeddings, {LIVE} at once", min(learn["plain", LIVE]), "µs",
            details={"turns": learn["plain", LIVE]}),
        Row("models", f"... with the ranker, {LIVE} at once", min(learn["ranked", LIVE]), "µs",
            details={"turns": learn["ranked", LIVE]}),
        Row("models", f"a checkpoint of {PUBLISHED} examples, {LIVE} at once", rows, "rows"),
        Row("models", f"propose, rank, list, {BATCH} sessions at once", min(rank[BATCH]), "µs a session",
            at_most=80, details={"turns": rank[BATCH]}),
        Row("models", "... one session at a time", min(rank[1]), "µs", at_most=120,
            details={"turns": rank[1]}),
    ]  # fmt: skip


def _cpu_us(work: Callable[[list[Any]], object], parts: list[list[Any]]) -> float:
    """CPU time of this process for the work on all parts, µs: other processes do not count."""
    start = time.process_time()
    for part in parts:
        work(part)
    return (time.process_time() - start) * 1e6
