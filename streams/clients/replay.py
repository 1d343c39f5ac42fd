"""Publish a log and wait until every event is answered, by a recommendation or a dead letter.

Every event gets the id `<run>-<line>`, also where the log has ids, so that its answer is recognised.  Events
that are older than what their users did since are late and get no answer: replay such a log into topics of
its own.  Memory: a byte per event, and the events in flight.
"""

import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec
from confluent_kafka import Consumer

from streams.clients.progress import Show
from streams.clients.publish import MIN_SLEEP_S, EventProducer, ScheduledEvent
from streams.clients.subscribe import records
from streams.settings import Settings

BURST = 1000
"""Events published at most before answers are read again."""
SETTLE_S = 0.5
"""How long answers are read after the last missing one, because some may come twice."""


class Ages:
    """A histogram of ages in ms, to a tenth, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, age_ms: float) -> None:
        """Count one age."""
        self._counts[round(age_ms, 1)] += 1

    def percentiles(self) -> dict[str, float | None]:
        """p50, p90, p99 and max; None where no age was counted.

        >>> ages = Ages()
        >>> for age in range(1, 101): ages.add(age)
        >>> ages.percentiles()
        {'p50': 50, 'p90': 90, 'p99': 99, 'max': 100}
        """
        percentiles: dict[str, float | None] = dict.fromkeys(("p50", "p90", "p99", "max"))
        total, below = self._counts.total(), 0
        for age in sorted(self._counts):
            below += self._counts[age]
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
                if percentiles[name] is None and below >= share * total:
                    percentiles[name] = age
        return percentiles


class Ledger:
    """Which events of a run were answered, and how old the answers were."""

    def __init__(self, run: str) -> None:
        self._prefix = run + "-"
        self._answers = bytearray()  # by line: 0, 1, or 2 for several
        self.unanswered: dict[int, float] = {}
        """When an event was published, s, by line; oldest first."""
        self.events = self.answered = self.answered_twice = self.dead_letters = self.need_no_answer = 0
        self.ages, self.measured_ages = Ages(), Ages()

    def add_event(self, event_id: str, now: float, needs_answer: bool = True) -> None:
        """Note that an event was published at `now`, s."""
        self.events += 1
        if needs_answer:
            self.unanswered[int(event_id.removeprefix(self._prefix))] = now
        else:
            self.need_no_answer += 1

    def add_recommendation(self, event_id: str, age_ms: int, now: float) -> None:
        """Note that a recommendation arrived at `now`, s; those of other runs are ignored."""
        published = self._answer(event_id)
        if published is not None:
            self.answered += 1
            self.ages.add(age_ms)
            self.measured_ages.add((now - published) * 1000)

    def add_dead_letter(self, event_id: str) -> None:
        """Note that a dead letter arrived."""
        if self._answer(event_id) is not None:
            self.dead_letters += 1

    def _answer(self, event_id: str) -> float | None:
        """When the event was published, s; None where it is unknown or was answered before."""
        number = event_id.removeprefix(self._prefix)
        if number == event_id or not number.isdecimal():
            return None
        line = int(number)
        published = self.unanswered.pop(line, None)
        if published is not None:
            self._answers.extend(bytes(max(0, line + 1 - len(self._answers))))
            self._answers[line] = 1
        elif line < len(self._answers) and self._answers[line]:
            self.answered_twice += self._answers[line] == 1
            self._answers[line] = 2
        return published


class _Answer(msgspec.Struct):
    event_id: str
    age_ms: int = 0
    placement: str = ""


_decode = msgspec.json.Decoder(_Answer).decode


class Replay:
    """Publishes one log, reads the answers and keeps the ledger."""

    def __init__(self, settings: Settings, producer: EventProducer, consumer: Consumer, run: str) -> None:
        """consumer: of `recommendations` and `dead-letter`, from before the first event."""
        self._settings, self._producer, self._consumer = settings, producer, consumer
        self.run_id, self.ledger = run, Ledger(run)
        self.seconds = 0.0
        """Seconds from the start to the latest answer."""

    def publish(
        self,
        events: Iterable[ScheduledEvent],
        show: Show,
        *,
        in_flight: int,
        timeout_s: float,
        copies: int = 1,
    ) -> None:
        """Publish each event when it is due and at most `in_flight` are unanswered, until all are answered.

        Also ends when Kafka cannot be reached, or when no answer arrived for `timeout_s`: the ledger then
        has the `unanswered` events.
        """
        start = latest_answer = time.monotonic()
        remaining = iter(events)
        upcoming = next(remaining, None)
        unanswered = self.ledger.unanswered
        while (upcoming or unanswered) and not self._producer.unreachable:
            for _ in range(BURST):
                now = time.monotonic()
                if upcoming is None or now < start + upcoming.after_s or len(unanswered) >= in_flight:
                    break
                if not unanswered:
                    latest_answer = now  # no answer was due before
                needs_answer = upcoming.event.type not in self._settings.unanswered_types
                self.ledger.add_event(upcoming.event.event_id, now, needs_answer)
                for _ in range(copies):
                    self._producer.send(upcoming)
                upcoming = next(remaining, None)
            self._producer.poll()
            show(self.summary)
            if self._read_answers(self._wait_s(upcoming, start, in_flight)):
                latest_answer = time.monotonic()
                self.seconds = latest_answer - start
            elif unanswered and time.monotonic() > latest_answer + timeout_s:
                break
        self._producer.flush()
        end = time.monotonic() + SETTLE_S
        while (wait_s := end - time.monotonic()) > 0:
            self._read_answers(wait_s)

    def _wait_s(self, upcoming: ScheduledEvent | None, start: float, in_flight: int) -> float:
        """How long to wait for answers before the next event may be published, s."""
        if upcoming is None or len(self.ledger.unanswered) >= in_flight:
            return 0.1
        wait = start + upcoming.after_s - time.monotonic()
        return min(max(wait, MIN_SLEEP_S), 0.1) if wait > 0 else 0.0

    def _read_answers(self, wait_s: float) -> bool:
        """Read the answers that have arrived; returns whether one was to an event of this run."""
        before = len(self.ledger.unanswered)
        dead_letters = self._settings.topic("dead-letter")
        answers = records(self._consumer, wait_s)
        now = time.monotonic()
        for record in answers:
            try:
                answer = _decode(record.value() or b"")
            except (ValueError, RecursionError):
                continue  # a dead letter of another producer's record
            if record.topic() == dead_letters:
                self.ledger.add_dead_letter(answer.event_id)
            elif not answer.placement:  # events of some types cause other lists, too
                self.ledger.add_recommendation(answer.event_id, answer.age_ms, now)
        return len(self.ledger.unanswered) < before

    def summary(self) -> str:
        """The progress so far on one line."""
        ledger = self.ledger
        rate = ledger.answered / max(self.seconds, 0.001)
        return (
            f"{ledger.events:,} published, {ledger.answered:,} answered,"
            f" {ledger.dead_letters:,} dead letters, {len(ledger.unanswered):,} waiting, {rate:,.0f} events/s"
        )

    def result(self) -> dict[str, Any]:
        """The figures at the end, as JSON values."""
        ledger = self.ledger
        return {
            "run": self.run_id,
            "events": ledger.events,
            "published": self._producer.delivered,
            "failed": self._producer.failed,
            "answered": ledger.answered,
            "answered_twice": ledger.answered_twice,
            "dead_letters": ledger.dead_letters,
            "need_no_answer": ledger.need_no_answer,
            "unanswered": len(ledger.unanswered),
            "seconds": round(self.seconds, 3),
            "events_per_s": round(ledger.answered / self.seconds, 1) if self.seconds else 0.0,
            "age_ms": ledger.ages.percentiles(),
            "measured_age_ms": ledger.measured_ages.percentiles(),
        }

    def problem(self) -> str:
        """Why the replay is incomplete, on one line; empty when it is complete."""
        if self._producer.failed:
            return f"{self._producer.failed:,} events were not delivered: {self._producer.reason}"
        if unanswered := self.ledger.unanswered:
            lines = ", ".join(map(str, islice(unanswered, 5))) + (" ..." if len(unanswered) > 5 else "")
            return (
                f"{len(unanswered):,} of {self.ledger.events:,} events are unanswered (lines {lines}):"
                " is a worker running? Events older than the grace period get no answer"
            )
        return ""


def text(result: dict[str, Any]) -> str:
    """The result for people."""

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
