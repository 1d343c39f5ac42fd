"""Soak: whether worker and learner grow over two hours at 300 events/s.

Units: MiB and open files an hour, by least squares over the samples after the first half hour; MiB on disk.
A steady population, the same users and items from the first minute on, and tables that are full within the
first minutes: with the default `max_items` those of the sessions fill for days.  So what still grows is kept
by mistake.

    python -m tests.bench soak
"""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from streams.kafka.client import producer_config
from streams.messages import encode
from streams.settings import Settings
from tests.bench.clicks import clicks, event
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import fill_model
from tests.bench.process import Process
from tests.bench.report import Row

PER_S = 300
USERS = 4_000
HOURS, WARM_UP_SHARE = 2.0, 0.25
EVERY_S = 10.0
MOST_MIB_AN_HOUR, MOST_FILES_AN_HOUR = 5.0, 5.0
ENDLESS = 1_000_000_000
SMALL: dict[str, Any] = {
    "max_items": 41_000,
    "model_parameters": {"session-knn": {"slots_per_item": 0.5}},
}
"""Settings of small tables."""


def soak(bench: Bench) -> list[Row]:
    """Measure a worker and a learner, with small tables."""
    seconds = HOURS * 3600 / (10 if bench.quick else 1)
    with bench.deploy("soak", answer_all_within_s=30, **SMALL) as deployment:
        fill_model(deployment.settings, bench)
        processes = {"learner": deployment.learner(), "worker": deployment.worker()}
        processes["learner"].wait_active()
        processes["worker"].wait_ready()
        stop = threading.Event()
        sender = threading.Thread(target=_send, args=(deployment.settings, bench.seed, stop), daemon=True)
        sender.start()
        samples: dict[str, list[tuple[float, ...]]] = {name: [] for name in processes}
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            for name, process in processes.items():
                process.check()
                samples[name].append((elapsed, *_sample(process, deployment.folder / name)))
            if len(samples["worker"]) % 30 == 1:
                progress("soak: " + ", ".join(_latest(name, taken[-1]) for name, taken in samples.items()))
            time.sleep(EVERY_S)
        stop.set()
        sender.join()
    return [row for name, taken in samples.items() for row in _rows(name, np.array(taken), seconds)]


def _sample(process: Process, folder: Path) -> tuple[float, float, float]:
    """Resident memory in MiB, open files, and MiB on disk."""
    files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    disk = 0
    for path in folder.rglob("*"):
        try:
            disk += path.stat().st_size
        except FileNotFoundError:  # RocksDB has deleted it meanwhile
            continue
    return process.memory_mib(), files, disk / 2**20


def _latest(name: str, sample: tuple[float, ...]) -> str:
    return f"{name} {sample[1]:.1f} MiB, {sample[2]:.0f} files, {sample[3]:.0f} MiB on disk"


def _rows(name: str, taken: "np.ndarray", seconds: float) -> list[Row]:
    warm = taken[taken[:, 0] >= WARM_UP_SHARE * seconds]
    hours = warm[:, 0] / 3600
    memory, files, disk = (float(np.polyfit(hours, warm[:, column], 1)[0]) for column in (1, 2, 3))
    first, last = warm[0], warm[-1]
    details = {"samples": taken.round(2).tolist()}
    return [
        Row("soak", f"{name}, memory", memory, "MiB/h", at_most=MOST_MIB_AN_HOUR,
            note=f"{first[1]:.1f} to {last[1]:.1f} MiB", details=details),
        Row("soak", f"{name}, open files", files, "files/h", at_most=MOST_FILES_AN_HOUR,
            note=f"{first[2]:.0f} to {last[2]:.0f}"),
        Row("soak", f"{name}, on disk", disk, "MiB/h", note=f"at most {warm[:, 3].max():.0f} MiB"),
    ]  # fmt: skip


def _send(settings: Settings, seed: int, stop: threading.Event) -> None:
    producer = Producer(producer_config(settings, **{"linger.ms": 0, "log_level": 3}))
    topic, start = settings.topic("events"), time.monotonic()
    for number, click in enumerate(clicks(ENDLESS, USERS, seed, walk=4)):
        if (wait := start + number / PER_S - time.monotonic()) > 0:
            producer.poll(0)
            time.sleep(wait)
        if stop.is_set():
            break
        upcoming = event(number, click)
        producer.produce(topic, encode(upcoming), upcoming.user)
    producer.flush()
