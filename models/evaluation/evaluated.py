"""What an evaluation compares: named recommenders, and the query that each of them answers."""

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


def query_before(example: Example) -> Query:
    """The query that is to predict an example: its user just before the event, at the time of the event.

    That is what a `request` at this moment would ask.  A worker asks earlier: it computes the list when the
    user's last event arrives, at the time of that event.  The time counts in decayed counts and in features
    of time; the difference is worth .0003 of recall on taobao.

    Nor does the query know whether the event begins a session: if it does, all of the history counts as the
    current session.

    >>> query = query_before(Example("ann", 1, 9000, "view", "stove", history=("tent",), session_size=1))
    >>> query.history, query.session_size, query.time
    (('tent',), 1, 9000)
    """
    return Query(example.history, example.session_size or HISTORY, example.time, example.context)
