"""Which lists an event is answered with: placements, and what each of them starts from.  Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.json import Encoder

from models.catalog import TAGS
from models.core import HISTORY, KINDS, Query
from streams.event_messages import Event
from streams.messages import Malformed
from streams.setting_types import Placement
from streams.step.users import User, query

DEFAULT = ""
"""Name of the default placement."""
CARTED, BOUGHT, RETURNED = KINDS["cart"], KINDS["purchase"], KINDS["return"]
_encode = Encoder(order="sorted").encode


class Answer(Struct, frozen=True, gc=False):
    """A list that an event is answered with."""

    placement: str
    query: Query


def check_request(event: Event, placements: Mapping[str, Placement], filters: frozenset[str]) -> None:
    """Raise `Malformed` if a request names a placement that there is not, or filters by what is not kept."""
    if event.where is not None:
        reads = {*event.where.attributes, *([TAGS] if event.where.tags is not None else [])}
        if missing := sorted(reads - filters):
            raise Malformed(
                "unknown-filter", f"where: {', '.join(missing)} not in the setting catalog_filters"
            )
    if event.placement is not None and event.type == "request" and event.placement not in placements:
        known = ", ".join(placements) or "none"
        raise Malformed("unknown-placement", f"{event.placement!r} is not in the setting placements: {known}")


def answers(
    user: User,
    event: Event,
    time: int,
    placements: Mapping[str, Placement],
    asks: bool,
) -> tuple[Answer, ...]:
    """The lists that an event of `time`, ms, made safe, is answered with; `user` is the one after it.

    A request is answered with the placement that it names, or the default one; any other event with the
    default one if it `asks` for it, which comes first, and with those placements that name its type.
    """
    if event.type == "request":
        name = event.placement or DEFAULT
        return (Answer(name, requested(user, event, time, name, placements.get(name))),)
    lists = [Answer(DEFAULT, query(user, time, event.context))] if asks else []
    for name, placement in placements.items():
        if event.type in placement.answers:
            lists.append(Answer(name, requested(user, event, time, name, placement)))
    return tuple(lists)


def requested(user: User, event: Event, time: int, name: str, placement: Placement | None) -> Query:
    """The query for a placement; None: the default one."""
    items = event.items or ((event.item,) if event.item is not None else ())
    start = "history" if placement is None else placement.start
    if event.type != "request" and start != "item":
        items = ()
    asked = query(user, time, event.context)._replace(placement=name, k=event.k, excluded=event.exclude)
    asked = starting_from(asked, start, items)
    if placement is not None:
        asked = asked._replace(k=event.k or placement.list_length)
    where = {} if placement is None else dict(placement.where)
    if event.where is not None:
        attributes = {**where.get("attributes", {}), **event.where.attributes}
        where |= to_builtins(event.where)
        if attributes:
            where["attributes"] = to_builtins(attributes)
    return asked._replace(where=condition(where))


def condition(where: Mapping[str, Any]) -> str:
    """The conditions of a placement or a request as a query has them."""
    return _encode(where).decode() if where else ""


def starting_from(asked: Query, start: str, items: tuple[str, ...] = ()) -> Query:
    """The query of a user whose session is these items, which are not listed; what was before stays.

    Without items those of `start`, as a placement has it; without any the query as it is.
    """
    if not items and start == "item":
        items = asked.history[-1:]
    if not items and start == "cart":
        items = in_cart(asked.history, asked.types)
    if not items:
        return asked
    events = zip(asked.history, asked.types, asked.times, strict=True)
    before = [event for event in events if event[0] not in items][-max(HISTORY - len(items), 0) :]
    history, types, times = zip(*before, *((item, "", asked.time) for item in items), strict=True)
    return asked._replace(
        history=history[-HISTORY:],
        session_size=min(len(items), HISTORY),
        types=types[-HISTORY:],
        times=times[-HISTORY:],
        excluded=(*asked.excluded, *items),
    )


def in_cart(items: Sequence[str], types: Sequence[str]) -> tuple[str, ...]:
    """Items that were put in the cart and not bought or sent back since, oldest first.

    >>> in_cart(("a", "b", "a"), ("cart", "cart", "purchase"))
    ('b',)
    """
    carted: dict[str, None] = {}
    for item, type in zip(items, types, strict=True):
        kind = KINDS.get(type, 0)
        if kind == CARTED:
            carted[item] = None
        elif kind in (BOUGHT, RETURNED):
            carted.pop(item, None)
    return tuple(carted)
