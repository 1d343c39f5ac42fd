"""Rules: CPU time that the catalog and the rules take of making a list of 20 from 160 candidates.

Unit: µs of CPU time a list, in micro-batches of 64 and of one.  The ways take turns, so that the machine's
load is in all of them alike.  Without Kafka.

    python -m tests.bench rules
"""

import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from models.catalog import Entry, columns
from models.core import Query
from models.model import Model
from models.recommender import Recommender
from models.rerank.rules import Rules
from streams.runtime.factory import make_model
from streams.settings import Settings
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import batches, examples
from tests.bench.report import Row

LEARNT, QUERIES, LENGTH = 60_000, 2_048, 20
MOST_US, MOST_DIVERSE_US = 8.0, 33.0
TURNS = 15
ALL = (
    {"rule": "one-of-group"},
    {"rule": "not-bought"},
    {"rule": "not-recent", "last": 3},
    {"rule": "at-most", "of": "category", "n": 5},
    {"rule": "hidden"},
    {"rule": "adult"},
)
DIVERSE = {
    f"and {method} over {over}": {"rule": "diversity", "method": method, "over": over}
    for method, over in (("dpp", "embeddings"), ("mmr", "embeddings"), ("dpp", "words"))
}
SIZES = (64, 1)


def rules(bench: Bench) -> list[Row]:
    """Measure lists without a catalog, with one, and with all rules."""
    settings = Settings(max_items=60_000)
    models = {True: make_model(settings), False: make_model(settings)}
    progress("rules: learning")
    learnt = list(examples(bench.scaled(LEARNT), bench.seed, int(time.time() * 1000)))
    for part in batches(learnt, settings.learn_batch):
        for model in models.values():
            model.learn(part)
    _list_all(models[True])
    queries = [
        Query(e.history, e.session_size, e.time, types=e.types, times=e.times) for e in learnt[-QUERIES:]
    ]
    ways = {
        "without a catalog": _recommender(settings, models[False], ()),
        "a catalog": _recommender(settings, models[True], ()),
        "a catalog and six rules": _recommender(settings, models[True], ALL),
        "and a price band": _recommender(settings, models[True], (*ALL, {"rule": "price-band"})),
        "and a boost": _recommender(settings, models[True], (*ALL, {"rule": "boost", "brands": ["b7"]})),
        "and novelty": _recommender(settings, models[True], (*ALL, {"rule": "novelty"})),
    } | {name: _recommender(settings, models[True], (*ALL, rule)) for name, rule in DIVERSE.items()}
    rows = []
    for size in SIZES:
        progress(f"rules: micro-batches of {size}")
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, recommender in ways.items():
                taken[name].append(_us(recommender, queries, size))
        without = np.array(taken["without a catalog"])
        for name, values in taken.items():
            more = median((np.array(values) - without).tolist())
            bar = MOST_DIVERSE_US if name in DIVERSE else MOST_US if more else None
            note = f"{median(values):.1f} µs a list in all"
            rows.append(Row(f"rules, micro-batches of {size}", name, more, "µs CPU", at_most=bar, note=note))
    return rows


def _recommender(settings: Settings, model: Model, wanted: Sequence[dict[str, object]]) -> Recommender:
    return Recommender(model, settings.generators, settings.ranker, rules=Rules(wanted))


def _list_all(model: Model) -> None:
    """A catalog of all items: products of three variants, 50 brands, 200 categories, a tenth sold out."""
    rows = np.arange(len(model.items.ids))
    entries = (
        Entry(
            n % 10 > 0,
            n % 40 == 0,
            price=10 + n % 90,
            group=f"g{n // 3}",
            brand=f"b{n % 50}",
            categories=(f"c{n % 20}/d{n % 200}",),
            text=f"name{n % 300} kind{n % 20} colour{n % 7}",
        )
        for n in rows.tolist()
    )
    model.catalog.put(rows, columns(entries))
    model.catalog.begin()


def _us(recommender: Recommender, queries: Sequence[Query], size: int) -> float:
    """CPU time a list, µs."""
    count = len(queries) if size > 1 else len(queries) // 8
    began = time.process_time()
    for at in range(0, count, size):
        recommender.recommend(queries[at : at + size], LENGTH)
    return 1e6 * (time.process_time() - began) / count
