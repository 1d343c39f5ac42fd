"""A process under measurement: started with settings of its own, watched, ended whatever happens."""

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
"""Kernels are compiled at the first start, which takes a minute or two on a busy machine."""
STOP_S = 20
TAIL_LINES = 25
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Ended(Exception):
    """A process ended, or never became ready; the message has the tail of its log."""


class Process:
    """`python ARGUMENTS`, with these variables over those of this process; its output goes to `log`."""

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
                start_new_session=True,  # a Ctrl-C is ours to pass on
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def check(self) -> None:
        """`Ended` if it has."""
        if self._process.poll() is not None:
            tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
            raise Ended("\n".join([f"a process ended with {self._process.returncode}; its log ends:", *tail]))

    def wait_ready(self) -> float:
        """Wait until its page /health/ready says so; seconds since the start of the process."""
        return self.wait_for("/health/ready")

    def wait_active(self) -> float:
        """The same for a learner: until it has the model, and learns."""
        return self.wait_for("/", lambda page: page["state"] == "active")

    def wait_for(self, path: str, right: Callable[[Any], bool] = lambda page: True) -> float:
        """Wait until a page answers, and answers right; seconds since the start of the process."""
        until = time.monotonic() + START_S
        while True:
            try:
                if right(self.page(path)):
                    return time.time() - self.started
            except OSError:  # refused, or an HTTP error
                pass
            self.check()
            if time.monotonic() > until:
                raise Ended(f"a process was not ready after {START_S} s; see {self.log}")
            time.sleep(0.02)

    def page(self, path: str = "/") -> Any:
        """A page's JSON.  `OSError` where it does not answer, or not well."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def logged(self, text: str) -> float | None:
        """When it last logged a line with this text, s since the epoch; None: never."""
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

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it in good order, or after `STOP_S` without mercy."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


def die_with_parent() -> None:
    """Between fork and exec: a benchmark that is killed -9 leaves no process behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
