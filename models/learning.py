"""The learning step: records of `examples` in, a model that has learnt each example once.  Pure.

An example may come twice: the serving app writes it before it commits that it did.  So the checkpoint
remembers, for each partition of `events`, the last event learnt from, and skips what is not after it.
Examples of one partition keep the order of its events, hence that is enough.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from models.checkpoint import Checkpoint
from models.core import Example
from models.evaluation.live import LiveQuality
from models.model import Model


class ExampleRecord(NamedTuple):
    """A record of the topic `examples`."""

    partition: int
    offset: int
    value: bytes | None


def learn(
    records: Sequence[ExampleRecord],
    decode: Callable[[bytes], Example],
    model: Model,
    checkpoint: Checkpoint,
    quality: LiveQuality | None = None,
) -> None:
    """Learn a micro-batch; `model` and `checkpoint` change together.

    `decode` raises `ValueError` on bytes that are not a valid example: those are counted and skipped, because
    only the serving app writes them and the event that they came from is not lost.  `quality` measures each
    example before it is learnt.
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
    if quality is not None:
        quality.observe(examples)
    model.learn(examples)
    if quality is not None:
        quality.learnt(examples)
    checkpoint.examples += len(examples)
