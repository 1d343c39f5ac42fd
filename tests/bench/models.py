"""What learning and ranking cost on one core, without Kafka: the model alone, at the defaults."""

import time
from collections.abc import Callable
from itertools import islice

from models.core import HISTORY, Query
from models.model import Model
from streams.runtime.factory import make_model, make_recommender
from streams.settings import Settings
from tests.bench.clicks import ITEMS
from tests.bench.figures import Row
from tests.bench.filled import batches, examples
from tests.bench.site import Bench, say

CLICKS = 300_000
"""Learnt beforehand: 7 an item."""
MEASURED = 20_000
BATCH = 256
LIVE = 50
"""Examples of a micro-batch at 1,000 events/s: the learner waits 50 ms for them."""
PUBLISHED = 500
"""Examples of a checkpoint, then."""


def models(bench: Bench) -> list[Row]:
    """Microseconds an example and a session, the best of three turns."""
    settings = Settings(max_items=100_000, seed=bench.seed)
    filled, measured = bench.scaled(CLICKS), bench.scaled(MEASURED)
    now = int(time.time() * 1000)
    stream = examples(filled + 3 * measured + PUBLISHED, bench.seed, now)
    say(f"models: learning {filled:,} clicks on {ITEMS:,} items")
    ranked = make_model(settings)
    plain = Model(settings.generators, settings.max_items, parameters=settings.model_parameters)
    for model in (ranked, plain):
        model.warm_up()
    for part in batches(islice(stream, filled), settings.learn_batch):
        for model in (ranked, plain):
            model.learn(part)
    learn: dict[tuple[str, int], list[float]] = {}
    rank: dict[int, list[float]] = {BATCH: [], 1: []}
    recommender = make_recommender(settings, ranked)
    for turn in batches(islice(stream, 3 * measured), measured):
        asked = [Query((*e.history, e.item)[-HISTORY:], e.session_size + 1, now) for e in turn]
        for size, times in rank.items():
            some = asked if size > 1 else asked[: measured // 10]
            parts = list(batches(some, size))
            recommender.recommend(parts[0], settings.list_length)  # of these shapes it is compiled
            took = _took(lambda: [recommender.recommend(one, settings.list_length) for one in parts])  # noqa: B023
            times.append(took / len(some))
        few, rest = turn[: measured // 10], turn[measured // 10 :]
        for name, model in (("plain", plain), ("ranked", ranked)):
            for size, some in ((LIVE, few), (settings.learn_batch, rest)):
                parts = list(batches(some, size))
                took = _took(lambda: [model.learn(one) for one in parts]) / len(some)  # noqa: B023
                learn.setdefault((name, size), []).append(took)
    ranked.dump_touched()
    for one in batches(islice(stream, PUBLISHED), LIVE):
        ranked.learn(one)
    rows = len(ranked.dump_touched())
    generators, most = ", ".join(settings.generators), settings.learn_batch
    return [
        Row("models", "learn an example: counts and embeddings", min(learn["plain", most]), "µs", at_most=25,
            note=generators, details={"turns": learn["plain", most]}),
        Row("models", "... with the ranker", min(learn["ranked", most]), "µs", at_most=60,
            note=settings.ranker, details={"turns": learn["ranked", most]}),
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


def _took(work: Callable[[], object]) -> float:
    """Microseconds of this process's cores: what else runs on the machine is not in them."""
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e6
