"""The lines of `freshet evaluate --plot`: recall over time, in a fading window.  Needs matplotlib."""

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streams.protocol import BadPlan

FORMATS = (".png", ".svg", ".pdf")


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

    lines = found["over_time"]
    times = [datetime.fromtimestamp(time / 1000, UTC) for time in lines["time"]]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, recall in lines["recall"].items():
        axes.plot(times, recall, label=name, linewidth=1.5)  # type: ignore[arg-type]
    axes.set_ylabel(f"recall@{found['at']}, fading over {lines['fading_window']:,} predictions")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.autofmt_xdate()
    figure.savefig(file, dpi=150)
