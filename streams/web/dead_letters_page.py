"""The page of dead letters: what could not be used, why, where from; and sending it again after a fix."""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from confluent_kafka import KafkaException, Message

from streams.kafka.reading import latest, record_at
from streams.kafka.sending import Sender
from streams.messages import REASONS, DeadLetter, Malformed, encode
from streams.runtime.serving import Serving
from streams.step.accept import decode
from streams.step.clock import REPLAY_HEADER
from streams.web.problem import Problem
from streams.web.single_flight import SingleFlight
from streams.web.site import Page
from streams.web.token import authorize, form

EXCERPT = 200
SHOWN = 100
WHOLE = 65_536
"""Characters of one letter on its page."""


TIMEOUT_S = 5.0
LATEST = 50
"""Dead letters read of each partition."""


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A record of the topic `dead-letter`; `header` is None where its headers are not Freshet's."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    header: DeadLetter | None


def stored(message: Message) -> StoredDeadLetter:
    """The dead letter of a record."""
    try:
        header = DeadLetter.from_headers(message.headers() or [])
    except (ValueError, UnicodeDecodeError):
        header = None
    return StoredDeadLetter(
        message.partition() or 0, message.offset() or 0, message.key(), message.value(), header
    )


class DeadLetterPages:
    """`/dead-letters`, and the POST that sends again."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._latest = SingleFlight(self._read, fresh_s=2.0)
        self._sender = Sender(serving.settings)

    async def page(self, request: web.Request) -> Page:
        """The latest by reason, or one of them: `?at=PARTITION:OFFSET`."""
        if "at" in request.query:
            return Page("letter", {"letter": whole(await self._at(request.query["at"]))} | self._allowed())
        return Page(
            "letters", listed(await self._latest.get(), request.query.get("reason")) | self._allowed()
        )

    async def replay(self, request: web.Request) -> Page:
        """Send the letters `at` again, or one with the `value` that it should have had."""
        fields = await form(request)
        authorize(request, fields, self._serving.settings)
        chosen = fields.get("at", [])
        if not 0 < len(chosen) <= SHOWN or ("value" in fields and len(chosen) > 1):
            raise Problem(400, "Which one?", f"Name 1 to {SHOWN} letters: at=PARTITION:OFFSET.")
        value = fields["value"][0].encode() if "value" in fields else None
        done = [await self._send(await self._at(at), value) for at in chosen]
        status = 200 if any(one["sent"] for one in done) else 422
        return Page("replayed", {"letters": done}, status)

    async def _send(self, letter: StoredDeadLetter, value: bytes | None) -> dict[str, Any]:
        told = {"at": f"{letter.partition}:{letter.offset}", "sent": False, "why_not": None}
        try:
            event = decode(letter.value if value is None else value, self._serving.policy)
        except Malformed as bad:
            return told | {"why_not": f"{bad.reason}: {bad.detail}"}
        arrived = letter.header.time if letter.header else event.time_ms
        try:
            await asyncio.to_thread(
                self._sender.send,
                "events",
                event.user.encode(),
                encode(event),
                [(REPLAY_HEADER, str(arrived).encode())],
            )
        except KafkaException as error:
            raise Problem(503, "Kafka does not take it", error.args[0].str()) from None
        return told | {"sent": True}

    async def _at(self, text: str) -> StoredDeadLetter:
        match = re.fullmatch(r"(\d{1,6}):(\d{1,18})", str(text), re.ASCII)
        if not match:
            raise Problem(400, "Which one?", "A letter is named PARTITION:OFFSET.")
        try:
            message = await asyncio.to_thread(
                record_at, self._serving.settings, "dead-letter", int(match[1]), int(match[2]), TIMEOUT_S
            )
        except KafkaException as error:
            raise _no_answer(error) from None
        if message is None:
            raise Problem(404, "No such letter", "Kafka does not have it, any more or yet.")
        return stored(message)

    async def _read(self, _: str) -> list[StoredDeadLetter]:
        try:
            messages = await asyncio.to_thread(
                latest, self._serving.settings, "dead-letter", LATEST, TIMEOUT_S
            )
        except KafkaException as error:
            raise _no_answer(error) from None
        return sorted(
            map(stored, messages),
            key=lambda letter: (letter.header.time if letter.header else 0, letter.offset),
            reverse=True,
        )

    def _allowed(self) -> dict[str, bool]:
        return {"may_replay": self._serving.settings.web_token is not None}


def listed(found: list[StoredDeadLetter], reason: str | None) -> dict[str, Any]:
    """The latest letters; `Problem` 400 for a reason that there is not."""
    if reason and reason not in REASONS:
        raise Problem(400, "No such reason", f"There are {', '.join(REASONS)}.")
    counts = Counter(one.header.reason for one in found if one.header)
    chosen = [one for one in found if not reason or (one.header and one.header.reason == reason)]
    return {
        "reason": reason or None,
        "reasons": [
            {"reason": name, "means": REASONS.get(name, ""), "letters": count}
            for name, count in counts.most_common()
        ],
        "letters": [shown(one, EXCERPT) for one in chosen[:SHOWN]],
    }


def shown(letter: StoredDeadLetter, most: int) -> dict[str, Any]:
    """A letter, with its bytes as text of at most so many characters."""
    header = letter.header
    return {
        "at": f"{letter.partition}:{letter.offset}",
        "reason": header.reason if header else None,
        "detail": header.detail if header else None,
        "time": header.time if header else None,
        "from": {"topic": header.topic, "partition": header.partition, "offset": header.offset}
        if header
        else None,
        "key": None if letter.key is None else escaped(letter.key, most),
        "value": None if letter.value is None else escaped(letter.value, most),
        "bytes": len(letter.value or b""),
    }


def whole(letter: StoredDeadLetter) -> dict[str, Any]:
    """One letter: all of it, and as text to mend, where it is text."""
    found = shown(letter, WHOLE)
    try:
        found["text"] = (letter.value or b"").decode()[:WHOLE]
    except UnicodeDecodeError:
        found["text"] = None
    return found


def escaped(data: bytes, most: int) -> str:
    r"""Bytes as text that shows every one of them.

    >>> escaped(b"a\x00\xff<b>", 99), escaped("ü\u202e".encode(), 99), escaped(b"abcdef", 3)
    ('a\\x00\\xff<b>', 'ü\\u202e', 'abc…')
    """
    text = data[: 4 * most].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= most and len(data) <= 4 * most else text[:most] + "…"


def _no_answer(error: KafkaException) -> Problem:
    return Problem(503, "Kafka does not answer", error.args[0].str(), {"Retry-After": "2"})
