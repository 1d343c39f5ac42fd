"""Items of the catalog by words, `/items?q=WORDS`."""

import asyncio
from typing import Any

import numpy as np

from models.model import Model
from models.retrieval.word_search import search
from streams.runtime.serving import Serving

RESULTS = 50
MAX_LENGTH = 200
"""Characters of a question."""


async def search_figures(serving: Serving, question: str) -> dict[str, Any]:
    """The items that match a question best; without one the most popular ones that are offered."""
    model, question = serving.model, question.strip()[:MAX_LENGTH]
    return {
        "question": question,
        "catalog": len(model.catalog) if serving.catalog.in_use else None,
        "unknown": serving.catalog.without_row if serving.catalog.in_use else 0,
        "results": await asyncio.to_thread(_results, model, question),
    }


def _results(model: Model, question: str) -> list[dict[str, Any]]:
    used, ids = len(model.items.ids), model.items.ids
    popularity = model.statistics.events(slice(used)).astype(np.float32)
    if question:
        rows, scores = search(question, model.catalog["words"][:used], popularity, RESULTS)
    else:
        rows = np.flatnonzero(model.catalog.offered[:used]).astype(np.int32)
        rows = rows[np.argsort(-popularity[rows], kind="stable")][:RESULTS]
        scores = popularity[rows]
    return [
        {
            "item": ids[row],
            "score": round(score, 4),
            "events": round(float(popularity[row]), 1),
            "offered": bool(model.catalog.offered[row]),
        }
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        if ids[row]
    ]
