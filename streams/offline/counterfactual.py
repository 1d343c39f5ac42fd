"""`freshet counterfactual`: the worth of another policy, from a log with propensities."""

from typing import Any, BinaryIO

import numpy as np

from models.evaluation.counterfactual import (
    SWITCH,
    Shown,
    estimates,
    predicted_rewards,
    slate_estimates,
    support,
)
from streams.errors import UserError
from streams.offline.propensity_log import PropensityLog, never_shown, read_policy
from streams.offline.report_text import interval, table


class NoSupport(UserError):
    """The log says nothing of the policy; the message says why."""


def worth(
    log: PropensityLog, policy: str | BinaryIO | None, seed: int = 0, switch: float = SWITCH
) -> dict[str, Any]:
    """Figures of the other policy: a table of its probabilities, or None: uniform, or the log's own column.

    `NoSupport` where the log cannot tell.
    """
    if policy is None and log.targets is not None:
        shown, missing = Shown(log.rewards, log.propensities, log.targets), float("nan")
    else:
        uniform = np.full((len(log.names), len(log.places)), 1 / len(log.names))
        probabilities = uniform if policy is None else read_policy(policy, log)
        targets, missing = probabilities[log.items, log.positions], never_shown(probabilities, log)
        predicted = predicted_rewards(log.items, log.positions, log.rewards, probabilities)
        shown = Shown(log.rewards, log.propensities, targets, *predicted)
    rows = np.arange(len(log.rewards))
    clusters = log.users if log.users is not None else log.slates if log.slates is not None else rows
    supported = support(shown, clusters, missing, seed)
    if supported.refusal:
        raise NoSupport(f"the log does not say what this policy would bring: {supported.refusal}")
    figures: dict[str, Any] = {
        "rows": len(rows),
        "items": len(log.names),
        "reward": float(log.rewards.mean()),
        "support": supported._asdict(),
        "estimates": {n: e._asdict() for n, e in estimates(shown, clusters, seed, switch).items()},
    }
    if log.slates is not None:
        found = slate_estimates(shown, log.slates, log.positions, seed)
        figures["slates"] = int(log.slates.max()) + 1
        figures["slate_estimates"] = {name: estimate._asdict() for name, estimate in found.items()}
    return figures


def format_worth(figures: dict[str, Any]) -> str:
    """The figures as tables for a terminal."""
    seen = figures["support"]
    lines = [
        f"{figures['rows']:,} rows of {figures['items']:,} items, reward {figures['reward']:.5f} a row;"
        f" {seen['effective']:,.0f} effective rows, largest weight {seen['largest']:.1f}",
        "",
        *_estimates("reward a row", figures["estimates"]),
    ]
    if "slate_estimates" in figures:
        lines += ["", *_estimates(f"reward a list of {figures['slates']:,}", figures["slate_estimates"])]
    return "\n".join(lines)


def _estimates(unit: str, estimated: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        [
            name,
            f"{entry['value']:.5f}",
            interval(entry["interval"], 5) if entry["interval"] else "not known",
            f"{entry['gain']:+.5f}",
            interval(entry["gain_interval"], 5) if entry["gain_interval"] else "not known",
        ]
        for name, entry in estimated.items()
    ]
    return table([unit, "value", "95 % interval", "gain", "95 % interval"], rows)
