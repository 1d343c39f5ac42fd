"""Dead letters, `/dead-letters`: records that were not a valid event, and sending them again after a fix."""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from confluent_kafka import KafkaException, Message
from msgspec.structs import replace

from streams.kafka.header_names import headers
from streams.kafka.reading import latest, record_at
from streams.kafka.sending import Sender
from streams.messages import MAX_TIME_MS, REASONS, DeadLetter, Malformed, encode, now_ms
from streams.runtime.serving import Serving
from streams.step.accept import decode, require_milliseconds
from streams.step.clock import REPLAY_HEADER, arrival
from streams.step.dead_letters import DETAIL_LENGTH, own_headers
from streams.step.writes import Headers
from streams.web.problem import RETRY_SOON, Problem
from streams.web.security import authorize, form_fields
from streams.web.single_flight import SingleFlight
from streams.web.site import Page

LATEST = 50
"""Dead letters read of each partition."""
LATEST_BYTES = 8 * 1024 * 1024
"""Bytes of the excerpts of the latest, all partitions together: of more, the oldest are left out."""
LISTED = 100
"""Dead letters listed, and sent again at once."""
EXCERPT_LENGTH = 200
"""Characters of a key or value in the list."""
MOST_BYTES_OF_A_CHARACTER = 4
FULL_LENGTH = 65_536
"""Characters of a key or value on the page of one dead letter."""
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A record of the topic `dead-letter`; `header` is None if its headers are not Freshet's."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    size: int
    """Bytes of the value, also where an excerpt has fewer."""
    header: DeadLetter | None
    own_headers: Headers
    """The headers that the rejected record had."""

    @classmethod
    def from_message(cls, message: Message) -> "StoredDeadLetter":
        """The dead letter of a record that was read."""
        header, found = None, headers(message) or []
        with suppress(ValueError):  # another producer's
            header = DeadLetter.from_headers(found)
        key, value = message.key(), message.value()
        own = found if header is None else own_headers(found)
        partition, offset = message.partition() or 0, message.offset() or 0
        return cls(partition, offset, key, value, len(value or b""), header, own)

    def shortened(self) -> "StoredDeadLetter":
        """What the list shows of it: the first bytes of key and value, and headers of a bounded length."""
        header, most = self.header, MOST_BYTES_OF_A_CHARACTER * EXCERPT_LENGTH + 1
        if header is not None:
            texts = {name: getattr(header, name)[:DETAIL_LENGTH] for name in ("reason", "detail", "topic")}
            header = replace(header, **texts)
        key, value = (None if data is None else data[:most] for data in (self.key, self.value))
        return StoredDeadLetter(self.partition, self.offset, key, value, self.size, header, [])

    @property
    def memory_bytes(self) -> int:
        """Bytes that it takes in memory, about."""
        header = [] if self.header is None else [self.header.reason, self.header.detail, self.header.topic]
        return sum(map(sys.getsizeof, (self, self.key, self.value, *header)))

    @property
    def at(self) -> str:
        """Its place on the topic, PARTITION:OFFSET."""
        return f"{self.partition}:{self.offset}"

    @property
    def reason(self) -> str | None:
        """Why it is a dead letter, one of `REASONS`."""
        return self.header.reason if self.header else None

    @property
    def time(self) -> int | None:
        """When the record came, ms; None if that is not known."""
        return self.header.time if self.header and 0 < self.header.time <= MAX_TIME_MS else None


