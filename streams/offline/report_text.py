"""The figures of an evaluation as tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.evaluation.summary import LIGHT_USER, NEW_ITEM, NEW_USER


def text(found: dict[str, Any]) -> str:
    """The figures as tables for a terminal."""
    k = found["at"]
    lines = [
        f"{found['predictions']:,} predictions for {found['users']:,} users;"
        f" {found['learnt']:,} events learnt, {found['items']:,} items; {found['seconds']:.0f} s",
        "",
    ]
    entries = found["recommenders"]
    first = next(iter(entries.values()))

    def of_model(entry: Mapping[str, Any], text: str) -> str:
        """Empty where the model is the first one's: what is shared costs once."""
        shared = entry is not first and all(entry[key] == first[key] for key in ("learn_us", "model_bytes"))
        return "" if shared else text

    head = ["", f"recall@{k}", "95 %", f"MRR@{k}", "95 %", f"NDCG@{k}", f"F1@{k}", "propose µs", "learn µs"]
    rows = [
        [*_quality(name, entry, k), of_model(entry, f"{entry['learn_us']:.1f}")]
        for name, entry in entries.items()
    ]
    lines += _table(head, rows)
    if "mean over windows" in first:
        lines += ["", f"mean over {len(first['windows'])} windows"]
        rows = [
            [name, *(f"{entry['mean over windows'][f'{m}@{k}']:.4f}" for m in ("recall", "mrr", "ndcg"))]
            for name, entry in entries.items()
        ]
        lines += _table(["", f"recall@{k}", f"MRR@{k}", f"NDCG@{k}"], rows)
    better = [(name, key, e) for name, e in entries.items() for key in e if key.endswith("is better by")]
    if better:
        lines += ["", better[0][1]]
        rows = [[f"than {name}", *_difference(e[key])] for name, key, e in better]
        lines += _table(["", f"recall@{k}", "95 %", f"MRR@{k}", "95 %", f"NDCG@{k}", "95 %"], rows)
    lines += ["", "lists"]
    about = ("coverage", "gini", "novelty", "diversity", "popularity_bias")
    rows = [
        [name, *(f"{entry[a]:.3f}" for a in about), of_model(entry, f"{entry['model_bytes'] / 1e6:.1f}")]
        for name, entry in entries.items()
    ]
    lines += _table(["", "coverage", "Gini", "novelty, bits", "diversity", "pop. bias", "model, MB"], rows)
    lines += ["", f"recall@{k} / MRR@{k} by segment"]
    rows = [
        [
            part,
            f"{figures['count']:,}",
            *(_pair(entry["segments"][part]) for entry in entries.values()),
        ]
        for part, figures in first["segments"].items()
    ]
    lines += _table(["", "predictions", *entries], rows)
    lines.append(
        f"new user: fewer than {NEW_USER} events before; light: fewer than {LIGHT_USER};"
        f" new item: fewer than {NEW_ITEM} learnt"
    )
    return "\n".join(lines)


def _quality(name: str, entry: Mapping[str, Any], k: int) -> list[str]:
    return [
        name,
        f"{entry[f'recall@{k}']:.4f}",
        _ends(entry["intervals"][f"recall@{k}"]),
        f"{entry[f'mrr@{k}']:.4f}",
        _ends(entry["intervals"][f"mrr@{k}"]),
        f"{entry[f'ndcg@{k}']:.4f}",
        f"{entry[f'f1@{k}']:.4f}",
        f"{entry['propose_us']:.0f}",
    ]


def _difference(by: Mapping[str, Any]) -> list[str]:
    return [text for one in by.values() for text in (f"{one['mean']:+.4f}", _ends(one["interval"]))]


def _ends(interval: Sequence[float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _pair(figures: Mapping[str, float]) -> str:
    return f"{figures['recall']:.4f} / {figures['mrr']:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
    return [
        "  ".join(
            cell.ljust(w) if c == 0 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
