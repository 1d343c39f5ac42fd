"""The plots of the overview."""

import pytest

from streams.messages import MetricsRow
from streams.monitor.history import History, Recorder
from streams.monitor.plots import MAX_LINES, PLOTS, PlotCache

NOW = 1_800_000_000_000


@pytest.mark.parametrize("phase_ms", [0, 700, 1900])
def test_a_steady_rate_is_plotted_as_it_is(phase_ms: int):
    history, recorder, begin = History(), Recorder("serving/a"), NOW // 10_000 * 10_000
    for n in range(30):
        now = begin + phase_ms + 2000 * n
        for key, row in recorder.add(now, {"accepted": 400 * n}, {}).items():
            history.add(key, row, now)
    drawn = PlotCache().draw(history.points("15min", now), "15min", now)
    rates = [rate for rate in drawn["plots"][0]["lines"][0]["values"] if rate is not None]
    assert rates[1:-1] == [200.0] * (len(rates) - 2)
    assert rates[-1] == pytest.approx(200, rel=0.35)


def test_a_partition_that_moved_has_the_lag_of_whom_it_moved_to():
    history, start = History(), NOW
    for name, until, lag in (("b", 9_000, 7), ("a", 2_000, 99)):
        row = MetricsRow(time=start, until=start + until, gauges={"lag:0": lag})
        history.add(f"serving/{name}/15min/0", row, start + until)
    drawn = PlotCache().draw(history.points("15min", start + 9_000), "15min", start + 9_000)
    (line,) = next(p["lines"] for p in drawn["plots"] if p["name"] == "lag")
    assert line["label"] == "partition 0"
    assert line["values"][-1] == 7


def test_plots_draw_what_is_new_and_at_most_so_many_lines():
    history, cache = History(), PlotCache()
    gauges = {f"lag:{p}": p for p in range(40)}
    history.add("serving/a/15min/0", MetricsRow(time=NOW, until=NOW + 5_000, gauges=gauges), NOW)
    first = cache.draw(history.points("15min", NOW), "15min", NOW)
    lag = next(p for p in first["plots"] if p["name"] == "lag")
    assert [line["label"] for line in lag["lines"]] == [f"partition {p}" for p in range(40 - MAX_LINES, 40)]
    history.add("serving/a/15min/0", MetricsRow(time=NOW, until=NOW + 9_000, counts={"late": 3}), NOW)
    again = cache.draw(history.points("15min", NOW), "15min", NOW)
    assert [p["name"] for p in again["plots"]] == [plot.name for plot in PLOTS]
    late = next(p for p in again["plots"] if p["name"] == "dropped")["lines"][1]
    assert late["values"][-1] == 3
    assert late["values"][0] is None
