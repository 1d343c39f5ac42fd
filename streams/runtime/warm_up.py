"""Compile kernels before a process is ready, so that no event waits for them.

numba compiles a kernel for each memory layout of its arrays, and an array of one row has another layout than
one of several: hence batches of one and of two.
"""

from collections.abc import Iterable

import numpy as np

from models.catalog import Entry, columns
from models.core import Example, Profile, Query
from streams.runtime.factory import make_model, make_quality, make_recommender
from streams.settings import Settings
from streams.step.serve import Recommender

ONE_AND_SEVERAL = (1, 2)
SMALL = 100
"""Items of a model that is thrown away."""


def warm_up_recommender(recommender: Recommender, k: int, placements: Iterable[str] = ()) -> None:
    """Recommend lists of k items for empty queries, of each placement too, which compiles the kernels."""
    for size in ONE_AND_SEVERAL:
        for placement in ("", *placements):
            recommender.recommend([Query((), 0, 0, placement=placement)] * size, k)


def warm_up_replica(settings: Settings) -> None:
    """Apply rows of a model that has learnt nothing to a small one that is thrown away."""
    small = make_model(settings.model_copy(update={"max_items": SMALL}))
    for size in ONE_AND_SEVERAL:
        small.apply(small.prepare(small.parts.dump_first(size).items()))


def warm_up_catalog(settings: Settings) -> None:
    """Recommend from a small model with a catalog, which is thrown away: rules, filters, and new items."""
    small = settings.model_copy(update={"max_items": SMALL})
    model = make_model(small)
    known = [Example("u", n, n, "view", "0") for n in range(SMALL // 2)]
    model.statistics.learn(model.batch(known))
    items = ["0", "1"]
    for item in items:
        model.items.reserve(item)
    model.catalog.begin()
    rows = np.array(model.items.rows(items), np.int32)
    kept = model.catalog.kept
    entry = Entry(text="warm up", vectors={name: [1.0] * size for name, size in kept.vectors.items()})
    model.catalog.put(rows, columns([entry] * len(items), kept))
    model.refresh()
    recommender = make_recommender(small, model)
    plain = Query(("1",), 1, 0)
    somebody = plain._replace(profile=Profile({"adult": "yes"}, ("0",), ("brand",)))
    for query in (plain, somebody, somebody._replace(excluded=("0", "1")), plain._replace(where="{}")):
        for size in ONE_AND_SEVERAL:
            recommender.recommend([query] * size, small.list_length)


def warm_up_learner(settings: Settings) -> None:
    """Learn, measure and publish with a small model that is thrown away; also imports torch if it is used."""
    always = {"measure_every": 1, "frozen_twin_h": 1e-9}  # measures every example, refreshes a twin each time
    small = settings.model_copy(update={"max_items": SMALL, **always})
    model = make_model(small)
    quality = make_quality(small, model)
    for n in range(3):
        for size in ONE_AND_SEVERAL:
            examples = [
                Example(str(user), n, n, "view", str(n), history=("0", "1"), session_size=2)
                for user in range(size)
            ]
            quality.observe(examples)
            model.learn(examples)
            quality.learnt(examples)
            quality.published(model.dump_touched())
