"""A program to compare with: a Faust agent as in Faust's tutorial, one event at a time, without a model.

    python -m tests.bench.naive_faust BROKERS PREFIX FOLDER

It answers with a constant list, as `FRESHET_RECOMMENDER=constant` does, and keeps the last eight items of
each user in a table with a changelog.
"""

import sys

import faust

ITEMS = [f"item-{n}" for n in range(20)]


def naive(brokers: str, prefix: str, folder: str) -> faust.App:
    """A Faust app that reads `events` and writes `recommendations`."""
    app = faust.App(
        f"{prefix}naive",
        broker=f"kafka://{brokers}",
        datadir=folder,
        store="rocksdb://?driver=rocksdict",
        topic_partitions=12,
        web_enabled=False,
    )
    events = app.topic(f"{prefix}events", key_type=str, value_serializer="json")
    recommendations = app.topic(f"{prefix}recommendations", key_type=str, value_serializer="json")
    recent = app.Table("recent", default=list, key_type=str)

    @app.agent(events, name="naive")
    async def recommend(stream):  # type: ignore[no-untyped-def]
        async for user, event in stream.items():
            recent[user] = [*recent[user], event["item"]][-8:]
            answer = {"user": user, "event_id": event["event_id"], "items": ITEMS}
            await recommendations.send(key=user, value=answer)

    return app


if __name__ == "__main__":
    app = naive(*sys.argv[1:])
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
