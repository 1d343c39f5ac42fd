"""What an item is recommended beside, by hand."""

from streams.messages import Recommendation, Recommended, encode
from streams.serve import Written
from streams.web import exposure
from streams.web.exposure import Exposure


def sent(*lists: str) -> Written:
    """What a micro-batch writes to a partition: lists of items with names of one letter."""
    made = [
        Recommendation(
            recommendation_id=str(n), user="u", time=0, event_id="e", event_type="view", checkpoint=1,
            age_ms=1, model_age_ms=None,
            items=[Recommended(item=item, score=1.0, reason="") for item in items],
        )
        for n, items in enumerate(lists)
    ]  # fmt: skip
    return Written({}, [(b"u", encode(one)) for one in made], [], [], 0)


def test_beside_is_counted_in_the_latest_lists():
    looked = Exposure()
    looked.look([], {0: sent("xyz", "abc"), 1: sent("abd"), 2: sent()})
    looked.look([], {0: sent("bce")})
    assert looked.of("a", 9) == {
        "lists": 3, "with_it": 2,
        "items": [{"item": "b", "lists": 2}, {"item": "c", "lists": 1}, {"item": "d", "lists": 1}],
    }  # fmt: skip
    assert looked.of("x", 9) == {"lists": 3, "with_it": 0, "items": []}, "the last list of a micro-batch"
    assert len(looked.of("b", 2)["items"]) == 2


def test_no_more_lists_are_kept_than_said(monkeypatch):
    monkeypatch.setattr(exposure, "KEPT", 2)
    looked = Exposure()
    for items in ("ab", "ac", "ad"):
        looked.look([], {0: sent(items)})
    assert looked.of("a", 9)["items"] == [{"item": "c", "lists": 1}, {"item": "d", "lists": 1}]
