"""Memory: resident memory of a worker that knows many items and users, beside that of a bare `import torch`.

Unit: MiB.  /proc/PID/maps says whether libtorch is loaded in the worker.

    python -m tests.bench memory
"""

import subprocess
import sys

from tests.bench.backlog import Watch, load
from tests.bench.clicks import ITEMS
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import fill_model, fill_users
from tests.bench.report import Row

USERS, EVENTS = 200_000, 200_000
_TORCH = "import torch, re; print(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])"


def memory(bench: Bench) -> list[Row]:
    """Measure resident memory after a backlog over all users, and whether torch is loaded."""
    progress("memory: a bare `import torch`")
    kib = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, check=True).stdout
    torch = int(kib) / 1024
    users, events = bench.scaled(USERS), bench.scaled(EVENTS)
    with bench.deploy("memory") as deployment:
        fill_model(deployment.settings, bench)
        fill_users(deployment.settings, users, bench.seed)
        progress(f"memory: a worker with {users:,} users and {ITEMS:,} items, after {events:,} events")
        load(deployment.settings, events, bench.seed, users)
        worker = deployment.worker()
        worker.wait_ready()
        Watch(deployment.settings).until(events, worker)
        rss, peak = worker.memory_mib(), worker.memory_mib("VmHWM")
        libraries = worker.maps("libtorch")
    return [
        Row("memory", f"serving process, {ITEMS:,} items, {users:,} users", rss, "MiB", at_most=1024 + torch,
            note=f"{peak:,.0f} MiB at its most; after {events:,} events"),
        Row("memory", "a bare `import torch`", torch, "MiB"),
        Row("memory", "libtorch in the serving process", int(libraries), "", at_most=0,
            note="1: it is loaded, see /proc/PID/maps"),
    ]  # fmt: skip