class DeadLettersPage:
    """The latest dead letters, one of them, and the POST that sends them again."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._latest = SingleFlight(self._read, fresh_s=2.0)
        self._sender = Sender(serving.settings)

    async def page(self, request: web.Request) -> Page:
        """The latest, or those of a `?reason=`, or one of them: `?at=PARTITION:OFFSET`."""
        may_replay = {"may_replay": self._serving.settings.web_token is not None}
        if "at" in request.query:
            dead_letter = await self._at(request.query["at"])
            return Page("dead_letter", {"letter": full(dead_letter)} | may_replay)
        listed = list_figures(await self._latest.get(), request.query.get("reason"))
        return Page("dead_letters", listed | may_replay)

    async def replay(self, request: web.Request) -> Page:
        """Send the dead letters `at` again, or one with the `value` that it should have had."""
        fields = await form_fields(request)
        authorize(request, fields, self._serving.settings)
        places = fields.get("at", [])
        if not 0 < len(places) <= LISTED:
            raise Problem(400, f"{len(places)} fields `at`: expected 1 to {LISTED}, each PARTITION:OFFSET")
        if "value" in fields and len(places) > 1:
            raise Problem(400, f"a value for {len(places)} dead letters: expected one `at` beside a `value`")
        value = _text(fields["value"]).encode() if "value" in fields else None
        results = [await self._send(await self._at(place), value) for place in places]
        status = 200 if any(result["sent"] for result in results) else 422
        return Page("replayed", {"letters": results}, status)

    async def _send(self, dead_letter: StoredDeadLetter, value: bytes | None) -> dict[str, Any]:
        result = {"at": dead_letter.at, "sent": False, "why_not": None}
        own, header, now = dead_letter.own_headers, dead_letter.header, now_ms()
        if value is None and header is not None and header.cut:
            return result | {"why_not": f"its {header.cut} was cut: send it with the whole event as `value`"}
        try:
            event = decode(dead_letter.value if value is None else value, self._serving.policy)
            arrived = arrival(event.time_ms if header is None else header.time, own, now)
            require_milliseconds(event, arrived)
        except Malformed as error:
            return result | {"why_not": f"{error.reason}: {error.detail}"}
        sent = [*(h for h in own if h[0] != REPLAY_HEADER), (REPLAY_HEADER, str(arrived).encode())]
        try:
            await asyncio.to_thread(self._sender.send, "events", event.user.encode(), encode(event), sent)
        except KafkaException as error:
            raise Problem(503, f"Kafka did not accept the record: {error.args[0].str()}") from None
        return result | {"sent": True}

    async def _at(self, place: Any) -> StoredDeadLetter:
        match = re.fullmatch(r"(\d{1,6}):(\d{1,18})", str(place), re.ASCII)
        if not match:
            raise Problem(400, f"invalid dead letter “{place}”: expected PARTITION:OFFSET, such as 3:17")
        partition, offset = int(match[1]), int(match[2])
        try:
            message = await asyncio.to_thread(
                record_at, self._serving.settings, "dead-letter", partition, offset, TIMEOUT_S
            )
        except KafkaException as error:
            raise _no_answer(error) from None
        if message is None:
            raise Problem(
                404, f"no dead letter at {partition}:{offset}: Kafka has deleted it, or has none yet"
            )
        return StoredDeadLetter.from_message(message)

    async def _read(self, _: str) -> list[StoredDeadLetter]:
        try:
            dead_letters = await asyncio.to_thread(
                latest, self._serving.settings, "dead-letter", LATEST, TIMEOUT_S, _excerpt, LATEST_BYTES
            )
        except KafkaException as error:
            raise _no_answer(error) from None
        return sorted(dead_letters, key=lambda letter: (letter.time or 0, letter.offset), reverse=True)


def list_figures(dead_letters: Sequence[StoredDeadLetter], reason: str | None) -> dict[str, Any]:
    """The latest dead letters, all or of one reason; `Problem` 400 if there is no such reason."""
    if reason and reason not in REASONS:
        raise Problem(400, f"unknown reason “{reason}”: expected one of {', '.join(REASONS)}")
    counts = Counter(letter.reason for letter in dead_letters if letter.reason is not None)
    matching = [letter for letter in dead_letters if not reason or letter.reason == reason]
    return {
        "reason": reason or None,
        "reasons": [
            {"reason": name, "means": REASONS.get(name, ""), "letters": count}
            for name, count in counts.most_common()
        ],
        "letters": [excerpt(letter, EXCERPT_LENGTH) for letter in matching[:LISTED]],
    }


def excerpt(dead_letter: StoredDeadLetter, length: int) -> dict[str, Any]:
    """A dead letter as JSON, with its bytes as text of at most `length` characters."""
    header, key, value = dead_letter.header, dead_letter.key, dead_letter.value
    return {
        "at": dead_letter.at,
        "reason": dead_letter.reason,
        "detail": header.detail if header else None,
        "time": dead_letter.time,
        "from": {"topic": header.topic, "partition": header.partition, "offset": header.offset}
        if header
        else None,
        "key": None if key is None else escaped(key, length),
        "value": None if value is None else escaped(value, length),
        "bytes": dead_letter.size if header is None or header.value_bytes is None else header.value_bytes,
        "cut": header.cut if header else "",
    }


def full(dead_letter: StoredDeadLetter) -> dict[str, Any]:
    """A dead letter as JSON, with its value as text to be edited; None if it is not UTF-8."""
    try:
        text = (dead_letter.value or b"").decode()[:FULL_LENGTH]
    except UnicodeDecodeError:
        text = None
    return excerpt(dead_letter, FULL_LENGTH) | {"text": text}


def escaped(data: bytes, length: int) -> str:
    r"""Bytes as text, at most `length` characters, with escapes for what is not printable.

    >>> escaped(b"a\x00\xff<b>", 99), escaped("ü\u202e".encode(), 99), escaped(b"abcdef", 3)
    ('a\\x00\\xff<b>', 'ü\\u202e', 'abc…')
    """
    most = MOST_BYTES_OF_A_CHARACTER * length
    text = data[:most].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= length and len(data) <= most else text[:length] + "…"


def _excerpt(message: Message) -> tuple[StoredDeadLetter, int]:
    dead_letter = StoredDeadLetter.from_message(message).shortened()
    return dead_letter, dead_letter.memory_bytes


def _text(values: list[Any]) -> str:
    match values:
        case [str(text), *_]:
            return text
    raise Problem(400, "invalid `value`: expected the event as text")


def _no_answer(error: KafkaException) -> Problem:
    return Problem(503, f"Kafka did not answer: {error.args[0].str()}", RETRY_SOON)
