"""A process under measurement: started with settings of its own, watched, and ended whatever happens."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_S = 240
"""Time for a start: the first one compiles kernels, which takes a minute or two on a busy machine."""
STOP_S = 20
TAIL_LINES = 25
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Ended(Exception):
    """A process ended, or did not become ready in time; the message has the tail of its log, or its path."""


class Process:
    """`python ARGUMENTS`, with `environ` added to this process's variables; its output goes to `log`."""

    def __init__(
        self, arguments: Sequence[str], log: Path, environ: Mapping[str, str] | None = None, port: int = 0
    ) -> None:
        self.log, self.port, self.started = log, port, time.time()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C reaches this process alone, which ends it
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """`Ended` if the process has ended."""
        if self._process.poll() is not None:
            tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
            raise Ended("\n".join([f"a process ended with {self._process.returncode}; its log ends:", *tail]))

    def wait_ready(self) -> float:
        """Wait until /health/ready answers 200; returns the seconds since the start of the process."""
        return self.wait_for("/health/ready")

    def wait_active(self) -> float:
        """Wait until a learner has read the model and learns; returns the seconds since its start."""
        return self.wait_for("/", lambda page: page["state"] == "active")

    def wait_for(self, path: str, expected: Callable[[Any], bool] = lambda page: True) -> float:
        """Wait until a page answers as expected; returns the seconds since the start of the process.

        `Ended` if the process ends, or after `START_S`.
        """
        until = time.monotonic() + START_S
        while True:
            try:
                if expected(self.page(path)):
                    return time.time() - self.started
            except OSError:  # refused, or an HTTP error
                pass
            self.check()
            if time.monotonic() > until:
                raise Ended(f"a process was not ready after {START_S} s; see {self.log}")
            time.sleep(0.02)

    def page(self, path: str = "/") -> Any:
        """A page as JSON; `OSError` if it does not answer, or with an error."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def logged(self, text: str) -> float | None:
        """Time of the last log line with this text, s since the epoch; None if there is none."""
        at = None
        for line in self.log.read_text(errors="replace").splitlines():
            if text in line and (stamp := re.match(r"\[(\d{4}-\S+ \S+?),(\d{3})\]", line)):
                at = datetime.fromisoformat(stamp[1]).timestamp() + int(stamp[2]) / 1000
        return at

    def memory_mib(self, what: str = "VmRSS") -> float:
        """A line of /proc/PID/status, MiB: `VmRSS` now, `VmHWM` at its most."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def maps(self, library: str) -> bool:
        """Whether a library with this in its name is loaded."""
        return library in Path(f"/proc/{self.pid}/maps").read_text()

    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def exit_status(self, wait_s: float = 0) -> int | None:
        """The exit status, once the process has ended by itself; None if it has not within `wait_s`."""
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stop the process with SIGTERM, or with SIGKILL after `STOP_S`."""
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP, unless the process has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; for `preexec_fn`.

    A benchmark that is killed with SIGKILL then leaves no process behind.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
