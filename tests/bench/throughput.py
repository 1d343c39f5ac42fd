"""Throughput: rate at which a backlog is answered, beside a naive Faust agent and a plain loop.

Unit: events/s, the median of the turns.  Each contestant works alone on a backlog of its own, which takes
about 20 s.  The rate is measured from a tenth of the answers being in Kafka until all are.  Contestants take
turns, and a ratio is between neighbours in a turn, so that a machine that slows down slows both.

    python -m tests.bench throughput
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
from tests.bench.deployment import Bench, Deployment, progress
from tests.bench.prefill import fill_model
from tests.bench.process import Process
from tests.bench.report import Row
from tests.bench.warm_up import warm_up


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that answers a backlog."""

    what: str
    events: int
    start: Callable[[Deployment], Process]
    settings: dict[str, Any]
    model: bool = False
    at_least: float | None = None
    note: str = ""


def _worker(deployment: Deployment) -> Process:
    return deployment.worker()


def _worker_and_learner(deployment: Deployment) -> Process:
    deployment.learner().wait_active()
    return deployment.worker()


def _plumbing(deployment: Deployment) -> Process:
    return deployment.program("plumbing", str(deployment.folder / "plumbing"))


def _naive(deployment: Deployment) -> Process:
    return deployment.program("naive_faust", str(deployment.folder / "naive"))


def _plain(deployment: Deployment) -> Process:
    return deployment.program("plain_loop")


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
    """Measure a row for each contestant, and the ratios between them."""
    warm_up(bench)
    rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    details: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for turn in range(bench.repeat):
        for name, contestant in CONTESTANTS.items():
            progress(f"throughput, turn {turn + 1} of {bench.repeat}: {contestant.what}")
            result = _measure(bench, name, contestant)
            rates[name].append(result["events_per_s"])
            details[name].append(result)
            progress(f"  {result['events_per_s']:,.0f} events/s")
    rows = [
        Row(
            "throughput", c.what, median(rates[name]), "events/s", at_least=c.at_least,
            note=", ".join(filter(None, [c.note, _spread(rates[name]), *_notes(details[name])])),
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
    with bench.deploy(f"throughput-{name}", **contestant.settings) as deployment:
        if contestant.model:
            fill_model(deployment.settings, bench)
        load(deployment.settings, n, bench.seed)
        watch = Watch(deployment.settings)
        process = contestant.start(deployment)
        curve = watch.until(n, process)
        answers = watch.count()
        if answers != n:
            raise AssertionError(f"{answers:,} answers to {n:,} events")
        events_per_s, cpu_s = rate(curve)
        result = {
            "events_per_s": events_per_s,
            "events": n,
            "cpu_us_an_event": 1e6 * cpu_s,
            "rss_mib": process.memory_mib(),
            "items_in_a_list": _list_length(deployment) if name not in ("naive", "plumbing") else None,
            "curve": [(round(point.s - curve[0].s, 2), point.answers) for point in curve],
        }
        if name == "learning":
            result["learnt_per_s"] = _learning_rate(deployment)
        return result


def _list_length(deployment: Deployment, sample: int = 1000) -> float:
    """The mean length of the latest lists: a measurement of shorter ones would not count."""
    consumer = follow(deployment.settings, "recommendations")
    ends = consumer.assignment()
    for partition in ends:
        low, high = consumer.get_watermark_offsets(partition, timeout=10)
        partition.offset = max(low, high - sample // len(ends))
    consumer.assign(ends)
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    lengths: list[int] = []
    while fetched := [m for m in consumer.consume(sample, 2.0) if not m.error()]:
        lengths += [len(decode(m.value() or b"")["items"]) for m in fetched]
    consumer.close()
    return sum(lengths) / len(lengths)


def _learning_rate(deployment: Deployment) -> float:
    """Examples learnt a second, from the first checkpoint with any example to the last."""
    learnt = [c for c in checkpoints(deployment.settings) if c.examples]
    if len(learnt) < 2:
        return 0.0
    return 1000 * (learnt[-1].examples - learnt[0].examples) / max(learnt[-1].time - learnt[0].time, 1)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return ""
    low, high = min(values), max(values)
    return f"{low:,.0f} to {high:,.0f}" if high >= 100 else f"{low:.2g} to {high:.2g}"


def _notes(details: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{median(turn['cpu_us_an_event'] for turn in details):,.0f} µs CPU an event"
    if rates := [turn["learnt_per_s"] for turn in details if "learnt_per_s" in turn]:
        yield f"learnt {median(rates):,.0f} examples/s"
