"""A worker or a learner as a child process, which ends when this process does."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streams.clients.pages import PageError, get_json
from streams.errors import UserError
from streams.settings import PREFIX

READY_TIMEOUT_S = 600
"""Compiling the kernels takes two minutes on two cores that do other work too."""
STOP_TIMEOUT_S = 10
POLL_S = 0.1
LOG_LINES = 20
"""Last lines of the log of a process that failed, for its error message."""


class ProcessFailed(UserError):
    """A child process ended unexpectedly or never became ready; the message has the end of its log."""


class Child:
    """`python -m streams NAME`; `url` is the address of its pages."""

    def __init__(self, name: str, url: str, settings: Mapping[str, Any], log: Path) -> None:
        """settings: by name; they override those of this process's environment."""
        self.name, self.url, self._log = name, url, log
        env = {PREFIX + key.upper(): str(value) for key, value in settings.items()}
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  # no shell, and no argument from outside
                [sys.executable, "-m", "streams", name],
                env=os.environ | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to this process, which stops its children in order
                preexec_fn=_die_with_parent if _LIBC else None,
            )

    def check(self) -> None:
        """`ProcessFailed` if the process has ended."""
        if self._process.poll() is not None:
            raise self.failure(f"ended with exit code {self._process.returncode}")

    def ready(self) -> bool:
        """Whether its page /health/ready answers 200."""
        try:
            get_json(f"{self.url}/health/ready")
        except PageError:
            return False
        return True

    def failure(self, what: str) -> ProcessFailed:
        """The error that says what happened, with the end of the log."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return ProcessFailed("\n".join([f"the {self.name} {what}; the end of its log:", *lines]))

    def terminate(self) -> None:
        """Ask the process to end."""
        self._process.terminate()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, and kill it after the timeout."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Run between fork and exec, so that even `kill -9` of the parent leaves no child behind."""
    assert _LIBC
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_ready(children: Sequence[Child], waiting: Callable[[float], None]) -> None:
    """Return when all children are ready.  `ProcessFailed` when one ends, or is not ready in time.

    waiting: called repeatedly with the seconds waited so far.
    """
    start = time.monotonic()
    while unready := [child for child in children if not child.ready()]:
        for child in children:
            child.check()
        if (waited := time.monotonic() - start) > READY_TIMEOUT_S:
            raise unready[0].failure(f"was not ready after {READY_TIMEOUT_S} s")
        waiting(waited)
        time.sleep(POLL_S)


@contextmanager
def stopping(children: list[Child]) -> Iterator[None]:
    """Stop these children together at the end, also those that were added meanwhile."""
    try:
        yield
    finally:
        _ignore_signals()
        for child in children:
            child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in children:
            child.join(max(0.1, deadline - time.monotonic()))


def _ignore_signals() -> None:
    """Ignore signals while the children end: a second Ctrl-C must not leave one behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
