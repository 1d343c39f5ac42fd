"""Throughput: how fast a backlog is answered, beside a naive Faust agent and a plain loop in the same run.

Each contestant gets a backlog of its own, big enough for about 20 s, and works alone.  The rate is from
when a tenth of the answers are in Kafka until all are.  Contestants take turns, and a ratio is between
neighbours in a turn, so that a machine that slows down slows both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec

from streams.clients.subscribe import follow
from tests.bench.backlog import Watch, load, rate
from tests.bench.checkpoints import checkpoints
from tests.bench.clicks import ITEMS
from tests.bench.figures import Row
from tests.bench.filled import fill_model
from tests.bench.process import Process
from tests.bench.site import Bench, Site, say
from tests.bench.warm import warm_up


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who answers, and how many events."""

    what: str
    events: int
    start: Callable[[Site], Process]
    settings: dict[str, Any]
    model: bool = False
    at_least: float | None = None
    note: str = ""


def _worker(site: Site) -> Process:
    return site.worker()


def _worker_and_learner(site: Site) -> Process:
    site.learner().wait_active()
    return site.worker()


def _plumbing(site: Site) -> Process:
    return site.other("plumbing", str(site.folder / "plumbing"))


def _naive(site: Site) -> Process:
    return site.other("naive_faust", str(site.folder / "naive"))


def _plain(site: Site) -> Process:
    return site.other("plain_loop")


CONTESTANTS = {
    "plumbing": Contestant(
        "plumbing alone: nothing decoded, a short constant answer",
        1_200_000,
        _plumbing,
        {},
        at_least=60_000,
    ),
    "constant": Contestant(
        "a constant recommender: all of serving but the model",
        600_000,
        _worker,
        {"recommender": "constant"},
        at_least=60_000,
    ),
    "whole": Contestant(
        f"whole path, {ITEMS:,} items in the model", 300_000, _worker, {}, True, 8000, "aim 15,000"
    ),
    "learning": Contestant(
        "... while the learner learns the same events", 300_000, _worker_and_learner, {}, True
    ),
    "naive": Contestant("naive Faust agent, no model", 40_000, _naive, {}),
    "plain": Contestant("plain loop, dict co-visitation, nothing durable", 300_000, _plain, {}),
}


def throughput(bench: Bench) -> list[Row]:
    """A row a contestant, and the ratios."""
    warm_up(bench)
    rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    details: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for turn in range(bench.repeat):
        for name, contestant in CONTESTANTS.items():
            say(f"throughput, turn {turn + 1} of {bench.repeat}: {contestant.what}")
            found = _measure(bench, name, contestant)
            rates[name].append(found["events_per_s"])
            details[name].append(found)
            say(f"  {found['events_per_s']:,.0f} events/s")
    rows = [
        Row(
            "throughput", c.what, median(rates[name]), "events/s", at_least=c.at_least,
            note=", ".join(filter(None, [c.note, _spread(rates[name]), *_about(details[name])])),
            details={"turns": details[name]},
        )
        for name, c in CONTESTANTS.items()
    ]  # fmt: skip
    for ours in ("plumbing", "constant", "whole", "learning"):
        for other in ("naive", "plain"):
            ratios = [a / b for a, b in zip(rates[ours], rates[other], strict=True)]
            rows.append(Row("throughput", f"{ours} / {other}", median(ratios), "×", note=_spread(ratios)))
    return rows


def _measure(bench: Bench, name: str, contestant: Contestant) -> dict[str, Any]:
    n = bench.scaled(contestant.events)
    with bench.site(f"throughput-{name}", **contestant.settings) as site:
        if contestant.model:
            fill_model(site.settings, bench)
        load(site.settings, n, bench.seed)
        watch = Watch(site.settings)
        process = contestant.start(site)
        curve = watch.until(n, process)
        answered = watch.count()
        if answered != n:
            raise AssertionError(f"{answered:,} answers to {n:,} events")
        events_per_s, cpu_s = rate(curve)
        found = {
            "events_per_s": events_per_s,
            "events": n,
            "cpu_us_an_event": 1e6 * cpu_s,
            "rss_mib": process.memory_mib(),
            "items_in_a_list": _lists(site) if name not in ("naive", "plumbing") else None,
            "curve": [(round(point.s - curve[0].s, 2), point.answers) for point in curve],
        }
        if name == "learning":
            found["learnt_per_s"] = _learning_rate(site)
        return found


def _lists(site: Site, sample: int = 1000) -> float:
    """Mean length of the lists at the end of the topic: that they are full is part of the measurement."""
    consumer = follow(site.settings, "recommendations")
    ends = consumer.assignment()
    for partition in ends:
        low, high = consumer.get_watermark_offsets(partition, timeout=10)
        partition.offset = max(low, high - sample // len(ends))
    consumer.assign(ends)
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    lengths: list[int] = []
    while found := [m for m in consumer.consume(sample, 2.0) if not m.error()]:
        lengths += [len(decode(m.value() or b"")["items"]) for m in found]
    consumer.close()
    return sum(lengths) / len(lengths)


def _learning_rate(site: Site) -> float:
    """Examples learnt a second, from the first checkpoint with any to the last."""
    found = [c for c in checkpoints(site.settings) if c.examples]
    if len(found) < 2:
        return 0.0
    return 1000 * (found[-1].examples - found[0].examples) / max(found[-1].time - found[0].time, 1)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return ""
    low, high = min(values), max(values)
    return f"{low:,.0f} to {high:,.0f}" if high >= 100 else f"{low:.2g} to {high:.2g}"


def _about(details: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{median(found['cpu_us_an_event'] for found in details):,.0f} µs CPU an event"
    if rates := [found["learnt_per_s"] for found in details if "learnt_per_s" in found]:
        yield f"learnt {median(rates):,.0f} examples/s"
