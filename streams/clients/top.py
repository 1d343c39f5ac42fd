"""`freshet top`: the overview of the cluster in the terminal, as any worker's page has it."""

import json
import time
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.web.rendering import number, percent, size, span

EVERY_S = 2.0
COLOURS = {"ready": "green", "learns": "green", "silent": "bold red"}


class NoAnswer(Exception):
    """The page does not answer; the message says where it was looked for."""


def top(url: str, once: bool) -> None:
    """Show it until Ctrl-C, or once.  `NoAnswer` if the first look finds nobody."""
    console, found = Console(), figures(url)
    if once:
        console.print(screen(found, url))
        return
    with Live(screen(found, url), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            try:
                shown = screen(figures(url), url)
            except NoAnswer as error:
                shown = Group(Text(f"{error}; trying again", style="bold red"), screen(found, url))
            live.update(shown, refresh=True)


def figures(url: str) -> dict[str, Any]:
    """The overview of the worker at this address."""
    request = urllib.request.Request(url.rstrip("/") + "/", headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(f"no worker's page at {url}: {error}; name another with --url") from None
    if "processes" not in found:
        raise NoAnswer(f"{url} is no worker's page, but perhaps a learner's")
    return found


def screen(found: Mapping[str, Any], url: str) -> Group:
    """All of it."""
    age, model, hits, counts = found["age_ms"], found["model"], found["hits"], found["counts"]
    rates = Table.grid(padding=(0, 3))
    rates.add_row(
        f"[b]{number(found['events_per_s'])}[/b] events/s",
        f"[b]{number(found['recommendations_per_s'])}[/b] recommendations/s",
        f"age p50 [b]{span(age['p50'])}[/b] p90 [b]{span(age['p90'])}[/b] p99 [b]{span(age['p99'])}[/b]",
        f"lag [b]{number(sum(found['lag'].values()))}[/b]",
    )
    rates.add_row(
        f"checkpoint [b]{model['checkpoint']}[/b], {span(model['age_ms'])} old",
        f"[b]{number(model['items'])}[/b] items, [b]{number(counts['users'])}[/b] users",
        f"hits [b]{percent(hits['recommended'], hits['predictions'])}[/b],"
        f" popular {percent(hits['popularity'], hits['predictions'])}",
        f"dead letters [b]{number(counts['dead_letters'])}[/b]",
    )
    return Group(Panel(rates, title=f"Freshet at {url}", title_align="left"), _processes(found["processes"]))


def _processes(processes: list[Mapping[str, Any]]) -> Table:
    table = Table(expand=True, box=None, header_style="dim")
    for name in ("process", "state", "partitions"):
        table.add_column(name)
    for name in ("events/s", "lag", "checkpoint", "memory", "disk", "up for"):
        table.add_column(name, justify="right")
    for one in processes:
        state = f"silent for {span(one['silent_s'] * 1000)}" if one["state"] == "silent" else one["state"]
        table.add_row(
            Text(one["name"]),
            Text(state, style=COLOURS.get(one["state"], "")),
            "learner" if one["kind"] == "learning" else ", ".join(map(str, one["partitions"])) or "none",
            number(one["events_per_s"]),
            number(one["lag"]),
            number(one["checkpoint"]),
            size(one["memory_bytes"]),
            size(one["disk_bytes"]),
            span(one["uptime_s"] * 1000),
        )
    return table
