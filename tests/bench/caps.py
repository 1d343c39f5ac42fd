"""More items and users than there is room for: what the model's caps hold, without Kafka."""

import resource
import time
from pathlib import Path

from models.core import Example
from models.model import Model
from models.registry import GENERATORS
from tests.bench.figures import Row
from tests.bench.filled import batches
from tests.bench.site import Bench, say
from tests.models.arrays import nbytes

DISTINCT = 5_000_000
"""Items, and users: each comes once."""
MAX_ITEMS = 100_000
SETTLED = 4
"""Times as many items as rows, after which all tables are full."""
LEARNT_APART = {"embedding", "gru", "transformer", "matrix-factorisation"}
"""Learn in torch; their rows are capped by the same expiry, and 5 million steps take an hour."""


def caps(bench: Bench) -> list[Row]:
    """Every generator of counts at once, under a stream in which nothing ever comes again."""
    names = [name for name in GENERATORS if name not in LEARNT_APART]
    model, distinct, keys = Model(names, MAX_ITEMS), bench.scaled(DISTINCT), set()
    stream = (_example(number) for number in range(distinct))
    began, settled = time.monotonic(), 0.0
    for number, part in enumerate(batches(stream, 10_000)):
        model.learn(part)
        keys |= model.dump_touched().keys()
        done = (number + 1) * 10_000
        if done == SETTLED * MAX_ITEMS:
            settled = _resident_mib()
        if done % 500_000 == 0:
            say(f"caps: {done:,} of {distinct:,} distinct items, {len(model.items):,} have a row")
    took = time.monotonic() - began
    parts = [*model.generators.values(), model.statistics, model.coverage]
    rows = MAX_ITEMS + sum(part.state.rows for part in parts)
    allocated = sum(map(nbytes, model.generators.values()))
    return [
        Row("caps", f"items with a row, of {distinct:,} distinct", len(model.items), "", at_most=MAX_ITEMS),
        Row("caps", "keys on the model topic", len(keys), "", at_most=rows, note=", ".join(names)),
        Row("caps", f"resident memory gained since {SETTLED * MAX_ITEMS:,}", _resident_mib() - settled, "MiB",
            at_most=32),
        Row("caps", "allocated an item by all these generators", allocated / MAX_ITEMS, "B"),
        Row("caps", "learning, expiry of a row for each new item included", took / distinct * 1e6, "µs"),
    ]  # fmt: skip


def _example(number: int) -> Example:
    """A user's only click: on a new item, after three others that were new lately."""
    before = tuple(f"i{n}" for n in range(max(number - 3, 0), number))
    return Example(f"u{number}", number, number, "view", f"i{number}", 1.0, None, before, len(before))


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
