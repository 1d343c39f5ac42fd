"""The options of a run, shared by all scenarios."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.chaos.broker import Broker
from tests.chaos.deployment import Deployment
from tests.chaos.report import Row


@dataclass(frozen=True, slots=True)
class Chaos:
    """What a scenario needs: a broker, a folder, and all of its random numbers."""

    broker: Broker
    folder: Path
    rng: random.Random
    """The random numbers of one scenario, which depend on the seed and its name alone."""
    quick: bool = False
    """Whether the scenario is scaled down for the tests."""
    numbers: Any = field(default_factory=count)

    def deploy(self, name: str, **settings: Any) -> Deployment:
        """A new deployment with these settings."""
        return Deployment(self.broker, self.folder, f"{name}-{next(self.numbers)}", self.rng, **settings)


Scenario = Callable[[Chaos], Iterator[Row]]
"""A function that does something to a deployment of its own, and yields a row for each check."""
