"""What the pages and the log of a process say."""

import re
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from tests.bench.process import Process
from tests.chaos.expected import Expected
from tests.chaos.faults import user_faults
from tests.chaos.seen import StoredUser
from tests.chaos.waiting import within

READY_S = 240
"""Time for a start: the first one compiles kernels, which takes a minute or two on a busy machine."""


class NotSeen(Exception):
    """Something did not happen in time; the message says what."""


def wait_ready(process: Process, patience_s: float = READY_S) -> None:
    """Wait until a process is ready; `Ended` if it ends, `NotSeen` if it is not ready in time."""
    if not within(patience_s, lambda: is_ready(process)):
        raise NotSeen(f"not ready within {patience_s:.0f} s: {last_line(process)}")


def is_ready(process: Process) -> bool:
    """Whether a process says that it is ready; `Ended` if it has ended."""
    process.check()
    return page(process, "/health/ready") is not None


def page(process: Process, path: str = "/") -> Any:
    """A page as JSON; None if there is no answer, or an error."""
    try:
        return process.page(path)
    except OSError:
        return None


def page_faults(worker: Process, causes: Expected) -> list[str]:
    """What is wrong on the pages of the users."""
    stored = {}
    for name in causes.users:
        if user := page(worker, f"/users/{quote(name, safe='')}"):
            newest_first = [event["item"] for session in user["history"] for event in session["events"]]
            stored[name] = StoredUser(user["offset"], user["events"], tuple(newest_first[::-1]))
    return user_faults(causes.users, stored, "on the pages")


def metrics(process: Process) -> dict[str, float]:
    """The samples of `/metrics` by name, those of several labels added up; empty without an answer."""
    totals: dict[str, float] = {}
    for line in text_page(process, "/metrics").splitlines():
        if match := re.match(r"([a-zA-Z_:][\w:]*)(?:\{.*\})? ([-+\deE.]+)$", line):
            totals[match[1]] = totals.get(match[1], 0) + float(match[2])
    return totals


def text_page(process: Process, path: str) -> str:
    """A page as text, also that of an error; empty without an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    except OSError:
        return ""


def last_line(process: Process) -> str:
    """The last line of a process's log that is not blank."""
    lines = [line for line in process.log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "(empty log)"


def not_up(process: Process) -> list[str]:
    """What is wrong with a process that should run: that it ended, and why; nothing if it runs."""
    status = process.exit_status()
    return [] if status is None else [f"it ended with {status}: {why_ended(process)}"]


def why_ended(process: Process) -> str:
    """The last error that a process's log names, otherwise its last line."""
    log = process.log.read_text(errors="replace")
    errors = re.findall(r"^[\w.]*(?:Error|Exception|Recreated|Fenced|Differ)\b: .+", log, re.MULTILINE)
    return errors[-1][:200] if errors else last_line(process)
