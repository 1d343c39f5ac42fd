"""The learning step: records of `examples` in, a model that has learnt each once.  Pure.

An example may come twice: the serving app writes it before it notes that it did.  So the checkpoint
remembers, for each partition of `events`, the last event learnt from, and skips what is not after it.
Examples of one partition keep the order of its events, hence that is enough.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

from models.core import Example
from models.model import Model


class ExampleRecord(NamedTuple):
    """A record of `examples`."""

    partition: int
    offset: int
    value: bytes | None


@dataclass(slots=True)
class Checkpoint:
    """What a published model includes; travels as the last row of its transaction."""

    number: int = 0
    time: int = 0
    """Wall time of publishing, ms."""
    rows: int = 0
    """Published with it: a replica that counts another number saw half of it."""
    positions: dict[int, int] = field(default_factory=dict)
    """Partition of `examples` ▶ offset of the next one to read."""
    learnt_to: dict[int, int] = field(default_factory=dict)
    """Partition of `events` ▶ offset of the last event learnt from."""
    examples: int = 0
    """Learnt, each once."""
    repeated: int = 0
    """Skipped because they were learnt before."""
    unusable: int = 0
    """Skipped because they could not be read."""

    @property
    def read(self) -> int:
        """Records of `examples` read, whatever became of them."""
        return self.examples + self.repeated + self.unusable

    def copy(self) -> "Checkpoint":
        """A checkpoint of its own, equal to this one."""
        return Checkpoint.decode(self.encode())

    def encode(self) -> bytes:
        """As a row of the model topic."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, value: bytes) -> "Checkpoint":
        """The inverse of `encode`; what it does not know it ignores."""
        fields: dict[str, Any] = json.loads(value)
        for name in ("positions", "learnt_to"):
            fields[name] = {int(k): v for k, v in fields.get(name, {}).items()}
        return cls(**{name: fields[name] for name in cls.__slots__ if name in fields})


CHECKPOINT_KEY = b"checkpoint"


class Judge(Protocol):
    """Measures examples: `models.evaluation.live`."""

    def observe(self, examples: Sequence[Example]) -> None:
        """Before they are learnt."""

    def learnt(self, examples: Sequence[Example]) -> None:
        """After."""


def learn(
    records: Sequence[ExampleRecord],
    decode: Callable[[bytes], Example],
    model: Model,
    checkpoint: Checkpoint,
    judge: Judge | None = None,
) -> None:
    """Learn a micro-batch, each example measured before; `model` and `checkpoint` change together.

    `decode` raises `ValueError` on bytes that are no example: those are counted and skipped, because
    only the serving app writes them and the event that they came from is not lost.
    """
    examples = []
    for record in records:
        checkpoint.positions[record.partition] = record.offset + 1
        try:
            example = decode(record.value or b"")
        except ValueError:
            checkpoint.unusable += 1
            continue
        if example.offset <= checkpoint.learnt_to.get(record.partition, -1):
            checkpoint.repeated += 1
            continue
        checkpoint.learnt_to[record.partition] = example.offset
        examples.append(example)
    if judge is not None:
        judge.observe(examples)
    model.learn(examples)
    if judge is not None:
        judge.learnt(examples)
    checkpoint.examples += len(examples)
