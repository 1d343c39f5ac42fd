"""Scenarios on local state: whose it is, damage to it, and what a second process or a full machine does."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.process import Ended, Process
from tests.chaos.chaos import Chaos
from tests.chaos.deployment import Deployment
from tests.chaos.pages import NotSeen, last_line, metrics, not_up, page, page_faults, wait_ready, why_ended
from tests.chaos.report import Row, judged
from tests.chaos.seen import CHANGELOG
from tests.chaos.waiting import within

EVENTS = 600
NOTICED_S = 15
STARTS = 4
"""Starts of a worker after which its stores have SST files, at most."""


# Another deployment on the same folder


def prefix(chaos: Chaos) -> Iterator[Row]:
    """A worker of another prefix is started on the folder of the first one, then the first one again."""
    with chaos.deploy("prefix") as first, chaos.deploy("prefix") as second:
        folder = first.folder / "shared"
        for deployment, what in (
            (first, "the first"),
            (second, "another prefix"),
            (first, "the first again"),
        ):
            worker = deployment.worker("worker", data_dir=folder)
            deployment.shop.publish(EVENTS)
            wrong = _after_start(worker, deployment)
            worker.stop()
            yield judged(f"{what}, on the same folder", "its events answered, its users right", wrong)


def _after_start(worker: Process, deployment: Deployment) -> list[str]:
    """What is wrong with a worker that starts: it ended, its topics, its pages."""
    try:
        wait_ready(worker)
        return deployment.settle() + page_faults(worker, deployment.expected())
    except (Ended, NotSeen):
        return [f"not ready: {why_ended(worker)}"]


# Damaged stores


def _flip_bytes(store: Path) -> None:
    for table in store.glob("*.sst"):
        content = bytearray(table.read_bytes())
        for at in range(0, len(content), 16):
            content[at] ^= 0xFF
        table.write_bytes(content)


def _cut_manifest(store: Path) -> None:
    for manifest in store.glob("MANIFEST-*"):
        os.truncate(manifest, manifest.stat().st_size // 2)


def _remove_current(store: Path) -> None:
    (store / "CURRENT").unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "bytes of its SST files flipped": _flip_bytes,
    "its MANIFEST cut in half": _cut_manifest,
    "its CURRENT gone": _remove_current,
}


def damage(chaos: Chaos) -> Iterator[Row]:
    """The stores of the users, or of the model's cache, are damaged while the worker is stopped."""
    cases = [(whose, what) for what in DAMAGES for whose in ("users", "model")]
    chaos.rng.shuffle(cases)
    with chaos.deploy("damage") as deployment:
        learner = deployment.learner()
        worker = deployment.worker()
        wait_ready(worker)
        deployment.shop.publish(EVENTS)
        wrong = deployment.settle()
        worker.stop()
        learner.stop()
        _to_tables(deployment)
        yield judged(f"{EVENTS} events, the worker stopped", "all right", wrong)
        for whose, what in cases[: 1 if chaos.quick else None]:
            stores = _stores(deployment.folder / "worker", whose)
            for _ in range(STARTS):
                if all(list(store.glob("*.sst")) for store in stores):
                    break
                _to_tables(deployment)  # a copy of the model that was not complete yet begins again
            wrong = [] if stores else [f"no store of the {whose} was found"]
            for store in stores:
                DAMAGES[what](store)
            deployment.shop.publish(EVENTS // 4)
            worker = deployment.worker()
            wrong += _after_start(worker, deployment) + _not_counted(worker)
            worker.stop()
            yield judged(f"the store of the {whose}: {what}", "restored, users right, counted", wrong)
            if wrong:
                shutil.rmtree(deployment.folder / "worker")
                worker = deployment.worker()
                wait_ready(worker)
                worker.stop()
                _to_tables(deployment)


def _not_counted(worker: Process) -> list[str]:
    def repairs() -> float:
        return sum(value for name, value in metrics(worker).items() if "repair" in name)

    return [] if within(NOTICED_S, repairs) else ["no metric counts a repair"]


def _to_tables(deployment: Deployment) -> None:
    """Start and stop the worker once more: a store that is opened again writes its log to SST files."""
    worker = deployment.worker()
    wait_ready(worker)
    worker.stop()


def _stores(folder: Path, whose: str) -> list[Path]:
    """The RocksDB folders of the users, or of the model's cache."""
    stores = [current.parent for current in folder.rglob("CURRENT") if "aside" not in current.parent.name]
    return [store for store in stores if whose in store.name]


# The changelog


def changelog(chaos: Chaos) -> Iterator[Row]:
    """The changelog is deleted and created anew, while the worker is stopped and while it runs."""
    for running in (False, True):
        with chaos.deploy("changelog") as deployment:
            worker = deployment.worker()
            wait_ready(worker)
            deployment.shop.publish(EVENTS)
            deployment.settle()
            if not running:
                worker.stop()
            deployment.delete_topics(deployment.topic(CHANGELOG))
            deployment.create_topics()
            if not running:
                worker = deployment.worker()
                _ready_or_ended(worker)
            # a few users only: the others are in the new changelog only if the worker writes its store to it
            for number in range(5):
                deployment.shop.publish_of(f"u{number}")
            done = f"the changelog created anew {'under a running worker' if running else 'while stopped'}"
            if within(NOTICED_S, lambda w=worker: w.exit_status()) is not None:
                said = last_line(worker)
                named = deployment.topic(CHANGELOG) in said
                yield Row(done, "if it ends, its last line names the topic", said, named)
                worker = deployment.worker()
                _ready_or_ended(worker)
            expected = "after one more start, if it ended, a restore has every user right"
            yield judged(done, expected, not_up(worker) or _restored_faults(deployment, worker))


def _ready_or_ended(worker: Process) -> None:
    within(60, lambda: worker.exit_status() is not None or page(worker, "/health/ready"))


def _restored_faults(deployment: Deployment, worker: Process) -> list[str]:
    wrong = deployment.settle(20)
    worker.stop()
    try:
        return wrong + deployment.restored_faults()
    except (Ended, NotSeen) as error:
        return [*wrong, str(error).splitlines()[-1]]


# A place that is taken or cannot be written


def refusals(chaos: Chaos) -> Iterator[Row]:
    """A second worker on a folder, a taken port, a folder that cannot be written."""
    with chaos.deploy("refusals") as deployment:
        first = deployment.worker("first")
        wait_ready(first)
        deployment.shop.publish(EVENTS // 4)
        folder = str(deployment.folder / "first")
        second = deployment.worker("second", data_dir=folder)
        yield _refused("a second worker on one folder", second, "data_dir", folder)
        third = deployment.worker("third", web_port=first.port)
        yield _refused("a worker on a taken port", third, "web_port", str(first.port))
        unwritable = _unwritable(deployment.folder)
        fourth = deployment.worker("fourth", data_dir=unwritable)
        yield _refused("a folder that cannot be written", fourth, "data_dir", str(unwritable))
        wrong = deployment.settle()
        yield judged("the first worker meanwhile", "it answers, users right", wrong)


def _unwritable(folder: Path) -> Path:
    """A folder that this user cannot write to; root can write to all but those of the kernel."""
    if os.geteuid() == 0:
        return Path("/proc/freshet")
    unwritable = folder / "read-only"
    unwritable.mkdir(mode=0o555)
    return unwritable


def _refused(done: str, process: Process, setting: str, value: str) -> Row:
    """A row that is right when the process ended with 1, and its last line names setting and value."""
    status = within(90, lambda: process.exit_status() if process.exit_status() is not None else False)
    said, log = last_line(process), process.log.read_text(errors="replace")
    process.kill()
    wrong = []
    if status != 1:
        wrong.append("it did not end" if status is False else f"exit status {status}")
    if tracebacks := log.count("Traceback"):
        wrong.append(f"{len(log.splitlines())} lines with {tracebacks} tracebacks")
    if not (setting in said.lower() and value in said):
        wrong.append(f"the last line is: {said}")
    return judged(done, f"exit status 1, a line that names {setting} and its value", wrong, said)
