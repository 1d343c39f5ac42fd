"""What an evaluation compares: named recommenders, and the query that each of them answers."""

from collections.abc import Callable
from typing import NamedTuple

from models.core import HISTORY, Example, Query
from models.model import Model
from models.recommender import Recommender


class EvaluatedRecommender(NamedTuple):
    """A recommender of a comparison; several may share one model, which then learns once."""

    name: str
    model: Model
    recommender: Recommender
    probabilities: bool = False
    """Whether its scores are probabilities, of which the calibration can be measured."""
    view: Callable[[Query], Query] = lambda query: query
    """The query of its placement for that of the default one."""
    where: str = ""
    """What the catalog must say of the items of its lists."""


def query_before(example: Example) -> Query:
    """The query that is to predict an example: its user just before the event, at the time of the event.

    A worker computes the list when the user's last event arrives: the ages of the history are those of that
    moment (`asked`), in learning, evaluation and serving, because nobody knows then how long the user stays
    away.  Counts are decayed to the time of the event, as old as the model that is evaluated: to the moment
    before, items that others took meanwhile would have no age, which no ranker sees while it serves.  That
    difference is worth .0003 of recall on taobao.

    Nor does the query know whether the event begins a session: if it does, all of the history counts as the
    current session.

    >>> query = query_before(Example("ann", 1, 9000, "view", "stove", history=("tent",), session_size=1))
    >>> query.history, query.session_size, query.time
    (('tent',), 1, 9000)
    """
    return Query(
        example.history, example.session_size or HISTORY, example.time, example.context,
        example.types, example.times, example.asked,
    )  # fmt: skip
