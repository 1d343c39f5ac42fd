"""Layouts: what the rows of a component are, so that two processes whose rows differ notice it.

A layout's digest covers all that a row's bytes depend on: the fields of the table, the version in the
registry, and the parameters that change what a row means.  The parameters stand beside it in words, to say
which setting differs.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from models.registry import RANKERS
from models.state import Table

ITEMS_VERSION = 1
"""Version of the item rows, to which the rows of all components refer."""
ABSENT = "none"
"""Value of a parameter that one of two processes does not have."""
SETTINGS = frozenset({"generators", "ranker", "context_key", "vectors"})
"""Parameters that do not come from `model_parameters`."""

Published = Mapping[str, Mapping[str, Any]]
"""Layouts by component, as a checkpoint has them: `key`, `layout` and `parameters`."""


class Layout(NamedTuple):
    """What the rows of a component are."""

    digest: str
    """The same in two processes that understand each other's rows."""
    parameters: Mapping[str, Any]
    """Values by name; some of them do not change the digest."""
    version: int = 1
    """Version in the registry; 1: rows from before checkpoints had layouts are understood."""


class Difference(NamedTuple):
    """How a component differs from the published one."""

    component: str
    understood: bool
    """Whether the published rows are understood: then only the lists differ."""
    parameters: Mapping[str, tuple[Any, Any]]
    """Values here and there, by name."""

    def text(self, here: str, there: str, otherwise: str = "is not updated") -> str:
        """The difference in words; `otherwise` says what follows where the rows are not understood.

        >>> Difference("next", False, {"neighbours": (32, 48)}).text("this worker", "the learner")
        'next is not updated: model_parameters.next.neighbours: this worker has 32, the learner 48'
        """
        why = "; ".join(
            f"{name if name in SETTINGS else f'model_parameters.{self.component}.{name}'}:"
            f" {here} has {a}, {there} {b}"
            for name, (a, b) in self.parameters.items()
        )
        if not why:
            why = f"{here} and {there} are of different versions"
        return f"{self.component} {'gives other lists' if self.understood else otherwise}: {why}"


def make_layout(version: int, state: Table, parameters: Mapping[str, Any], meaning: Sequence[str]) -> Layout:
    """The layout of a component with this table.

    `meaning` names those of the parameters that change what a row means, though not its fields.
    """
    values = json.loads(json.dumps(dict(parameters), default=str))  # as the other side reads them
    means = {name: values[name] for name in meaning}
    covered = json.dumps([ITEMS_VERSION, version, state.layout, means], sort_keys=True)
    return Layout(blake2b(covered.encode(), digest_size=8).hexdigest(), values, version)


def differences(own: Mapping[str, Layout], published: Published) -> list[Difference]:
    """How the components of `own` differ from the published ones; empty if they agree."""
    found = []
    for name, layout in own.items():
        other = published.get(name)
        if other is None:
            setting = "ranker" if name in RANKERS else "generators"
            found.append(Difference(name, False, {setting: (name, ABSENT)}))
            continue
        there = other.get("parameters", {})
        parameters = {
            key: (layout.parameters.get(key, ABSENT), there.get(key, ABSENT))
            for key in dict.fromkeys((*layout.parameters, *there))
            if layout.parameters.get(key, ABSENT) != there.get(key, ABSENT)
        }
        understood = other.get("layout") == layout.digest
        if parameters or not understood:
            found.append(Difference(name, understood, parameters))
    return found
