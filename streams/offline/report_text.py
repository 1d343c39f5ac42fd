"""The summary of an evaluation as tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.evaluation.segments import LIGHT_USER, NEW_ITEM, NEW_USER

BETTER_BY = " is better by"
"""End of the name of an entry's differences; the first recommender's name is before it."""


def format_tables(summary: dict[str, Any]) -> str:
    """Tables of accuracy, differences, metrics of lists and segments; the JSON has more."""
    k = summary["at"]
    recommenders = summary["recommenders"]
    lines = [
        f"{summary['predictions']:,} predictions for {summary['users']:,} users;"
        f" {summary['learnt']:,} events learnt, {summary['items']:,} items; {summary['seconds']:.0f} s",
        "",
        *_accuracy(recommenders, k),
        *_window_means(recommenders, k),
        *_differences(recommenders, k),
        "",
        "lists",
        *_lists(recommenders),
        *_by_catalog(recommenders),
        "",
        f"recall@{k} / MRR@{k} by segment",
        *_segments(recommenders),
        f"A new user has fewer than {NEW_USER} earlier events, a light user fewer than {LIGHT_USER};"
        f" of a new item fewer than {NEW_ITEM} events are learnt.",
    ]
    return "\n".join(lines)


def _accuracy(recommenders: Mapping[str, Any], k: int) -> list[str]:
    head = [
        "", f"recall@{k}", "95 % interval", f"MRR@{k}", "95 % interval", f"NDCG@{k}", f"F1@{k}",
        "propose µs", "learn µs",
    ]  # fmt: skip
    rows = [
        [
            name,
            f"{entry[f'recall@{k}']:.4f}",
            interval(entry["intervals"][f"recall@{k}"]),
            f"{entry[f'mrr@{k}']:.4f}",
            interval(entry["intervals"][f"mrr@{k}"]),
            f"{entry[f'ndcg@{k}']:.4f}",
            f"{entry[f'f1@{k}']:.4f}",
            f"{entry['propose_us']:.0f}",
            "" if _shares_model(entry, recommenders) else f"{entry['learn_us']:.1f}",
        ]
        for name, entry in recommenders.items()
    ]
    return table(head, rows)


def _window_means(recommenders: Mapping[str, Any], k: int) -> list[str]:
    first = next(iter(recommenders.values()))
    if "mean over windows" not in first:
        return []
    rows = [
        [name, *(f"{entry['mean over windows'][f'{m}@{k}']:.4f}" for m in ("recall", "mrr", "ndcg"))]
        for name, entry in recommenders.items()
    ]
    heading = f"mean over {len(first['windows'])} windows"
    return ["", heading, *table(["", f"recall@{k}", f"MRR@{k}", f"NDCG@{k}"], rows)]


def _differences(recommenders: Mapping[str, Any], k: int) -> list[str]:
    first, *others = recommenders
    if not others:
        return []
    rows = [[name, *_gains(recommenders[name][f"{first}{BETTER_BY}"])] for name in others]
    metrics = (f"recall@{k}", f"MRR@{k}", f"NDCG@{k}")
    head = ["", *(text for metric in metrics for text in (metric, "95 % interval"))]
    return ["", f"gain of {first} over", *table(head, rows)]


def _lists(recommenders: Mapping[str, Any]) -> list[str]:
    head = ["", "coverage", "Gini", "novelty, bits", "diversity", "popularity bias", "model, MB"]
    metrics = ("coverage", "gini", "novelty", "diversity", "popularity_bias")
    rows = [
        [
            name,
            *(f"{entry[metric]:.3f}" for metric in metrics),
            "" if _shares_model(entry, recommenders) else f"{entry['model_bytes'] / 1e6:.1f}",
        ]
        for name, entry in recommenders.items()
    ]
    return table(head, rows)


def _by_catalog(recommenders: Mapping[str, Any]) -> list[str]:
    first = next(iter(recommenders.values()))
    if "catalog" not in first:
        return []
    head = ["", "category diversity", "largest category", "author Gini", "least-shown decile"]
    rows = []
    for name, entry in recommenders.items():
        metrics = entry["catalog"]
        largest = next(iter(metrics["category_shares"].items()), ("none", 0.0))
        rows.append(
            [
                name, f"{metrics['category_diversity']:.3f}", f"{largest[0]} {largest[1]:.1%}",
                f"{metrics['author_gini']:.3f}", f"{metrics['least_shown_decile']:.3f}",
            ]
        )  # fmt: skip
    return ["", "categories and authors", *table(head, rows)]


def _segments(recommenders: Mapping[str, Any]) -> list[str]:
    first = next(iter(recommenders.values()))
    rows = [
        [
            segment,
            f"{metrics['count']:,}",
            *(_recall_mrr(entry["segments"][segment]) for entry in recommenders.values()),
        ]
        for segment, metrics in first["segments"].items()
    ]
    return table(["", "predictions", *recommenders], rows)


def _shares_model(entry: Mapping[str, Any], recommenders: Mapping[str, Any]) -> bool:
    """Whether the model is that of the first recommender, whose costs are already in its own row."""
    first = next(iter(recommenders.values()))
    return entry is not first and all(entry[key] == first[key] for key in ("learn_us", "model_bytes"))


def _gains(differences: Mapping[str, Any]) -> list[str]:
    return [
        text
        for difference in differences.values()
        for text in (f"{difference['mean']:+.4f}", interval(difference["interval"]))
    ]


def interval(ends: Sequence[float], decimals: int = 4) -> str:
    """The ends of an interval."""
    return f"{ends[0]:.{decimals}f} to {ends[1]:.{decimals}f}"


def _recall_mrr(metrics: Mapping[str, float]) -> str:
    return f"{metrics['recall']:.4f} / {metrics['mrr']:.4f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells of each column below each other, the first to the left."""
    widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
    return [
        "  ".join(
            cell.ljust(w) if c == 0 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
