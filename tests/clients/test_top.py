"""`freshet top`: what the overview says, in a terminal."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from streams.cli import cli
from streams.clients.top import NoOverview, fetch_overview, screen
from streams.messages import MetricsRow, Process
from streams.monitor.history import History
from streams.monitor.overview import overview


def cluster() -> dict:
    """A worker that is ready, one that is silent, a learner."""
    history = History()
    for name, kind, heard, gauges in (
        ("first", "serving", 50_000, {"lag:0": 12.0, "model_checkpoint": 9, "users": 5}),
        ("gone [red]\x1b[2J", "serving", 20_000, {"lag:1": 3.0}),
        ("teacher", "learning", 50_000, {"learner_active": 1.0, "model_checkpoint": 9}),
    ):
        about = Process(kind=kind, url="http://x", started=0, ready=True, partitions=[0])
        row = MetricsRow(time=0, until=heard, counts={"accepted": 2000}, gauges=gauges, process=about)
        history.add(f"{kind}/{name}/now", row, heard)
    return overview(history.heartbeats(50_000), [], "15min")


def test_the_screen_has_the_figures_and_the_processes():
    console = Console(width=140, record=True)
    console.print(screen(cluster(), "http://x"))
    text = console.export_text()
    for part in (
        "200 events/s",
        "lag 12",
        "first",
        "ready",
        "gone [red]\\x1b[2J",
        "silent for 30.0 s",
        "active",
    ):
        assert part in text


def test_it_prints_once_and_says_who_does_not_answer():
    class Worker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(msgspec.json.encode(cluster()))

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Worker)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    done = CliRunner().invoke(cli, ["top", "--url", url, "--once"], standalone_mode=False)
    assert done.exit_code == 0
    assert "200 events/s" in done.output
    server.shutdown()
    server.server_close()
    with pytest.raises(NoOverview, match="no worker's page"):
        fetch_overview(url)
