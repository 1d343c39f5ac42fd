"""The drawings of `freshet evaluate --plot`.  They need matplotlib.

Recall over time in a fading window, and, of rankers that say probabilities, whether these are true.
"""

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streams.offline.options import BadPlan

FORMATS = (".png", ".svg", ".pdf")
FEW = 50
"""Items in a bin below which its share is noise."""


def check(file: str) -> None:
    """Refuse before the work is done what would fail after it.  `BadPlan`."""
    if find_spec("matplotlib") is None:
        raise BadPlan("--plot needs matplotlib: pip install 'freshet[plot]'")
    if Path(file).suffix.lower() not in FORMATS:
        raise BadPlan(f"--plot {file}: a name that ends in {', '.join(FORMATS)}")
    if not Path(file).absolute().parent.is_dir():
        raise BadPlan(f"--plot {file}: there is no such folder")


def draw(found: dict[str, Any], file: str) -> None:
    """One line a recommender."""
    from matplotlib.figure import Figure

    calibrated = {name: e["calibration"] for name, e in found["recommenders"].items() if "calibration" in e}
    figure = Figure(figsize=(13, 4.5) if calibrated else (9, 4.5), layout="constrained")
    left = figure.add_subplot(1, 2 if calibrated else 1, 1)
    lines = found["over_time"]
    times = [datetime.fromtimestamp(time / 1000, UTC) for time in lines["time"]]
    for name, recall in lines["recall"].items():
        left.plot(times, recall, label=name, linewidth=1.5)  # type: ignore[arg-type]
    left.set_ylabel(f"recall@{found['at']}, fading over {lines['fading_window']:,} predictions")
    left.set_ylim(bottom=0)
    left.tick_params(axis="x", rotation=30)
    left.grid(alpha=0.3)
    _legend(left)
    if calibrated:
        _reliability(figure.add_subplot(1, 2, 2), calibrated)
    figure.savefig(file, dpi=150)


def _reliability(axes: Any, calibrated: dict[str, dict[str, Any]]) -> None:
    for name, calibration in calibrated.items():
        bins = [(said, came) for said, came, count in calibration["bins"] if came > 0 and count >= FEW]
        axes.plot(*zip(*bins, strict=True) if bins else ([], []), "o-", markersize=4, label=name)
    axes.axline((1e-4, 1e-4), (1, 1), color="grey", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("probability that the ranker gives an item of its list")
    axes.set_ylabel("share of these items that came next")
    axes.grid(alpha=0.3)
    _legend(axes)


def _legend(axes: Any) -> None:
    """Above the axes: there is no corner that no line of no log comes to."""
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
