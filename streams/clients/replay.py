"""Publish a log and wait until every event is answered, by a recommendation or a dead letter.

Every event gets the id `<run>-<line>`, whatever the log calls it, so that its answer is known by it.  A log
that its users have seen already is late, and gets no answer: replay it into topics of its own.
Memory: a byte an event, and the events in flight.
"""

import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec
from confluent_kafka import Consumer

from streams.clients.progress import Show
from streams.clients.publish import NAP_S, Due, EventProducer
from streams.clients.subscribe import records
from streams.settings import Settings

BURST = 1000
"""Events sent between two looks at the answers."""
SETTLE_S = 0.5
"""Answers are read for so long after the last one that is missing: there may be doubles."""


class Ages:
    """Ages in ms: counted to a tenth, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, age_ms: float) -> None:
        """Count one."""
        self._counts[round(age_ms, 1)] += 1

    def percentiles(self) -> dict[str, float | None]:
        """p50, p90, p99 and max; None where nothing was counted.

        >>> ages = Ages()
        >>> for age in range(1, 101): ages.add(age)
        >>> ages.percentiles()
        {'p50': 50, 'p90': 90, 'p99': 99, 'max': 100}
        """
        found: dict[str, float | None] = dict.fromkeys(("p50", "p90", "p99", "max"))
        total, below = self._counts.total(), 0
        for age in sorted(self._counts):
            below += self._counts[age]
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
                if found[name] is None and below >= share * total:
                    found[name] = age
        return found


class Ledger:
    """Which events of a run are answered, and how old the answers were."""

    def __init__(self, run: str) -> None:
        self._prefix = run + "-"
        self._answers = bytearray()  # of each line: 0, 1, 2 for more
        self.waiting: dict[int, float] = {}
        """Line ▶ when it was published, s; oldest first."""
        self.events = self.answered = self.twice = self.dead_letters = self.without_answer = 0
        self.ages, self.measured_ages = Ages(), Ages()

    def sent(self, event_id: str, now: float, needs_answer: bool = True) -> None:
        """An event was published."""
        self.events += 1
        if needs_answer:
            self.waiting[int(event_id.removeprefix(self._prefix))] = now
        else:
            self.without_answer += 1

    def recommended(self, event_id: str, age_ms: int, now: float) -> None:
        """A recommendation came; those of other runs count for nothing."""
        published = self._answer(event_id)
        if published is not None:
            self.answered += 1
            self.ages.add(age_ms)
            self.measured_ages.add((now - published) * 1000)

    def refused(self, event_id: str) -> None:
        """A dead letter came."""
        if self._answer(event_id) is not None:
            self.dead_letters += 1

    def _answer(self, event_id: str) -> float | None:
        """When the event was published, the first time that it is answered."""
        number = event_id.removeprefix(self._prefix)
        if number == event_id or not number.isdecimal():
            return None
        line = int(number)
        published = self.waiting.pop(line, None)
        if published is not None:
            self._answers.extend(bytes(max(0, line + 1 - len(self._answers))))
            self._answers[line] = 1
        elif line < len(self._answers) and self._answers[line]:
            self.twice += self._answers[line] == 1
            self._answers[line] = 2
        return published


class _Answer(msgspec.Struct):
    event_id: str
    age_ms: int = 0


_decode = msgspec.json.Decoder(_Answer).decode


class Replay:
    """One log on its way through: publishes, reads the answers, keeps the ledger."""

    def __init__(self, settings: Settings, producer: EventProducer, consumer: Consumer, run: str) -> None:
        """`consumer` follows `recommendations` and `dead-letter` from before the first event."""
        self._settings, self._producer, self._consumer = settings, producer, consumer
        self.run, self.ledger = run, Ledger(run)
        self.seconds = 0.0
        """From the start to the latest answer."""

    def go(
        self,
        dues: Iterable[Due],
        show: Show,
        *,
        in_flight: int,
        timeout_s: float,
        copies: int = 1,
    ) -> None:
        """Publish each event when it is due and at most `in_flight` are unanswered, until all are answered.

        Also ends when Kafka is out of reach, or when nothing was answered for `timeout_s`: the
        ledger's `waiting` then says what is missing.
        """
        start = alive = time.monotonic()
        left = iter(dues)
        due = next(left, None)
        waiting = self.ledger.waiting
        while (due or waiting) and not self._producer.unreachable:
            for _ in range(BURST):
                now = time.monotonic()
                if due is None or now < start + due.after_s or len(waiting) >= in_flight:
                    break
                if not waiting:
                    alive = now  # nobody can have answered before
                needs_answer = due.event.type not in self._settings.unanswered_types
                self.ledger.sent(due.event.event_id, now, needs_answer)
                for _ in range(copies):
                    self._producer.send(due)
                due = next(left, None)
            self._producer.poll()
            show(self.summary)
            if self._take(self._pause(due, start, in_flight)):
                alive = time.monotonic()
                self.seconds = alive - start
            elif waiting and time.monotonic() > alive + timeout_s:
                break
        self._producer.flush()
        until = time.monotonic() + SETTLE_S
        while (pause := until - time.monotonic()) > 0:
            self._take(pause)

    def _pause(self, due: Due | None, start: float, in_flight: int) -> float:
        """How long to wait for answers before there is something to publish, s."""
        if due is None or len(self.ledger.waiting) >= in_flight:
            return 0.1
        wait = start + due.after_s - time.monotonic()
        return min(max(wait, NAP_S), 0.1) if wait > 0 else 0.0

    def _take(self, wait_s: float) -> bool:
        """Read the answers that are there; whether one was for us."""
        before = len(self.ledger.waiting)
        dead_letters = self._settings.topic("dead-letter")
        found = records(self._consumer, wait_s)
        now = time.monotonic()
        for record in found:
            try:
                answer = _decode(record.value() or b"")
            except msgspec.DecodeError:
                continue  # a dead letter of somebody else's
            if record.topic() == dead_letters:
                self.ledger.refused(answer.event_id)
            else:
                self.ledger.recommended(answer.event_id, answer.age_ms, now)
        return len(self.ledger.waiting) < before

    def summary(self) -> str:
        """One line on where it stands."""
        ledger = self.ledger
        rate = ledger.answered / max(self.seconds, 0.001)
        return (
            f"{ledger.events:,} published, {ledger.answered:,} answered,"
            f" {ledger.dead_letters:,} dead letters, {len(ledger.waiting):,} waiting, {rate:,.0f} events/s"
        )

    def result(self) -> dict[str, Any]:
        """The figures at the end."""
        ledger = self.ledger
        return {
            "run": self.run,
            "events": ledger.events,
            "published": self._producer.delivered,
            "failed": self._producer.failed,
            "answered": ledger.answered,
            "answered_twice": ledger.twice,
            "dead_letters": ledger.dead_letters,
            "need_no_answer": ledger.without_answer,
            "unanswered": len(ledger.waiting),
            "seconds": round(self.seconds, 3),
            "events_per_s": round(ledger.answered / self.seconds, 1) if self.seconds else 0.0,
            "age_ms": ledger.ages.percentiles(),
            "measured_age_ms": ledger.measured_ages.percentiles(),
        }

    def complaint(self) -> str:
        """Why the replay is not complete, on one line; empty when it is."""
        if self._producer.failed:
            return f"{self._producer.failed:,} events were not delivered: {self._producer.reason}"
        if missing := self.ledger.waiting:
            lines = ", ".join(map(str, islice(missing, 5))) + (" ..." if len(missing) > 5 else "")
            return (
                f"{len(missing):,} of {self.ledger.events:,} events are unanswered (lines {lines}):"
                " is a worker running? Events older than the grace period get no answer"
            )
        return ""


def text(result: dict[str, Any]) -> str:
    """The figures for people."""

    def ages(name: str) -> str:
        return "  ".join(f"{p} {'-' if ms is None else format(ms, ',g')}" for p, ms in result[name].items())

    return f"""\
run              {result["run"]}
events           {result["events"]:,} ({result["published"]:,} records published)
answered         {result["answered"]:,}, {result["answered_twice"]:,} of them more than once
dead letters     {result["dead_letters"]:,}
need no answer   {result["need_no_answer"]:,}
unanswered       {result["unanswered"]:,}
seconds          {result["seconds"]:,}
events/s         {result["events_per_s"]:,}
age ms           {ages("age_ms")}
measured age ms  {ages("measured_age_ms")}"""
