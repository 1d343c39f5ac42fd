"""The checkpoint: which examples a published model includes.  It is the last row of each transaction."""

import json
from dataclasses import dataclass, field
from typing import Any

CHECKPOINT_KEY = b"checkpoint"
"""Key of the checkpoint on the model topic."""


@dataclass(slots=True)
class Checkpoint:
    """What a published model includes.

    >>> Checkpoint.decode(Checkpoint(number=3, positions={0: 7}).encode()).positions
    {0: 7}
    """

    number: int = 0
    """Checkpoints published so far, this one included; 0: none yet."""
    time: int = 0
    """Wall time of publishing, ms."""
    rows: int = 0
    """Rows published with it: a replica that counts another number read only a part of them."""
    positions: dict[int, int] = field(default_factory=dict)
    """Offset of the next record to read, by partition of `examples`."""
    learnt_to: dict[int, int] = field(default_factory=dict)
    """Offset of the last event learnt from, by partition of `events`."""
    examples: int = 0
    """Examples learnt, each once."""
    repeated: int = 0
    """Examples skipped because they had been learnt before."""
    unusable: int = 0
    """Examples skipped because they could not be decoded."""
    layouts: dict[str, dict[str, Any]] | None = None
    """Key, layout and parameters by component (`models.layouts`); None: published before there were any."""
    max_items: int = 0
    """Largest number of items in the learner; 0: not known."""
    item_rows: int = 0
    """Rows of items that were ever used."""

    @property
    def read(self) -> int:
        """Number of records of `examples` read, learnt or not."""
        return self.examples + self.repeated + self.unusable

    def copy(self) -> "Checkpoint":
        """An independent copy of the checkpoint."""
        return Checkpoint.decode(self.encode())

    def encode(self) -> bytes:
        """The value of the checkpoint's row on the model topic: JSON."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}).encode()

    @classmethod
    def decode(cls, value: bytes) -> "Checkpoint":
        """The inverse of `encode`; unknown fields are ignored."""
        fields: dict[str, Any] = json.loads(value)
        for name in ("positions", "learnt_to"):
            fields[name] = {int(k): v for k, v in fields.get(name, {}).items()}
        return cls(**{name: fields[name] for name in cls.__slots__ if name in fields})
