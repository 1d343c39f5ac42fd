"""Progress of a long command on stderr: a bar on a terminal, otherwise a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

Show = Callable[[Callable[[], str]], None]
"""Called as often as convenient with a function that returns the text; it is called when a text is due."""

REDRAW_S, LINE_S = 0.1, 5.0


@contextmanager
def progress(fraction: Callable[[], float | None] = lambda: None) -> Iterator[Show]:
    """Draw progress through the yielded `show`.

    `fraction` is the part that is done, 0 to 1; None: unknown, a spinner is drawn.
    """
    if sys.stderr.isatty():
        with _bar(fraction) as draw:
            yield _every(REDRAW_S, draw)
    else:
        yield _every(LINE_S, lambda text: _line(text, fraction()))


def _line(text: str, done: float | None) -> None:
    print(text if done is None else f"{done:4.0%}  {text}", file=sys.stderr, flush=True)


def _every(interval_s: float, write: Callable[[str], None]) -> Show:
    due = time.monotonic() + interval_s

    def show(text: Callable[[], str]) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + interval_s
            write(text())

    return show


@contextmanager
def _bar(fraction: Callable[[], float | None]) -> Iterator[Callable[[str], None]]:
    known = fraction() is not None
    columns = [BarColumn(), TaskProgressColumn()] if known else [SpinnerColumn()]
    with Progress(
        *columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=1.0 if known else None)
        yield lambda text: bar.update(task, completed=fraction() or 0.0, description=text)
