"""Newcomer: time from typing the command to the first recommendation on the page.

Unit: s.  Of `freshet demo`, and with --fresh also of `make demo` in a new clone.

    python -m tests.bench newcomer --fresh
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.deployment import Bench, progress
from tests.bench.process import ROOT, Ended, die_with_parent
from tests.bench.report import Row

SECONDS = 20
OURS = {"PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL"}
"""Variables of this environment that a newcomer does not have."""
PIP = "from the network or pip's cache, torch and all"
URL = re.compile(r"http://127\.0\.0\.1:(\d+)")


def newcomer(bench: Bench) -> list[Row]:
    """Measure `freshet demo` as installed; with --fresh also `make demo` in a new clone and environment."""
    progress("newcomer: freshet demo")
    command = [sys.executable, "-m", "streams", "demo", "--seconds", str(SECONDS)]
    plain = {name: value for name, value in os.environ.items() if name not in OURS}
    rows = _timed("freshet demo", command, ROOT, plain | {"PYTHONPATH": str(ROOT)}, bench.folder)
    if bench.fresh:
        progress("newcomer: git clone, make demo (some minutes)")
        clone, start = bench.folder / "clone", time.monotonic()
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
        clone_s = time.monotonic() - start
        rows.append(Row("newcomer", "git clone, from this disk", clone_s, "s"))
        rows += _timed("make demo in a fresh clone", ["make", "demo"], clone, plain, bench.folder, PIP)
        shutil.rmtree(clone)
    return rows


def _timed(
    what: str, command: Sequence[str], cwd: Path, environ: Mapping[str, str], folder: Path, note: str = ""
) -> list[Row]:
    log, start = folder / "demo.txt", time.monotonic()
    with log.open("wb") as out:
        demo = subprocess.Popen(
            command, cwd=cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        page = first = None
        while first is None:
            if demo.poll() is not None:
                raise Ended(f"{what} ended with {demo.returncode}:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
            if page is None and (address := URL.search(log.read_text())):
                page, port = time.monotonic() - start, int(address[1])
            if page is not None and _recommendations(port):
                first = time.monotonic() - start
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGINT)
            demo.wait(60)
    return [
        Row("newcomer", f"{what}: page ready", page, "s", note=note),
        Row("newcomer", f"{what}: first recommendation on the page", first, "s", note=note),
    ]


def _recommendations(port: int) -> int:
    """The number of recommendations that the page shows."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return int(json.loads(answer.read())["counts"]["recommendations"])
