"""Caps: rows, keys and memory of a model that sees many more items than it has rows for, without Kafka.

Units: rows and keys; MiB of resident memory gained once every table is full; bytes an item; µs an example.

    python -m tests.bench caps
"""

import resource
import time
from pathlib import Path

from models.core import Example
from models.model import Model
from models.registry import GENERATORS
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import batches
from tests.bench.report import Row
from tests.models.arrays import nbytes

DISTINCT = 5_000_000
"""Distinct items, and distinct users: each comes once."""
MAX_ITEMS = 100_000
SETTLED = 4
"""Every table is full after `SETTLED` × `MAX_ITEMS` items."""
EXCLUDED = {"embedding", "gru", "transformer", "matrix-factorisation"}
"""Generators that learn in torch, where 5 million steps take an hour; their rows expire like all others."""


def caps(bench: Bench) -> list[Row]:
    """Measure every generator of counts at once, under a stream in which nothing comes twice."""
    names = [name for name in GENERATORS if name not in EXCLUDED]
    model, distinct, keys = Model(names, MAX_ITEMS), bench.scaled(DISTINCT), set()
    stream = (_example(number) for number in range(distinct))
    start, settled = time.monotonic(), 0.0
    for number, batch in enumerate(batches(stream, 10_000)):
        model.learn(batch)
        keys |= model.dump_touched().keys()
        done = (number + 1) * 10_000
        if done == SETTLED * MAX_ITEMS:
            settled = _resident_mib()
        if done % 500_000 == 0:
            progress(f"caps: {done:,} of {distinct:,} distinct items, {len(model.items):,} have a row")
    elapsed_s = time.monotonic() - start
    tables = [*model.generators.values(), model.statistics, model.coverage]
    rows = MAX_ITEMS + sum(table.state.rows for table in tables)
    allocated = sum(map(nbytes, model.generators.values()))
    return [
        Row("caps", f"items with a row, of {distinct:,} distinct", len(model.items), "", at_most=MAX_ITEMS),
        Row("caps", "keys on the model topic", len(keys), "", at_most=rows, note=", ".join(names)),
        Row("caps", f"resident memory gained since {SETTLED * MAX_ITEMS:,}", _resident_mib() - settled, "MiB",
            at_most=32),
        Row("caps", "allocated an item by all these generators", allocated / MAX_ITEMS, "B"),
        Row("caps", "learning, expiry of a row for each new item included", elapsed_s / distinct * 1e6, "µs"),
    ]  # fmt: skip


def _example(number: int) -> Example:
    """The only click of a user, on a new item, after the three items before it."""
    history = tuple(f"i{n}" for n in range(max(number - 3, 0), number))
    return Example(f"u{number}", number, number, "view", f"i{number}", 1.0, None, history, len(history))


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
