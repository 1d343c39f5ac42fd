"""Once worker and learner are ready, no kernel is left to compile or to load."""

import pickle
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from models.catalog import Entry, columns
from models.core import Example, Profile, Query
from models.model import Model
from streams.clients.shop import Shop
from streams.runtime.factory import make_model, make_quality, make_recommender
from streams.runtime.warm_up import warm_up_catalog, warm_up_learner, warm_up_recommender, warm_up_replica
from streams.settings import Settings

PLAIN = {"measure_every": 5, "frozen_twin_h": 0.05, "max_items": 10_000}
SETTINGS = {
    "plain": Settings(**PLAIN),
    "all of the catalog": Settings(
        **PLAIN,
        catalog_vectors={"image": 8},
        catalog_filters=["colour", "tags"],
        rules=[{"rule": "diversity", "over": "image"}, {"rule": "at-most"}],
    ),
}
BATCHES = (1, 2, 5, 300)


def shop_examples() -> list[list[Example]]:
    shop, histories, time = Shop(random.Random(0)), defaultdict(list), 1_700_000_000_000
    batches = []
    for size in (*BATCHES, *BATCHES):
        batches.append([])
        for _ in range(size):
            time += 5
            event = shop.event(time)
            before = tuple(histories[event.user][-10:])
            batches[-1].append(
                Example(event.user, 0, time, event.type, event.item, history=before, session_size=len(before))
            )
            histories[event.user].append(event.item)
    return batches


def loaded_kernels() -> set[tuple[str, str]]:
    """Every kernel that this process has compiled or loaded, with the types of its arguments."""
    return {
        (f"{kernel.py_func.__module__}.{kernel.py_func.__name__}", str(signature))
        for name, module in list(sys.modules.items())
        if name.startswith("models.")
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
        for signature in kernel.signatures
    }


def late_kernels_of_a_learner(settings: Settings, published: Path) -> set[tuple[str, str]]:
    warm_up_learner(settings)
    warm = loaded_kernels()
    model = make_model(settings)
    quality, rows = make_quality(settings, model), []
    for examples in shop_examples():
        quality.observe(examples)
        model.learn(examples)
        quality.learnt(examples)
        rows.append(model.dump_touched())
        quality.published(rows[-1])
    published.write_bytes(pickle.dumps(rows))
    return loaded_kernels() - warm


def late_kernels_of_a_worker(settings: Settings, published: Path) -> set[tuple[str, str]]:
    model = make_model(settings)
    recommender = make_recommender(settings, model, settings.ranking_threads)
    warm_up_recommender(recommender, settings.list_length)
    warm_up_replica(settings)
    warm_up_catalog(settings)
    warm = loaded_kernels()
    hidden = Profile({"country": "NO", "adult": "yes"}, ("item-1", "item-2"), ("brand-1", "brand-2"))
    for rows in pickle.loads(published.read_bytes()):
        model.apply(model.prepare(rows.items()))
        list_all(model)
        for examples in shop_examples():
            queries = [
                Query((*example.history, example.item), example.time, example.session_size + 1)
                for example in examples
            ]
            queries[0] = queries[0]._replace(profile=hidden)
            recommender.recommend(queries, settings.list_length)
            queries[0] = queries[0]._replace(excluded=("item-3",), where='{"brand": "brand-1"}', k=7)
            recommender.recommend(queries, settings.list_length)
    recommender.popular(settings.list_length)
    return loaded_kernels() - warm


def list_all(model: Model) -> None:
    rows = np.flatnonzero([bool(item) for item in model.items.ids])
    model.catalog.begin()
    entries = (
        Entry(
            group=f"g{n // 2}",
            brand=f"brand-{n % 3}",
            text=f"word{n % 9}",
            attributes={"colour": n % 3},
            vectors={"image": [n % 2 == m for m in range(8)]},
        )
        for n in rows.tolist()
    )
    model.catalog.put(rows, columns(entries, model.catalog.kept))
    model.refresh()


def in_a_new_process(function: str, settings: str, published: Path) -> str:
    call = f"{function}(SETTINGS[{settings!r}], Path({str(published)!r}))"
    code = f"from tests.runtime.test_warm_up import *; print({call})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("settings", SETTINGS)
def test_no_event_waits_for_a_kernel(tmp_path, settings):
    published = tmp_path / "rows"
    assert in_a_new_process("late_kernels_of_a_learner", settings, published) == "set()"
    assert in_a_new_process("late_kernels_of_a_worker", settings, published) == "set()"
