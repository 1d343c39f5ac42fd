"""`freshet top`: the overview of the cluster in the terminal, as on any worker's page."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.clients.pages import PageError, get_json
from streams.errors import UserError
from streams.printable import printable
from streams.web.rendering import number, percent, size, span
from streams.web.rendering import state as state_word

REFRESH_S = 2.0
STYLES = {"ready": "green", "learns": "green", "not ready": "bold red", "silent": "bold red"}
"""Style by the state of a process."""


class NoOverview(UserError):
    """The address is not that of a worker's overview; the message says what answers there."""


def run_top(url: str, once: bool) -> None:
    """Show the overview until Ctrl-C, or once.  `NoOverview` if it cannot be read at the start."""
    console, overview = Console(), fetch_overview(url)
    if once:
        console.print(screen(overview, url))
        return
    with Live(screen(overview, url), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_S)
            try:
                overview = fetch_overview(url)
                content = screen(overview, url)
            except NoOverview as error:
                content = Group(
                    Text(printable(f"{error}; trying again"), style="bold red"), screen(overview, url)
                )
            live.update(content, refresh=True)


def fetch_overview(url: str) -> dict[str, Any]:
    """The overview page of the worker at this address.  `NoOverview` where there is none."""
    try:
        overview = get_json(url.rstrip("/") + "/")
    except PageError as error:
        raise NoOverview(f"no worker's page at {url}: {error}; name another with --url") from None
    if "processes" not in overview:
        raise NoOverview(f"{url} is not a worker's page, perhaps a learner's; name another with --url")
    return overview


def screen(overview: Mapping[str, Any], url: str) -> Group:
    """The whole screen: the figures of the cluster above the table of its processes."""
    age, model, hits, counts = overview["age_ms"], overview["model"], overview["hits"], overview["counts"]
    rates = Table.grid(padding=(0, 3))
    rates.add_row(
        f"[b]{number(overview['events_per_s'])}[/b] events/s",
        f"[b]{number(overview['recommendations_per_s'])}[/b] recommendations/s",
        f"age p50 [b]{span(age['p50'])}[/b] p90 [b]{span(age['p90'])}[/b] p99 [b]{span(age['p99'])}[/b]",
        f"lag [b]{number(sum(overview['lag'].values()))}[/b]",
    )
    rates.add_row(
        f"checkpoint [b]{model['checkpoint']}[/b], {span(model['age_ms'])} old",
        f"[b]{number(model['items'])}[/b] items, [b]{number(counts['users'])}[/b] users",
        f"hits [b]{percent(hits['recommended'], hits['predictions'])}[/b],"
        f" popular {percent(hits['popularity'], hits['predictions'])}",
        f"dead letters [b]{number(counts['dead_letters'])}[/b]",
    )
    panel = Panel(rates, title=Text(printable(f"Freshet at {url}")), title_align="left")
    return Group(panel, _process_table(overview["processes"]))


def _process_table(processes: list[Mapping[str, Any]]) -> Table:
    table = Table(expand=True, box=None, header_style="dim")
    for name in ("process", "state", "partitions"):
        table.add_column(name)
    for name in ("events/s", "lag", "checkpoint", "memory", "disk", "up for"):
        table.add_column(name, justify="right")
    for process in processes:
        state = process["state"]
        text = f"silent for {span(process['silent_s'] * 1000)}" if state == "silent" else state_word(state)
        partitions = ", ".join(map(str, process["partitions"])) or "none"
        table.add_row(
            Text(printable(process["name"])),
            Text(printable(text), style=STYLES.get(state, "")),
            "learner" if process["kind"] == "learning" else partitions,
            number(process["events_per_s"]),
            number(process["lag"]),
            number(process["checkpoint"]),
            size(process["memory_bytes"]),
            size(process["disk_bytes"]),
            span(process["uptime_s"] * 1000),
        )
    return table
