"""The plots of `freshet evaluate --plot`.  They need matplotlib.

Recall over time in a fading window, and a reliability diagram of the rankers whose scores are probabilities.
"""

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streams.offline.options import BadOptions

FORMATS = (".png", ".svg", ".pdf")
MIN_ITEMS = 50
"""Items in a bin below which its share is noise."""


def check_plot(file: str) -> None:
    """Check before the evaluation that the plot can be written after it.  `BadOptions` if it cannot."""
    if find_spec("matplotlib") is None:
        raise BadOptions("--plot needs matplotlib: pip install 'freshet[plot]'")
    if Path(file).suffix.lower() not in FORMATS:
        raise BadOptions(f"invalid --plot {file}: expected a file name that ends in {', '.join(FORMATS)}")
    if not Path(file).absolute().parent.is_dir():
        raise BadOptions(f"--plot {file}: the folder does not exist")


def save_plot(summary: dict[str, Any], file: str) -> None:
    """Plot the summary of an evaluation, one line for each recommender, to a file."""
    from matplotlib.figure import Figure

    calibrated = {name: e["calibration"] for name, e in summary["recommenders"].items() if "calibration" in e}
    figure = Figure(figsize=(13, 4.5) if calibrated else (9, 4.5), layout="constrained")
    axes = figure.add_subplot(1, 2 if calibrated else 1, 1)
    lines = summary["over_time"]
    times = [datetime.fromtimestamp(time / 1000, UTC) for time in lines["time"]]
    for name, recall in lines["recall"].items():
        axes.plot(times, recall, label=name, linewidth=1.5)  # type: ignore[arg-type]  # it plots datetimes
    axes.set_ylabel(f"recall@{summary['at']}, fading mean over {lines['fading_window']:,} predictions")
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", rotation=30)
    axes.grid(alpha=0.3)
    _legend(axes)
    if calibrated:
        _reliability(figure.add_subplot(1, 2, 2), calibrated)
    figure.savefig(file, dpi=150)


def _reliability(axes: Any, calibrated: dict[str, dict[str, Any]]) -> None:
    for name, calibration in calibrated.items():
        bins = [(p, share) for p, share, items in calibration["bins"] if share > 0 and items >= MIN_ITEMS]
        axes.plot(*zip(*bins, strict=True) if bins else ([], []), "o-", markersize=4, label=name)
    axes.axline((1e-4, 1e-4), (1, 1), color="grey", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("predicted probability that a listed item is the next")
    axes.set_ylabel("observed share of listed items that were the next")
    axes.grid(alpha=0.3)
    _legend(axes)


def _legend(axes: Any) -> None:
    """Put the legend above the axes: a line may come to any corner inside them."""
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
